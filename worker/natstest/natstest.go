// Package natstest runs a NATS server with JetStream inside a test: on a free
// port of 127.0.0.1, with its store in the test's folder. It can be stopped and
// started again on the same port, with what it had stored.
package natstest

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Server is a NATS server for one test.
type Server struct {
	tb   testing.TB
	opts *server.Options
	srv  *server.Server
}

// readyWithin bounds how long a server may take to start, in a loaded machine.
const readyWithin = 60 * time.Second

// Start starts a server; it ends with the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{tb: tb, opts: &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: tb.TempDir(),
		NoLog: true, NoSigs: true,
	}}
	s.Restart()
	tb.Cleanup(s.Stop)
	return s
}

// Restart starts the server again after Stop, on the same port.
func (s *Server) Restart() {
	s.tb.Helper()
	srv, err := server.NewServer(s.opts.Clone())
	if err != nil {
		s.tb.Fatalf("make a NATS server: %v", err)
	}
	go srv.Start()
	if !srv.ReadyForConnections(readyWithin) {
		s.tb.Fatalf("the NATS server is not ready after %s", readyWithin)
	}
	if addr, ok := srv.Addr().(*net.TCPAddr); ok {
		s.opts.Port = addr.Port
	}
	s.srv = srv
}

// Stop stops the server and waits until it has ended.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// URL is where clients connect.
func (s *Server) URL() string {
	return "nats://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.opts.Port))
}

// Connect opens a connection that reconnects for ever; it ends with the test.
func (s *Server) Connect(options ...nats.Option) *nats.Conn {
	s.tb.Helper()
	options = append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond)}, options...)
	nc, err := nats.Connect(s.URL(), options...)
	if err != nil {
		s.tb.Fatalf("connect to NATS: %v", err)
	}
	s.tb.Cleanup(nc.Close)
	return nc
}
