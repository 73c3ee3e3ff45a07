// Package httpd serves what machines ask a worker over HTTP: whether it lives
// (/healthz), whether it can work (/readyz, an entry of JSON per dependency:
// database, nats, docker) and its measurements (/metrics, for Prometheus).
// /readyz says 503 while any dependency is away, since each of them holds work
// up; it is no reason to restart a worker, which goes on by itself (a liveness
// check asks /healthz). It knows nothing of the engine but two functions that it
// is given, and it serves nothing that changes anything or needs a secret.
package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is how one dependency of the worker is.
type Check struct {
	Name  string    `json:"name"`
	OK    bool      `json:"ok"`
	Error string    `json:"error,omitempty"` // the last one, while not OK
	Since time.Time `json:"since"`           // when OK last changed
}

// Options configure Serve.
type Options struct {
	Addr string // host:port
	// Checks gives the state of every dependency; the worker is ready when all
	// are OK and there is at least one.
	Checks func() []Check
	// Metrics is what /metrics serves; nil serves none.
	Metrics prometheus.Gatherer
}

// Serve listens and serves until ctx ends; then it lets running answers finish
// for at most five seconds.
func Serve(ctx context.Context, o Options) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.Addr)
	if err != nil {
		return fmt.Errorf("listen for HTTP on %s: %w; choose another address", o.Addr, err)
	}
	return serve(ctx, l, o)
}

func serve(ctx context.Context, l net.Listener, o Options) error {
	s := &http.Server{
		Handler: Handler(o), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve HTTP on %s: %w", o.Addr, err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(stop); err != nil {
		_ = s.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP on %s: %w", o.Addr, err)
	}
	return nil
}

// Handler is what Serve serves.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n")) // the asker may be gone
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { ready(w, o.Checks()) })
	if o.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{}))
	}
	return mux
}

func ready(w http.ResponseWriter, checks []Check) {
	ok := len(checks) > 0
	for _, c := range checks {
		ok = ok && c.OK
	}
	w.Header().Set("Content-Type", "application/json")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(struct { // the asker may be gone
		Ready  bool    `json:"ready"`
		Checks []Check `json:"checks"`
	}{ok, checks})
}
