package worker

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/storetest"
)

// TestTenThousandPublicationsOfAHundredRequests publishes every request a
// hundred times: without a message id, which JetStream's own memory for
// duplicates does not see, and with one, before and after the stream was made
// anew, which is how it looks when the time of that memory has passed. Workers
// come and go meanwhile. A hundred operations are done, once each.
func TestTenThousandPublicationsOfAHundredRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a PostgreSQL server")
	}
	t.Parallel()
	const requests, rounds = 100, 10
	w := newWorld(t, storetest.New(t))
	bodies := make([][]byte, requests)
	for i := range bodies {
		bodies[i] = request(jobs.ClusterCreate, fmt.Sprintf("r%d", i), fmt.Sprintf("c%d", i), stages("alpha", "beta"))
	}
	published := 0
	for round := range rounds {
		name := fmt.Sprintf("w%d", round)
		one := w.start(name)
		for range 9 {
			w.flood(bodies, false)
			published += len(bodies)
		}
		if round == rounds/2 { // all that JetStream knew is forgotten
			w.takenIn()
			w.newRequestStream()
		}
		before := w.streamed()
		w.flood(bodies, true)
		published += len(bodies)
		if round == 0 || round == rounds/2 {
			require.Equal(t, before+requests, w.streamed(), "JetStream must hold them, or the window is not tried")
		} else {
			require.Equal(t, before, w.streamed(), "JetStream must know them")
		}
		if round < rounds-1 {
			one.stop() // in the middle of what it takes in
		}
	}
	require.Equal(t, 10_000, published)
	for i := range requests {
		w.ends(fmt.Sprintf("r%d", i), jobs.OperationSucceeded)
	}
	w.takenIn()
	require.Len(t, w.did(), 2*requests, "each step of each request ran once")
	require.Equal(t, requests, w.count("operations"))
	require.Zero(t, w.count("rejections"))
	w.letters(0)

	w.send(jobs.ClusterCreate, "r7", "c7", stages("gamma"))
	events := w.events("r7", jobs.OperationRejected)
	require.Equal(t, jobs.CodeConflict, events[len(events)-1].Data.Error.Code)
	require.Equal(t, requests, w.count("operations"))
	require.Len(t, w.did(), 2*requests)
}

// flood publishes every body once, and waits for all PubAcks.
func (w *world) flood(bodies [][]byte, withID bool) {
	w.t.Helper()
	var acks []jetstream.PubAckFuture
	for i, body := range bodies {
		var opts []jetstream.PublishOpt
		if withID {
			opts = append(opts, jetstream.WithMsgID(fmt.Sprintf("shop.r%d", i)))
		}
		ack, err := w.js.PublishAsync(jobs.RequestSubject(tenant, jobs.ClusterCreate), body, opts...)
		require.NoError(w.t, err)
		acks = append(acks, ack)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			require.NoError(w.t, err)
		case <-timer.C:
			require.Fail(w.t, "no PubAck")
		}
	}
}

// streamed is how many messages the requests' stream holds.
func (w *world) streamed() int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := w.js.Stream(ctx, jobs.StreamRequests)
	require.NoError(w.t, err)
	return int(s.CachedInfo().State.Msgs)
}

// newRequestStream removes the requests' stream and makes it anew.
func (w *world) newRequestStream() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(w.t, w.js.DeleteStream(ctx, jobs.StreamRequests))
	require.NoError(w.t, EnsureStreams(ctx, w.js, 1))
}

// count counts the rows of a table of the real store.
func (w *world) count(table string) (n int) {
	w.t.Helper()
	w.store.(*storetest.DB).Scan(w.t, "SELECT count(*) FROM "+table, &n)
	return n
}

// TestATenantWithFiveHundredOperationsStarvesNobody has one tenant queue 500
// operations, whose first steps do not end, on three workers: it gets its eight
// and no more, and another tenant's operations are done while the first one's
// wait. Then all of them are done, never more than eight at a time.
func TestATenantWithFiveHundredOperationsStarvesNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a PostgreSQL server")
	}
	t.Parallel()
	const queued, limit = 500, 8
	w := newWorld(t, storetest.New(t))
	open := make(chan struct{})
	var busy, most atomic.Int64
	w.on("alpha", func(ctx context.Context, _ *jobs.Attempt) (jobs.Result, error) {
		now := busy.Add(1)
		defer busy.Add(-1)
		for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
		}
		select {
		case <-open:
			return jobs.Result{}, nil
		case <-ctx.Done():
			return jobs.Result{}, ctx.Err()
		}
	})
	for i := range queued {
		w.publish(jobs.RequestSubject("large", jobs.ClusterCreate),
			request(jobs.ClusterCreate, fmt.Sprintf("r%d", i), fmt.Sprintf("c%d", i), stages("alpha")))
	}
	for _, name := range []string{"one", "two", "three"} {
		w.start(name, func(o *Options) { o.PerTenant = limit })
	}
	w.until("the large tenant has its share", func() bool { return busy.Load() == limit })
	w.takenIn()
	began := time.Now()
	for i := range 20 {
		id := fmt.Sprintf("s%d", i)
		w.send(jobs.ClusterCreate, id, id, stages("beta"))
		w.ends(id, jobs.OperationSucceeded)
	}
	t.Logf("20 operations of the small tenant, one after another: %s", time.Since(began))
	require.Equal(t, limit, w.count("operations WHERE tenant = 'large' AND state = 'running'"))
	require.Equal(t, queued-limit, w.count("operations WHERE tenant = 'large' AND state = 'queued'"))
	close(open)
	w.until("all are done", func() bool {
		return w.count("operations WHERE tenant = 'large' AND state = 'succeeded'") == queued
	})
	require.EqualValues(t, limit, most.Load(), "the most at a time")
}

// testUpgrade has an old worker with the foreman's duty meet a request of a kind
// that only a newer worker knows: the old one leaves request and steps to it.
func testUpgrade(t *testing.T, w *world) {
	slow := func(o *Options) { o.Timing.Unknown, o.Timing.Duty = 2*time.Second, 2*time.Second }
	w.start("old", slow, func(o *Options) { o.Kinds, o.Steps = o.Kinds[:1], o.Steps[:1] })
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	w.ends("r1", jobs.OperationSucceeded) // so the old one is the foreman
	next := w.start("new", func(o *Options) { o.Timing.Duty = 100 * time.Millisecond })
	w.until("the new one looks for the duty", func() bool { return ready(next.Worker, dependencyDatabase) })
	w.send(jobs.ClusterDelete, "r2", "orders", stages("alpha beta", "gamma alpha"))
	w.ends("r2", jobs.OperationSucceeded)
	for name, st := range w.steps("r2") {
		if name != "alpha" {
			require.Equal(t, "new", st.Owner, name)
		}
		require.Equal(t, 1, st.Attempt, name)
	}
	w.letters(0)
}
