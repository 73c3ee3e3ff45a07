package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
	"github.com/vcs-iaas/pgforeman/worker"
	"github.com/vcs-iaas/pgforeman/worker/natstest"
)

// stage is a NATS server with the streams, a client of the tenant acme, and a
// hand that tells events as a worker would.
type stage struct {
	t   *testing.T
	srv *natstest.Server
	js  jetstream.JetStream
	c   *client.Client
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, srv: natstest.Start(t)}
	js, err := jetstream.New(s.srv.Connect())
	require.NoError(t, err)
	s.js = js
	require.NoError(t, worker.EnsureStreams(t.Context(), js, 1))
	s.c = s.connect(client.Options{Tenant: "acme"})
	return s
}

func (s *stage) connect(o client.Options) *client.Client {
	s.t.Helper()
	o.URL = s.srv.URL()
	c, err := client.Connect(s.t.Context(), o)
	require.NoError(s.t, err)
	s.t.Cleanup(c.Close)
	return c
}

// tell publishes an event of a request; seq 0 is for rejections.
func (s *stage) tell(request string, seq int64, typ jobs.EventType) {
	s.t.Helper()
	s.tellOf("acme", "orders", request, seq, typ, nil)
}

func (s *stage) tellOf(tenant, cluster, request string, seq int64, typ jobs.EventType, e *jobs.Error) {
	s.t.Helper()
	body, err := json.Marshal(jobs.Event{
		SpecVersion: "1.0", ID: fmt.Sprintf("%s-%d", request, seq), Type: jobs.EventTypeName(typ), Tenant: tenant,
		Data: jobs.EventData{RequestID: request, OperationID: "op-" + request, Cluster: cluster, Seq: seq, Error: e},
	})
	require.NoError(s.t, err)
	_, err = s.js.Publish(context.Background(), jobs.EventSubject(tenant, cluster, typ), body)
	require.NoError(s.t, err)
}

// watched is what a watch has given: "seq type" lines, and its error.
type watched struct {
	lines []string
	err   error
}

// watch watches in the background; first is closed when the first event was
// given.
func (s *stage) watch(ctx context.Context, t client.Target) (first chan struct{}, result chan watched) {
	first, result = make(chan struct{}), make(chan watched, 1)
	go func() {
		var w watched
		for e, err := range s.c.Watch(ctx, t) {
			if err != nil {
				w.err = err
				continue
			}
			w.lines = append(w.lines, fmt.Sprintf("%d %s", e.Data.Seq, client.TypeOf(e)))
			if len(w.lines) == 1 {
				close(first)
			}
		}
		result <- w
	}()
	return first, result
}

func (s *stage) result(c chan watched) []string {
	s.t.Helper()
	w := s.wait(c)
	require.NoError(s.t, w.err)
	return w.lines
}

func (s *stage) wait(c chan watched) watched {
	s.t.Helper()
	select {
	case w := <-c:
		return w
	case <-time.After(time.Minute):
		s.t.Fatal("the watch does not end")
		return watched{}
	}
}

func TestPublish(t *testing.T) {
	s := newStage(t)
	ctx := t.Context()
	r := client.Request{Kind: jobs.ClusterCreate, Cluster: "orders", Data: map[string]any{"nodes": 3}, ID: "req é/1"}
	first, err := s.c.Publish(ctx, r)
	require.NoError(t, err)
	require.False(t, first.Duplicate)
	again, err := s.c.Publish(ctx, r)
	require.NoError(t, err)
	require.True(t, again.Duplicate, "the same again is kept once")
	r.Data = map[string]any{"nodes": 1}
	other, err := s.c.Publish(ctx, r)
	require.NoError(t, err)
	require.False(t, other.Duplicate, "another content has to come through, to be rejected")

	stream, err := s.js.Stream(ctx, jobs.StreamRequests)
	require.NoError(t, err)
	require.EqualValues(t, 2, stream.CachedInfo().State.Msgs)
	msg, err := stream.GetMsg(ctx, 1)
	require.NoError(t, err)
	req, err := jobs.ParseRequest(msg.Subject, msg.Header, msg.Data)
	require.NoError(t, err)
	require.Equal(t, []string{"acme", "req é/1", "cluster.create", "orders"}, []string{req.Tenant, req.ID, string(req.Kind), req.Cluster})

	fresh, err := s.c.Publish(ctx, client.Request{Kind: jobs.OperationCancel})
	require.NoError(t, err)
	require.NotEmpty(t, fresh.RequestID)
}

