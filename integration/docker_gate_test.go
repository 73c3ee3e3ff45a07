package integration

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dockerGate stands between one worker and the Docker Engine. It can suspend the
// worker in the middle of a call: while the request is on its way, so that its
// effect comes late, or when the Engine has carried it out and the worker does
// not know yet.
type dockerGate struct {
	t    *testing.T
	host string // for PGFOREMAN_DOCKER_HOST

	mu   sync.Mutex
	trap *trap
}

// trap waits for one call.
type trap struct {
	call   *regexp.Regexp // on "POST /containers/create"
	late   bool           // the Engine gets the request only when the trap is opened
	worker *workerProcess
	sprung chan struct{} // closed when the worker is suspended
	open   chan struct{}
	done   chan int // the Engine's answer
}

var apiVersion = regexp.MustCompile(`^/v[0-9.]+`)

func newDockerGate(t *testing.T) *dockerGate {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	g := &dockerGate{t: t, host: "unix://" + socket}
	engine := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", "/var/run/docker.sock")
	}}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "docker"
		},
		Transport: engine, FlushInterval: -1,
		// A worker that ends a call is no fault; one that did not get through
		// sees that the connection ended.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.serve(proxy, w, r)
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return g
}

func (g *dockerGate) serve(proxy http.Handler, w http.ResponseWriter, r *http.Request) {
	call := r.Method + " " + apiVersion.ReplaceAllString(r.URL.Path, "")
	g.mu.Lock()
	tr := g.trap
	if tr == nil || !tr.call.MatchString(call) {
		g.mu.Unlock()
		proxy.ServeHTTP(w, r)
		return
	}
	g.trap = nil
	g.mu.Unlock()
	if tr.late {
		body, err := io.ReadAll(r.Body) // a suspended worker sends no rest of it
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		tr.suspend()
		<-tr.open
	}
	said := &statusWriter{ResponseWriter: w, beforeFirst: func() {
		if !tr.late { // the Engine has answered; the worker never reads it in time
			tr.suspend()
			<-tr.open
		}
	}}
	proxy.ServeHTTP(said, r)
	tr.done <- said.status
}

func (tr *trap) suspend() {
	if err := syscall.Kill(tr.worker.pid(), syscall.SIGSTOP); err != nil {
		tr.worker.t.Errorf("suspend worker %s: %v", tr.worker.name, err)
	}
	close(tr.sprung)
}

// set makes the gate suspend the worker at its next call of this kind.
func (g *dockerGate) set(worker *workerProcess, call string, late bool) *trap {
	tr := &trap{call: regexp.MustCompile(call), late: late, worker: worker,
		sprung: make(chan struct{}), open: make(chan struct{}), done: make(chan int, 1)}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trap = tr
	return tr
}

// statusWriter calls beforeFirst before the first byte of an answer goes out.
type statusWriter struct {
	http.ResponseWriter
	status      int
	beforeFirst func()
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		w.beforeFirst()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets the proxy flush.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
