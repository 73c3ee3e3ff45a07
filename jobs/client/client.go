// Package client is the Go SDK for portals: it publishes requests, follows what
// becomes of them and asks questions, over NATS alone.
//
//	c, err := client.Connect(ctx, client.Options{URL: "tls://nats:4222", NKey: "portal.nk", Tenant: "acme"})
//	receipt, err := c.Publish(ctx, client.Request{Kind: jobs.ClusterCreate, Cluster: "orders", Data: map[string]any{"nodes": 3}})
//	for event, err := range c.Watch(ctx, receipt.Target()) {
//		…                 // in order, without a gap, each once; ends with the operation
//	}
//	var cluster jobs.ClusterView
//	err = c.Query(ctx, jobs.QueryClusterGet, jobs.Query{Name: "orders"}, &cluster)
//
// What Publish has returned a receipt for is safe: JetStream keeps it, and it
// ends in exactly one of operation.succeeded, failed, cancelled or rejected.
// Publishing the same request with the same id again changes nothing, so a
// portal that was cut off simply publishes again. Connections reconnect for
// ever; a Watch survives that and misses nothing, because it reads the stream of
// events by its sequence and not what happens to fly by.
package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// Options say how to connect, and for whom.
type Options struct {
	// URL of the NATS server or servers, with commas between them.
	URL string
	// Creds is a file with the user's JWT and seed, or with the seed of an
	// nkey alone; NKey a file with the seed of an nkey. At most one of them.
	Creds, NKey string
	// CA is a PEM file with the authority that signed the server's
	// certificate; the system's authorities when empty.
	CA string
	// Tenant that requests and queries are for; "default" when empty.
	Tenant string
	// Name shows on the server who is connected.
	Name string
	// Source is the CloudEvents source of requests; Name when empty.
	Source string
	// InboxPrefix is where answers come in: "_INBOX" when empty. Every
	// connection has a part of its own below it. Roles whose permissions have
	// an inbox of their own need it.
	InboxPrefix string
	// Timeout of the connection and of every call whose context has no
	// deadline; 10 s when 0.
	Timeout time.Duration
}

// Client is a connection to pgforeman for one tenant. It is safe for concurrent
// use; Close ends it.
type Client struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	tenant  string
	source  string
	timeout time.Duration
}

// Connect connects. An error is ErrNoConnection, or says what is wrong with the
// options.
func Connect(ctx context.Context, o Options) (*Client, error) {
	if o.Tenant == "" {
		o.Tenant = "default"
	}
	if !jobs.IsName(o.Tenant) {
		return nil, fmt.Errorf("tenant %q is not a DNS label of at most 40 characters", o.Tenant)
	}
	if o.Name == "" {
		o.Name = "pgforeman-client"
	}
	if o.Source == "" {
		o.Source = o.Name
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	nc, err := Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return &Client{nc: nc, js: js, tenant: o.Tenant, source: o.Source, timeout: o.Timeout}, nil
}

// Dial makes the NATS connection that the options describe, which reconnects
// for ever, for those who want to use it in another way.
func Dial(ctx context.Context, o Options) (*nats.Conn, error) {
	opts, err := o.nats()
	if err != nil {
		return nil, err
	}
	type dialled struct {
		nc  *nats.Conn
		err error
	}
	done := make(chan dialled, 1)
	go func() {
		nc, err := nats.Connect(o.URL, opts...)
		done <- dialled{nc, err}
	}()
	select {
	case d := <-done:
		if d.err != nil {
			return nil, ConnectError(o.URL, d.err)
		}
		return d.nc, nil
	case <-ctx.Done():
		go func() {
			if d := <-done; d.nc != nil {
				d.nc.Close()
			}
		}()
		return nil, ConnectError(o.URL, ctx.Err())
	}
}

// nats translates the options.
func (o Options) nats() ([]nats.Option, error) {
	prefix := o.InboxPrefix
	if prefix == "" {
		prefix = "_INBOX"
	}
	timeout := o.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	opts := []nats.Option{
		nats.Name(o.Name), nats.Timeout(timeout), nats.CustomInboxPrefix(prefix),
		nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectJitter(200*time.Millisecond, time.Second),
		// Errors of the connection are asked for where they matter; the default
		// handler would print them.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("read the authority of the NATS server: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", o.CA)
		}
		opts = append(opts, nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}))
	}
	identity, err := o.identity()
	if err != nil {
		return nil, err
	}
	return append(opts, identity...), nil
}

// identity is how the connection says who it is.
func (o Options) identity() ([]nats.Option, error) {
	path := o.Creds
	switch {
	case o.Creds != "" && o.NKey != "":
		return nil, errors.New("give either credentials or an nkey, not both")
	case o.NKey != "":
		path = o.NKey
	case o.Creds == "":
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the NATS credentials: %w", err)
	}
	if strings.Contains(string(content), "NATS USER JWT") {
		return []nats.Option{nats.UserCredentials(path)}, nil
	}
	nkey, err := nats.NkeyOptionFromSeed(path)
	if err != nil {
		return nil, fmt.Errorf("%s holds neither NATS credentials nor the seed of an nkey: %w", path, err)
	}
	return []nats.Option{nkey}, nil
}

// Close ends the connection.
func (c *Client) Close() { c.nc.Close() }

// Tenant is whom the client works for.
func (c *Client) Tenant() string { return c.tenant }

// bound gives ctx the client's timeout where it has no deadline.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.timeout)
}