func TestWatchFollowsOneOperationToItsEnd(t *testing.T) {
	s := newStage(t)
	s.tell("other", 1, jobs.OperationAccepted)
	s.tell("req", 1, jobs.OperationAccepted) // told before anybody watches
	first, result := s.watch(t.Context(), client.Target{RequestID: "req", Cluster: "orders"})
	<-first
	s.tell("req", 2, jobs.OperationStarted)
	s.tell("other", 2, jobs.OperationSucceededEv)
	s.tell("req", 2, jobs.OperationStarted) // at least once
	s.tellOf("other-tenant", "orders", "req", 3, jobs.OperationFailedEv, nil)
	s.tell("req", 3, jobs.OperationSucceededEv)
	want := []string{"1 operation.accepted", "2 operation.started", "3 operation.succeeded"}
	require.Equal(t, want, s.result(result))

	_, result = s.watch(t.Context(), client.Target{OperationID: "op-req"})
	require.Equal(t, want, s.result(result), "also afterwards, by the operation's id, in every cluster")
}

func TestWatchGoesOnWhereAReplayFollows(t *testing.T) {
	s := newStage(t)
	for i, typ := range []jobs.EventType{jobs.OperationAccepted, jobs.OperationFailedEv, jobs.OperationStarted} {
		s.tell("req", int64(i+1), typ)
	}
	s.tell("other", 1, jobs.OperationAccepted)
	target := client.Target{RequestID: "req", Cluster: "orders"}
	first, whole := s.watch(t.Context(), target)
	<-first
	target.AfterSeq = 2
	first, rest := s.watch(t.Context(), target)
	<-first
	s.tell("req", 4, jobs.OperationSucceededEv)
	require.Equal(t, []string{"1 operation.accepted", "2 operation.failed", "3 operation.started", "4 operation.succeeded"}, s.result(whole))
	require.Equal(t, []string{"3 operation.started", "4 operation.succeeded"}, s.result(rest))
}

func TestWatchOfARejection(t *testing.T) {
	s := newStage(t)
	s.tellOf("acme", "", "req", 0, jobs.OperationRejected, &jobs.Error{Code: jobs.CodeInvalid})
	_, result := s.watch(t.Context(), client.Target{RequestID: "req", Cluster: "orders"})
	require.Equal(t, []string{"0 operation.rejected"}, s.result(result), "one that named no cluster is found too")
	_, result = s.watch(t.Context(), client.Target{RequestID: "req", Cluster: "No Cluster > *"})
	require.Equal(t, []string{"0 operation.rejected"}, s.result(result), "nor does a name that is none hide it")
}

func TestWatchOfAnIDUsedBefore(t *testing.T) {
	s := newStage(t)
	s.tell("req", 1, jobs.OperationAccepted)
	s.tell("req", 2, jobs.OperationSucceededEv)
	receipt, err := s.c.Publish(t.Context(), client.Request{Kind: jobs.ClusterCreate, Cluster: "orders", ID: "req"})
	require.NoError(t, err)
	first, result := s.watch(t.Context(), receipt.Target())
	<-first
	s.tellOf("acme", "orders", "req", 0, jobs.OperationRejected, &jobs.Error{Code: jobs.CodeConflict})
	require.Equal(t, []string{"1 operation.accepted", "2 operation.succeeded", "0 operation.rejected"}, s.result(result))

	// The one who watches the first use is not told of the second.
	_, result = s.watch(t.Context(), client.Target{RequestID: "req", Cluster: "orders"})
	require.Equal(t, []string{"1 operation.accepted", "2 operation.succeeded"}, s.result(result))
}

func TestWatchSurvivesARestartOfTheServer(t *testing.T) {
	s := newStage(t)
	s.tell("req", 1, jobs.OperationAccepted)
	first, result := s.watch(t.Context(), client.Target{RequestID: "req", Cluster: "orders"})
	<-first
	s.srv.Stop()
	s.srv.Restart()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := s.js.Stream(ctx, jobs.StreamEvents)
		return err == nil
	}, time.Minute, 50*time.Millisecond)
	s.tell("req", 2, jobs.OperationStarted)
	s.tell("req", 3, jobs.OperationSucceededEv)
	require.Equal(t, []string{"1 operation.accepted", "2 operation.started", "3 operation.succeeded"}, s.result(result))
}

