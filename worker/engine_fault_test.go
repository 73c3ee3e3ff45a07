package worker

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// testShare has two workers carry out many operations: every step runs once.
func testShare(t *testing.T, w *world) {
	w.start("one", func(o *Options) { o.Concurrency = 3 })
	w.start("two", func(o *Options) { o.Concurrency = 3 })
	const n = 30
	for i := range n {
		w.send(jobs.ClusterCreate, fmt.Sprintf("r%d", i), fmt.Sprintf("c%d", i), stages("alpha beta", "gamma"))
	}
	owners := map[string]int{}
	for i := range n {
		id := fmt.Sprintf("r%d", i)
		w.ends(id, jobs.OperationSucceeded)
		for _, st := range w.steps(id) {
			require.Equal(t, 1, st.Attempt)
			owners[st.Owner]++
		}
	}
	require.Len(t, w.did(), 3*n)
	t.Logf("steps by worker: %v", owners)
	inOrder(t, w.events("r0", jobs.OperationSucceededEv))
}

// cutStore is the store as one worker sees it: cut off, or not.
type cutStore struct {
	Store
	cut atomic.Bool
}

func (c *cutStore) err() error {
	if c.cut.Load() {
		return fmt.Errorf("cut off: %w", jobs.ErrUnavailable)
	}
	return nil
}

func (c *cutStore) Renew(ctx context.Context, worker string, leases []jobs.Lease, lease time.Duration) ([]Held, error) {
	if err := c.err(); err != nil {
		return nil, err
	}
	return c.Store.Renew(ctx, worker, leases, lease)
}

func (c *cutStore) Release(ctx context.Context, leases []jobs.Lease) error {
	if err := c.err(); err != nil {
		return err
	}
	return c.Store.Release(ctx, leases)
}

func (c *cutStore) Claim(ctx context.Context, worker string, limit int, steps []string, lease time.Duration) ([]jobs.Claimed, error) {
	if err := c.err(); err != nil {
		return nil, err
	}
	return c.Store.Claim(ctx, worker, limit, steps, lease)
}

func (c *cutStore) Update(ctx context.Context, id string, lease *jobs.Lease, rule Rule) error {
	if err := c.err(); err != nil {
		return err
	}
	return c.Store.Update(ctx, id, lease, rule)
}

func (c *cutStore) TakeDuty(ctx context.Context, name, worker string, lease time.Duration) (bool, error) {
	if err := c.err(); err != nil {
		return false, err
	}
	return c.Store.TakeDuty(ctx, name, worker, lease)
}

func (c *cutStore) GiveUpDuty(ctx context.Context, name, worker string) error {
	if err := c.err(); err != nil {
		return err
	}
	return c.Store.GiveUpDuty(ctx, name, worker)
}

// testVanish cuts a worker off in the middle of a step: another goes on with
// the step and the duty, and what the first one does afterwards changes nothing.
func testVanish(t *testing.T, w *world) {
	cut := &cutStore{Store: w.store}
	begun := make(chan int, 10)
	ended := make(chan error, 10)
	w.on("alpha", func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
		begun <- a.Number
		if a.Number == 1 {
			<-ctx.Done() // fenced by its own clock
			ended <- context.Cause(ctx)
			return jobs.Result{Output: "from the dead"}, nil
		}
		return jobs.Result{Output: "from the living"}, nil
	})
	w.start("one", func(o *Options) { o.Store = cut })
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha", "beta"))
	require.Equal(t, 1, receive(t, begun))
	w.start("two")
	at := time.Now()
	cut.cut.Store(true)
	require.ErrorIs(t, receive(t, ended), errLost)
	require.Equal(t, 2, receive(t, begun))
	t.Logf("the step runs elsewhere after %s", time.Since(at))
	w.ends("r1", jobs.OperationSucceeded)
	st := w.steps("r1")["alpha"]
	require.Equal(t, "two", st.Owner)
	require.JSONEq(t, `"from the living"`, string(st.Output))
	w.send(jobs.ClusterCreate, "r2", "other", stages("beta")) // intake has moved too
	w.ends("r2", jobs.OperationSucceeded)
	cut.cut.Store(false)
	err := w.store.Update(t.Context(), w.operation("r1").ID, &jobs.Lease{OperationID: w.operation("r1").ID, StepID: st.ID, Owner: "one", Attempt: 1},
		func(*jobs.Snapshot) error { return nil })
	require.ErrorIs(t, err, jobs.ErrLeaseLost)
	inOrder(t, w.events("r1", jobs.OperationSucceededEv))
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-from:
		return v
	case <-timer.C:
		require.Fail(t, "nothing came")
		panic("unreachable")
	}
}

// testDrain stops a worker in the middle of a step: its step is handed over
// without waiting for the lease, and counts no failure.
func testDrain(t *testing.T, w *world) {
	g := newGate()
	w.on("alpha", g.step)
	long := func(o *Options) { o.Timing.Lease, o.Timing.Fence = time.Hour, 50*time.Minute }
	one := w.start("one", long, func(o *Options) { o.Grace = 50 * time.Millisecond })
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	g.wait(t)
	w.start("two", long)
	one.stop()
	g.wait(t)
	st := w.steps("r1")["alpha"]
	require.Equal(t, "two", st.Owner)
	require.Equal(t, 0, st.Failures)
	close(g.open)
	w.ends("r1", jobs.OperationSucceeded)
	w.send(jobs.ClusterCreate, "r2", "other", stages("beta")) // the duty was handed over too
	w.ends("r2", jobs.OperationSucceeded)
}

