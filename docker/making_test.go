package docker

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// A caller that is interrupted while the Engine makes something comes back when it is made, not before: else it would
// be undone before it exists, and stay.
func TestAnInterruptedCallerWaitsForWhatIsBeingMade(t *testing.T) {
	begun, made := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/networks/create"):
			close(begun)
			<-made
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"Id": "n1"}`))
		case strings.HasSuffix(r.URL.Path, "/networks"):
			_, _ = w.Write([]byte(`[]`))
		default:
			w.Header().Set("Api-Version", "1.41")
		}
	}))
	defer server.Close()
	e, err := Open(Options{Host: "tcp://" + server.Listener.Addr().String(), Instance: "i", Log: zerolog.Nop()})
	require.NoError(t, err)
	defer e.Close()

	ctx, interrupt := context.WithCancel(t.Context())
	returned := make(chan error, 1)
	go func() {
		_, err := e.EnsureNetwork(ctx, NetworkSpec{Host: Local, Name: "n"})
		returned <- err
	}()
	<-begun
	interrupt()
	select {
	case err := <-returned:
		t.Fatalf("it came back before the network was made: %v", err)
	case <-time.After(200 * time.Millisecond): // long enough for a caller that does not wait
	}
	close(made)
	require.ErrorIs(t, <-returned, context.Canceled)
}

func TestAnInterruptedCallerDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		call, done := making(ctx, 5*time.Second)
		defer done()
		began := time.Now()
		interrupt()
		<-call.Done()
		require.Equal(t, 5*time.Second, time.Since(began))
		require.ErrorIs(t, context.Cause(call), context.Canceled)

		late, done := making(ctx, 5*time.Second)
		defer done()
		require.Error(t, late.Err(), "nothing is begun for a caller who has gone")
	})
}
