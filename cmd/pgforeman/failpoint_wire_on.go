//go:build failpoint

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// failpointsDocker has a point before and after every request to the Engine that
// is not a question.
func failpointsDocker() func(http.RoundTripper) http.RoundTripper {
	return func(t http.RoundTripper) http.RoundTripper { return &failDocker{RoundTripper: t} }
}

const idLength = 64

type failDocker struct {
	http.RoundTripper
	names sync.Map // of containers and networks made by this process, by their ids
}

func (d *failDocker) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || strings.HasSuffix(r.URL.Path, "/wait") {
		return d.RoundTripper.RoundTrip(r)
	}
	what := d.nameOf(r)
	points.hit("before", what)
	resp, err := d.RoundTripper.RoundTrip(r)
	points.hit("after", what)
	if err == nil && strings.HasSuffix(r.URL.Path, "/create") {
		d.remember(what, resp)
	}
	return resp, err
}

// nameOf is the method, the path without the version and with names in place of
// ids, and what the query says of what is made.
func (d *failDocker) nameOf(r *http.Request) string {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if strings.HasPrefix(parts[0], "v1.") {
		parts = parts[1:]
	}
	of := r.URL.Query().Get("name")
	if len(parts) > 1 && parts[1] != "create" {
		of = parts[1]
		if name, ok := d.names.Load(of); ok {
			of = name.(string)
		} else if len(of) == idLength { // made by a call that was interrupted, or by another process
			of = "unnamed"
		}
		parts = append(parts[:1], parts[2:]...)
	}
	if i := strings.LastIndex(of, "."); i > 0 {
		of = of[:i] // without the end of the cluster's id
	}
	return strings.TrimSpace("docker " + r.Method + " /" + strings.Join(parts, "/") + " " + of)
}

// remember notes the id of what was made.
func (d *failDocker) remember(what string, resp *http.Response) {
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var made struct{ ID string }
	if err == nil && json.Unmarshal(body, &made) == nil && made.ID != "" {
		fields := strings.Fields(what)
		d.names.Store(made.ID, fields[len(fields)-1])
	}
}

// failpointsNATS has a point before and after every write to the NATS server
// that publishes an event or a dead letter, acks a request or makes a stream.
func failpointsNATS() []nats.Option { return []nats.Option{nats.SetCustomDialer(failDialer{})} }

type failDialer struct{}

func (failDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, nats.DefaultTimeout)
	if err != nil {
		return nil, err
	}
	return failConn{conn}, nil
}

type failConn struct{ net.Conn }

func (c failConn) Write(b []byte) (int, error) {
	for _, k := range []struct{ kind, mark string }{
		{"nats ack", "PUB $JS.ACK."},
		{"nats event", "PUB pgforeman.v1.event."},
		{"nats dead letter", "PUB pgforeman.v1.dead."},
		{"nats stream", "PUB $JS.API.STREAM.CREATE."},
		{"nats consumer", "PUB $JS.API.CONSUMER.DURABLE."},
		{"nats consumer", "PUB $JS.API.CONSUMER.CREATE."},
	} {
		if bytes.Contains(b, []byte(k.mark)) {
			return around(k.kind, func() (int, error) { return c.Conn.Write(b) })
		}
	}
	return c.Conn.Write(b)
}
