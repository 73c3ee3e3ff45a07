package worker

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/worker/natstest"
)

func TestOptionsTellEveryFault(t *testing.T) {
	steps := newScript().types()
	kinds := testKinds()
	kinds[0].Plan = func(jobs.PlanInput) (jobs.Plan, error) {
		return jobs.Plan{{Title: "x", Steps: []jobs.Step{{Name: "nobody.knows"}}}}, nil
	}
	_, err := New(Options{Kinds: append(kinds, kinds[1]), Steps: append(steps, steps[0])})
	for _, want := range []string{"needs a name", "needs a store", "needs a NATS connection", `step "alpha"`, `kind "cluster.delete"`, `"nobody.knows"`} {
		require.ErrorContains(t, err, want)
	}
}

func TestRetryDelayGrowsToItsLimit(t *testing.T) {
	policy := jobs.Retry{Initial: 100 * time.Millisecond, Max: time.Second}
	for range 50 {
		require.InDelta(t, 100, retryDelay(policy, 1).Milliseconds(), 31)
		require.InDelta(t, 200, retryDelay(policy, 2).Milliseconds(), 61)
		require.LessOrEqual(t, retryDelay(policy, 20), time.Second)
		require.GreaterOrEqual(t, retryDelay(policy, 20), 650*time.Millisecond)
	}
	require.LessOrEqual(t, retryDelay(jobs.Retry{}, 1000), defaultRetryMax)
}

func TestCleanMakesTextStorable(t *testing.T) {
	require.Equal(t, "a\uFFFDb", clean("a\xff\x00b"))
	long := clean(strings.Repeat("ü", maxText))
	require.LessOrEqual(t, len(long), maxText+5)
	require.NotContains(t, long, "\uFFFD")
}

func TestWavesKeepTheOrderOfACluster(t *testing.T) {
	message := func(id int64, cluster string, ty jobs.EventType) jobs.Outgoing {
		return jobs.Outgoing{ID: id, Subject: jobs.EventSubject(tenant, cluster, ty)}
	}
	cut := waves([]jobs.Outgoing{
		message(1, "a", jobs.OperationAccepted), message(2, "a", jobs.OperationStarted),
		message(3, "b", jobs.OperationAccepted), message(4, "a", jobs.StepStarted), message(5, "b", jobs.OperationStarted),
	})
	var ids [][]int64
	for _, wave := range cut {
		var of []int64
		for _, m := range wave {
			of = append(of, m.ID)
		}
		ids = append(ids, of)
	}
	require.Equal(t, [][]int64{{1, 3}, {2, 5}, {4}}, ids)
}

func TestControlRequestsAreReadStrictly(t *testing.T) {
	decode := func(kind jobs.KindName, data string) error {
		_, err := decodeControl(jobs.Request{Kind: kind, Data: json.RawMessage(data)})
		return err
	}
	require.NoError(t, decode(jobs.OperationCancel, `{"operation_id":"x","reason":"y"}`))
	require.NoError(t, decode(jobs.OperationReplay, `{"dead_letter_id":"x"}`))
	require.Error(t, decode(jobs.OperationReplay, `{}`))
	require.Error(t, decode(jobs.OperationReplay, `{"operation_id":"x","dead_letter_id":"y"}`))
	require.Error(t, decode(jobs.OperationCancel, `{"dead_letter_id":"x"}`))
	err := decode(jobs.OperationDiscard, `{"oops":1,"reason":"`+strings.Repeat("x", 501)+`"}`)
	var faults jobs.Faults
	require.ErrorAs(t, err, &faults)
	require.Len(t, faults, 3, "every fault at once: %v", faults)
}

func TestStreamsAreComparedNotChanged(t *testing.T) {
	server := natstest.Start(t)
	js, err := jetstream.New(server.Connect())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: jobs.StreamEvents, Subjects: []string{"pgforeman.v1.event.>"},
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.MemoryStorage, Duplicates: time.Minute,
	})
	require.NoError(t, err)
	err = EnsureStreams(ctx, js, 1)
	var unfit *StreamError
	require.ErrorAs(t, err, &unfit)
	require.Equal(t, jobs.StreamEvents, unfit.Stream)
	require.Len(t, unfit.Diffs, 3, "retention, storage, duplicate window: %v", err)
	_, err = js.Stream(ctx, jobs.StreamRequests)
	require.NoError(t, err, "the others are made all the same")
	require.NoError(t, js.DeleteStream(ctx, jobs.StreamEvents))
	require.NoError(t, EnsureStreams(ctx, js, 1))
	require.NoError(t, EnsureStreams(ctx, js, 1))
}

// TestIdleWorkerIsQuiet counts the statements of a worker with nothing to do,
// by the design's own clockwork.
func TestIdleWorkerIsQuiet(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	t.Parallel()
	store := newMemStore()
	w := newWorld(t, store)
	worker := w.start("one", func(o *Options) { o.Timing = Timing{}; o.Retention = time.Hour })
	w.until("the worker is up", func() bool { return ready(worker.Worker, dependencyDatabase) })
	count := func() int {
		store.mu.Lock()
		defer store.mu.Unlock()
		return store.queries
	}
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	w.events("r1", jobs.OperationSucceededEv)
	before, at := count(), time.Now()
	pause(context.Background(), 8*time.Second)
	rate := float64(count()-before) / time.Since(at).Seconds()
	t.Logf("%.2f calls a second", rate)
	require.LessOrEqual(t, rate, 2.0)
}

func TestACallThatWaitedWhileOthersWereAnsweredIsNoOutage(t *testing.T) {
	var lines strings.Builder
	h := newHealth(logTo(&lines))
	now := time.Unix(1000, 0)
	h.now = func() time.Time { return now }
	h.database(nil)
	now = now.Add(2 * time.Second)
	h.database(context.DeadlineExceeded)
	require.True(t, h.list()[0].OK)
	require.Empty(t, lines.String())
	now = now.Add(2 * time.Second)
	h.database(context.DeadlineExceeded)
	require.False(t, h.list()[0].OK, "nobody was answered for four seconds")
}

func TestHealthTellsChangesOnce(t *testing.T) {
	var lines strings.Builder
	h := newHealth(logTo(&lines))
	h.database(nil)
	for range 5 {
		h.database(jobs.ErrUnavailable)
	}
	h.database(context.Canceled)
	require.False(t, h.list()[0].OK)
	require.Equal(t, jobs.ErrUnavailable.Error(), h.list()[0].Error)
	for range 5 {
		h.database(jobs.ErrLeaseLost) // an answer
	}
	require.True(t, h.list()[0].OK)
	require.Equal(t, 2, strings.Count(lines.String(), "\n"), lines.String())
}
