package patroni

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Endpoint is where one node's Patroni is reached.
type Endpoint struct {
	// Address is host:port of a published port, e.g. 127.0.0.1:49153.
	Address string
	// ServerName is the name that the certificate must bear; empty means TLS.ServerName.
	ServerName string
	// TLS holds the authority and the client certificate; nil means plain HTTP.
	TLS *tls.Config
}

const (
	// askTimeout bounds the calls that only read or only leave a message.
	askTimeout = 5 * time.Second
	// bodyLimit is far above what the largest cluster answers.
	bodyLimit = 1 << 20
	// explanation is how much of a refusal's body an error shows.
	explanation = 300
)

// Client reaches the Patroni of one node. It is safe for concurrent use.
type Client struct {
	base string
	http *http.Client
}

// New prepares a client; it does no I/O.
func New(endpoint Endpoint) *Client {
	transport := &http.Transport{
		Proxy:               nil, // a node is never behind the environment's proxy
		DialContext:         (&net.Dialer{Timeout: askTimeout}).DialContext,
		TLSHandshakeTimeout: askTimeout,
		MaxIdleConns:        2,
		IdleConnTimeout:     30 * time.Second,
	}
	scheme := "http"
	if endpoint.TLS != nil {
		scheme = "https"
		transport.TLSClientConfig = endpoint.TLS.Clone()
		if endpoint.ServerName != "" {
			transport.TLSClientConfig.ServerName = endpoint.ServerName
		}
	}
	return &Client{
		base: scheme + "://" + endpoint.Address,
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close ends idle connections; running calls end by themselves.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ask is call bounded by askTimeout.
func (c *Client) ask(ctx context.Context, method, path string, in, out any) error {
	bounded, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, body, err := c.send(ctx, bounded, method, path, in)
	if err != nil {
		return err
	}
	return decode(path, body, out)
}

// send returns status and body of a successful answer. ctx is the caller's, and
// bounded what the call may take.
func (c *Client) send(ctx, bounded context.Context, method, path string, in any) (int, []byte, error) {
	var payload io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return 0, nil, fmt.Errorf("encode %s %s: %w", method, path, err)
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(bounded, method, c.base+path, payload)
	if err != nil {
		return 0, nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if payload != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("ask patroni: %w", translate(ctx, err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyLimit))
	if err != nil {
		return 0, nil, fmt.Errorf("read answer to %s %s: %w", method, path, translate(ctx, err))
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return resp.StatusCode, nil, &StatusError{Method: method, Path: path, Code: resp.StatusCode, Body: shorten(body)}
	}
	return resp.StatusCode, body, nil
}

func decode(path string, body []byte, out any) error {
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("decode patroni's answer to %s: %w", path, err)
	}
	return nil
}

func shorten(body []byte) string {
	text := strings.TrimSpace(strings.ToValidUTF8(string(body), "?"))
	if runes := []rune(text); len(runes) > explanation {
		return string(runes[:explanation]) + "…"
	}
	return text
}