// testDrainFinishes stops a worker that has time: the step that runs goes on for
// longer than a lease, keeps it, and ends where it began.
func testDrainFinishes(t *testing.T, w *world) {
	g := newGate()
	w.on("alpha", g.step)
	one := w.start("one", func(o *Options) { o.Grace = patience })
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha", "beta"))
	g.wait(t)
	w.start("two")
	one.kill()
	w.send(jobs.ClusterCreate, "r2", "other", stages("beta"))
	w.ends("r2", jobs.OperationSucceeded)
	require.Equal(t, "two", w.steps("r2")["beta"].Owner, "who stops begins nothing")
	began := time.Now()
	w.until("a lease would have run out", func() bool { return time.Since(began) > defaultTiming().Lease+time.Second })
	close(g.open)
	w.ends("r1", jobs.OperationSucceeded)
	one.stop()
	st := w.steps("r1")["alpha"]
	require.Equal(t, "one", st.Owner)
	require.Equal(t, 1, st.Attempt)
	require.Equal(t, "two", w.steps("r1")["beta"].Owner)
}

// testNATSRestart stops NATS: steps go on, events wait, requests are taken in
// again, with no restart of the worker.
func testNATSRestart(t *testing.T, w *world) {
	g := newGate()
	w.on("alpha", g.step)
	one := w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha", "beta"))
	g.wait(t)
	w.server.Stop()
	close(g.open)
	w.ends("r1", jobs.OperationSucceeded)
	w.until("the worker sees that NATS is away", func() bool { return !ready(one.Worker, dependencyNATS) })
	w.server.Restart()
	inOrder(t, w.events("r1", jobs.OperationSucceededEv))
	w.until("connected", w.nc.IsConnected)
	w.send(jobs.ClusterCreate, "r2", "other", stages("beta"))
	w.ends("r2", jobs.OperationSucceeded)
	w.until("the worker sees that NATS is back", func() bool { return ready(one.Worker, dependencyNATS) })
}

func ready(w *Worker, name string) bool {
	for _, d := range w.Ready() {
		if d.Name == name {
			return d.OK
		}
	}
	return false
}

// awayStore is a store whose database can be taken away.
type awayStore struct {
	backend
	away atomic.Bool
}

func (a *awayStore) err() error {
	if a.away.Load() {
		return fmt.Errorf("taken away: %w", jobs.ErrUnavailable)
	}
	return nil
}

func (a *awayStore) Admit(ctx context.Context, in Admission) (Admitted, error) {
	if err := a.err(); err != nil {
		return Admitted{}, err
	}
	return a.backend.Admit(ctx, in)
}

func (a *awayStore) Update(ctx context.Context, id string, lease *jobs.Lease, rule Rule) error {
	if err := a.err(); err != nil {
		return err
	}
	return a.backend.Update(ctx, id, lease, rule)
}

func (a *awayStore) Reject(ctx context.Context, req jobs.Request, e *jobs.Error) error {
	if err := a.err(); err != nil {
		return err
	}
	return a.backend.Reject(ctx, req, e)
}

// testStoreAway takes the database away for writes: a result waits for it, a
// request is held and never lost.
func testStoreAway(t *testing.T, w *world) {
	away := &awayStore{backend: w.store}
	g := newGate()
	w.on("alpha", g.step)
	one := w.start("one", func(o *Options) { o.Store = away })
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	g.wait(t)
	w.takenIn()
	away.away.Store(true)
	close(g.open)
	w.send(jobs.ClusterCreate, "r2", "other", stages("beta"))
	w.send(jobs.ClusterDelete, "r3", "nowhere", stages("beta"))
	w.until("the worker sees that the database is away", func() bool { return !ready(one.Worker, dependencyDatabase) })
	require.Equal(t, jobs.OperationRunning, w.operation("r1").State)
	require.Empty(t, w.operation("r2").ID)
	require.EqualValues(t, 2, w.unsettled(), "neither is acked")
	away.away.Store(false)
	w.ends("r1", jobs.OperationSucceeded)
	w.ends("r2", jobs.OperationSucceeded)
	require.Equal(t, 1, w.steps("r1")["alpha"].Attempt, "the result was kept")
	w.events("r3", jobs.OperationRejected)
	w.takenIn()
}

// unstartable is a store in which nothing that is queued can be started.
type unstartable struct {
	backend
	on atomic.Bool
}

func (u *unstartable) StartQueued(ctx context.Context, limit, perTenant int, start Rule) (int, error) {
	if u.on.Load() {
		return 0, fmt.Errorf("somebody has a lock: %w", jobs.ErrUnavailable)
	}
	return u.backend.StartQueued(ctx, limit, perTenant, start)
}

// testStartRefused has the starting of operations fail while one goes on: its
// steps are carried out.
func testStartRefused(t *testing.T, w *world) {
	store := &unstartable{backend: w.store}
	w.on("alpha", func(context.Context, *jobs.Attempt) (jobs.Result, error) {
		store.on.Store(true)
		return jobs.Result{}, nil
	})
	w.start("one", func(o *Options) { o.Store = store })
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha", "beta"))
	w.ends("r1", jobs.OperationSucceeded)
}