func TestWatchEndsWithItsContext(t *testing.T) {
	s := newStage(t)
	s.tell("req", 1, jobs.OperationAccepted)
	ctx, cancel := context.WithCancel(t.Context())
	first, result := s.watch(ctx, client.Target{RequestID: "req"})
	<-first
	cancel()
	require.ErrorIs(t, s.wait(result).err, context.Canceled)
}

func TestEvents(t *testing.T) {
	s := newStage(t)
	read := func(f client.EventFilter) (requests []string) {
		for e, err := range s.c.Events(t.Context(), f) {
			require.NoError(t, err)
			requests = append(requests, e.Data.RequestID)
		}
		return requests
	}
	require.Empty(t, read(client.EventFilter{}), "no event yet")
	s.tellOf("acme", "orders", "a", 1, jobs.OperationAccepted, nil)
	s.tellOf("acme", "stock", "b", 1, jobs.OperationAccepted, nil)
	s.tellOf("other", "orders", "c", 1, jobs.OperationAccepted, nil)
	require.Equal(t, []string{"a", "b"}, read(client.EventFilter{}))
	require.Equal(t, []string{"a"}, read(client.EventFilter{Cluster: "orders"}))
	for _, err := range s.c.Events(t.Context(), client.EventFilter{Cluster: ">"}) {
		require.Error(t, err)
	}
	require.Empty(t, read(client.EventFilter{Since: time.Now().Add(time.Hour)}))

	next := make(chan string, 3)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e, err := range s.c.Events(ctx, client.EventFilter{Cluster: "stock", Follow: true}) {
			if err == nil {
				next <- e.Data.RequestID
			}
		}
	}()
	require.Equal(t, "b", <-next)
	s.tellOf("acme", "stock", "d", 1, jobs.OperationAccepted, nil)
	require.Equal(t, "d", <-next)
	cancel()
	<-done
}

func TestErrorsSayWhatToDo(t *testing.T) {
	srv := natstest.Start(t)
	c, err := client.Connect(t.Context(), client.Options{URL: srv.URL()})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	_, err = c.Publish(t.Context(), client.Request{Kind: jobs.ClusterCreate, Cluster: "orders"})
	require.ErrorIs(t, err, client.ErrNoStream)
	for _, err := range c.Events(t.Context(), client.EventFilter{}) {
		require.ErrorIs(t, err, client.ErrNoStream)
	}
	require.ErrorIs(t, c.Query(t.Context(), jobs.QueryClusterList, jobs.Query{}, &struct{}{}), client.ErrNoWorker)

	url := srv.URL()
	srv.Stop()
	_, err = client.Connect(t.Context(), client.Options{URL: "nats://user:hush@" + url[len("nats://"):]})
	require.ErrorIs(t, err, client.ErrNoConnection)
	require.NotContains(t, err.Error(), "hush")

	_, err = client.Connect(t.Context(), client.Options{URL: url, Tenant: "No Tenant"})
	require.ErrorContains(t, err, "DNS label")
}

func TestCredentialsFiles(t *testing.T) {
	dir := t.TempDir()
	user, err := nkeys.CreateUser()
	require.NoError(t, err)
	seed, err := user.Seed()
	require.NoError(t, err)
	nk, junk := filepath.Join(dir, "nk"), filepath.Join(dir, "junk")
	require.NoError(t, os.WriteFile(nk, append(seed, '\n'), 0o600))
	require.NoError(t, os.WriteFile(junk, []byte("junk"), 0o600))
	srv := natstest.Start(t)
	for _, o := range []client.Options{{NKey: nk}, {Creds: nk}} {
		o.URL = srv.URL()
		_, err := client.Connect(t.Context(), o)
		require.ErrorIs(t, err, client.ErrNoConnection, "the test's server has no nkeys; the seed was read")
	}
	for _, o := range []client.Options{{NKey: junk}, {Creds: junk}, {Creds: nk, NKey: nk}, {CA: junk}, {Creds: filepath.Join(dir, "none")}} {
		o.URL = srv.URL()
		_, err := client.Connect(t.Context(), o)
		require.Error(t, err)
		require.False(t, errors.Is(err, client.ErrNoConnection), err)
	}
}
