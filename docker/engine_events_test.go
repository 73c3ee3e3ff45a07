package docker

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/docker/docker/api/types/events"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// Every connection of Watch ends after one event here; the watcher sees a resync each time and all the events.
func TestWatchConnectsAgain(t *testing.T) {
	var connections atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/_ping" {
			w.Header().Set("Api-Version", "1.41")
			return
		}
		n := connections.Add(1)
		if n == 2 {
			http.Error(w, "starting up", http.StatusInternalServerError)
			return
		}
		_, err := fmt.Fprintf(w, `{"Type":"container","Action":"die","Actor":{"Attributes":{"name":"c%d","exitCode":"1"}}}`, n)
		if err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	e, err := Open(Options{Host: "tcp://" + server.Listener.Addr().String(), Instance: "i", Log: zerolog.Nop()})
	require.NoError(t, err)
	defer e.Close()

	stream := e.Watch(t.Context(), nil)
	for _, want := range []string{"resync ", "die c1", "resync ", "die c3", "resync ", "die c4"} {
		ev := <-stream
		require.Equal(t, want, string(ev.Type)+" "+ev.Container)
	}
}

// While the Engine refuses the stream, the loss is logged once and no resync makes
// the watcher look at everything again and again.
func TestWatchTellsAnOutageOnce(t *testing.T) {
	var tries atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/_ping":
			w.Header().Set("Api-Version", "1.41")
		case tries.Add(1) < 5:
			http.Error(w, "starting up", http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	var log bytes.Buffer // written by the watcher before what is read from it
	e, err := Open(Options{Host: "tcp://" + server.Listener.Addr().String(), Instance: "i", Log: zerolog.New(&log).Level(zerolog.InfoLevel)})
	require.NoError(t, err)
	defer e.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	stream := e.Watch(ctx, nil)
	require.Equal(t, EventResync, (<-stream).Type)
	require.EqualValues(t, 5, tries.Load(), "the first resync is the first connection")
	require.Equal(t, 1, strings.Count(log.String(), "docker event stream lost"), log.String())
	require.Equal(t, 1, strings.Count(log.String(), "docker event stream back"), log.String())
}

func TestEventSortsAttributesFromLabels(t *testing.T) {
	e := &Engine{host: Local}
	ev := e.event(events.Message{
		Action: events.ActionHealthStatusUnhealthy, TimeNano: 5e9,
		Actor: events.Actor{ID: "1", Attributes: map[string]string{"name": "n", "image": "i", LabelNode: "node-1", "other": "x"}},
	})
	require.Equal(t, EventHealth, ev.Type)
	require.Equal(t, HealthUnhealthy, ev.Health)
	require.Equal(t, Labels{LabelNode: "node-1"}, ev.Labels)
	require.EqualValues(t, 5, ev.Time.Unix())
}
