package httpd

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	return w.Code, w.Body.String()
}

func TestReadyOnlyWhenEveryDependencyIs(t *testing.T) {
	for name, c := range map[string]struct {
		checks []Check
		code   int
	}{
		"nothing known yet": {nil, http.StatusServiceUnavailable},
		"all well":          {[]Check{{Name: "nats", OK: true}, {Name: "database", OK: true}}, http.StatusOK},
		"one away":          {[]Check{{Name: "nats", OK: true}, {Name: "database", Error: "refused"}}, http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			code, body := get(t, Handler(Options{Checks: func() []Check { return c.checks }}), "/readyz")
			require.Equal(t, c.code, code)
			for _, check := range c.checks {
				require.Contains(t, body, check.Name)
				require.Contains(t, body, check.Error)
			}
		})
	}
}

func TestMetricsAndHealth(t *testing.T) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "pgforeman_test"}, func() float64 { return 42 }))
	h := Handler(Options{Checks: func() []Check { return nil }, Metrics: reg})
	code, body := get(t, h, "/metrics")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "pgforeman_test 42")
	code, _ = get(t, h, "/healthz")
	require.Equal(t, http.StatusOK, code)
	code, _ = get(t, h, "/debug/pprof/")
	require.Equal(t, http.StatusNotFound, code)
}

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, l, Options{Addr: l.Addr().String(), Checks: func() []Check { return nil }})
	}()
	resp, err := http.Get("http://" + l.Addr().String() + "/healthz")
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	cancel()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

func TestServeTellsATakenAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	err = Serve(context.Background(), Options{Addr: l.Addr().String()})
	require.ErrorContains(t, err, l.Addr().String())
}
