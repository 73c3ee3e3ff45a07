package worker

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func broken(context.Context, *jobs.Attempt) (jobs.Result, error) {
	return jobs.Result{}, jobs.Permanent(errors.New("broken"))
}

func testCancelQueued(t *testing.T, w *world) {
	g := newGate()
	w.on("alpha", g.step)
	w.start("one", func(o *Options) { o.PerTenant = 1 })
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	g.wait(t)
	w.send(jobs.ClusterCreate, "r2", "other", stages("beta"))
	w.until("r2 is queued", func() bool { return w.operation("r2").State == jobs.OperationQueued })
	w.send(jobs.OperationCancel, "c1", "", jobs.ControlSpec{OperationID: w.operation("r2").ID, Reason: "changed my mind"})
	op := w.ends("r2", jobs.OperationCancelled)
	require.Equal(t, jobs.CodeCancelled, op.Error.Code)
	require.Equal(t, jobs.ClusterDeleted, w.cluster("r2").State)
	close(g.open)
	w.ends("r1", jobs.OperationSucceeded)
	require.NotContains(t, w.did(), "beta")
	require.Equal(t, []string{"operation.accepted", "operation.cancelled"}, typesOf(w.events("r2", jobs.OperationCancelledEv)))
	// Its name is free again.
	w.send(jobs.ClusterCreate, "r3", "other", stages("beta"))
	w.ends("r3", jobs.OperationSucceeded)
}

func testCancelRunning(t *testing.T, w *world) {
	g := newGate()
	w.on("gamma", g.step)
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha", "beta omega", "gamma", "delta"))
	g.wait(t)
	w.send(jobs.OperationCancel, "c1", "", jobs.ControlSpec{OperationID: w.operation("r1").ID})
	op := w.ends("r1", jobs.OperationCancelled)
	require.Equal(t, jobs.UndoCancel, op.Undo)
	require.Equal(t, jobs.ClusterDeleted, w.cluster("r1").State)
	did := w.did()
	require.Equal(t, []string{"undo gamma", "undo beta", "undo alpha"}, did[slices.Index(did, "undo gamma"):])
	steps := w.steps("r1")
	require.Equal(t, jobs.StepUndone, steps["alpha"].State)
	require.Equal(t, jobs.StepSkipped, steps["delta"].State)
	events := w.events("r1", jobs.OperationCancelledEv)
	inOrder(t, events)
	require.Contains(t, typesOf(events), "cluster.deleted")
	require.Less(t, events[len(events)-1].Data.Percent, 100)
}

// testCancelElsewhere cancels an operation whose step runs on another worker
// than the one that takes the request in: the heartbeat tells it.
func testCancelElsewhere(t *testing.T, w *world) {
	g := newGate()
	w.on("gamma", g.step)
	quick := func(o *Options) { o.Timing.Heartbeat = 200 * time.Millisecond }
	one := w.start("one", quick, func(o *Options) { o.Concurrency = 1 })
	w.until("one is the foreman", func() bool { return ready(one.Worker, dependencyDatabase) })
	w.on("alpha", func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
		return g.step(ctx, a) // keeps worker one busy
	})
	w.send(jobs.ClusterCreate, "busy", "busy", stages("alpha"))
	g.wait(t)
	w.start("two", quick)
	w.send(jobs.ClusterCreate, "r1", "orders", stages("beta", "gamma"))
	g.wait(t)
	require.Equal(t, "two", w.steps("r1")["gamma"].Owner)
	w.send(jobs.OperationCancel, "c1", "", jobs.ControlSpec{OperationID: w.operation("r1").ID})
	w.ends("r1", jobs.OperationCancelled)
	close(g.open)
	w.ends("busy", jobs.OperationSucceeded)
}

func testCancelTooLate(t *testing.T, w *world) {
	g := newGate()
	w.on("beta", g.step)
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	w.ends("r1", jobs.OperationSucceeded)
	w.send(jobs.ClusterDelete, "r2", "orders", stages("beta"))
	g.wait(t)
	w.send(jobs.OperationCancel, "c1", "", jobs.ControlSpec{OperationID: w.operation("r1").ID})
	w.send(jobs.OperationCancel, "c2", "", jobs.ControlSpec{OperationID: w.operation("r2").ID})
	w.send(jobs.OperationReplay, "c3", "", jobs.ControlSpec{OperationID: w.operation("r1").ID})
	w.send(jobs.OperationCancel, "c4", "", jobs.ControlSpec{OperationID: "0198c1de-0000-7000-8000-000000000000"})
	w.send(jobs.OperationCancel, "c5", "", jobs.ControlSpec{})
	for id, code := range map[string]jobs.Code{
		"c1": jobs.CodeTooLate, "c2": jobs.CodeTooLate, "c3": jobs.CodeNotFailed, "c4": jobs.CodeUnknownOperation, "c5": jobs.CodeInvalid,
	} {
		events := w.events(id, jobs.OperationRejected)
		require.Equal(t, code, events[len(events)-1].Data.Error.Code, id)
	}
	close(g.open)
	w.ends("r2", jobs.OperationSucceeded)
}

func testReplay(t *testing.T, w *world) {
	w.on("beta", broken)
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha", "beta", "gamma"))
	failed := w.ends("r1", jobs.OperationFailed)
	require.Equal(t, jobs.ClusterFailed, w.cluster("r1").State)
	d := w.letters(1)[0]
	whole, err := w.store.DeadLetter(context.Background(), tenant, d.ID)
	require.NoError(t, err)
	require.Equal(t, request(jobs.ClusterCreate, "r1", "orders", stages("alpha", "beta", "gamma")), whole.Original)
	require.Equal(t, jobs.RequestSubject(tenant, jobs.ClusterCreate), whole.Subject)
	w.on("beta", nil)
	w.send(jobs.OperationReplay, "c1", "", jobs.ControlSpec{DeadLetterID: d.ID})
	op := w.ends("r1", jobs.OperationSucceeded)
	require.Equal(t, 1, op.Replays)
	require.Nil(t, op.Error)
	require.GreaterOrEqual(t, op.Percent, failed.Percent)
	require.Equal(t, []string{"alpha", "beta", "beta", "gamma"}, w.did(), "what succeeded stays")
	require.Equal(t, jobs.ClusterReady, w.cluster("r1").State)
	inOrder(t, w.events("r1", jobs.OperationSucceededEv))
	w.letters(0)
}

func testDiscard(t *testing.T, w *world) {
	w.on("gamma", broken)
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha", "beta", "gamma", "delta"))
	w.ends("r1", jobs.OperationFailed)
	w.send(jobs.OperationDiscard, "c1", "", jobs.ControlSpec{OperationID: w.operation("r1").ID, Reason: "not needed"})
	op := w.ends("r1", jobs.OperationCancelled)
	require.Equal(t, jobs.UndoDiscard, op.Undo)
	require.Contains(t, op.Error.Message, "not needed")
	require.Equal(t, []string{"alpha", "beta", "gamma", "undo gamma", "undo beta", "undo alpha"}, w.did())
	require.Equal(t, jobs.ClusterDeleted, w.cluster("r1").State)
	w.letters(0)
}

func testRollback(t *testing.T, w *world) {
	w.on("gamma", broken)
	w.start("one")
	data := stages("alpha", "beta", "gamma")
	data.OnFailure = "rollback"
	w.send(jobs.ClusterCreate, "r1", "orders", data)
	op := w.ends("r1", jobs.OperationFailed)
	require.Equal(t, jobs.UndoRollback, op.Undo)
	require.Contains(t, op.Error.Message, "broken")
	require.Equal(t, []string{"alpha", "beta", "gamma", "undo gamma", "undo beta", "undo alpha"}, w.did())
	require.Equal(t, jobs.ClusterDeleted, w.cluster("r1").State)
	d := w.letters(1)[0]
	require.Equal(t, "gamma", d.Step.Name)
	require.Contains(t, d.Advice, "rolled back")
	// The replay begins from the beginning.
	w.on("gamma", nil)
	w.send(jobs.OperationReplay, "c1", "", jobs.ControlSpec{OperationID: op.ID})
	op = w.ends("r1", jobs.OperationSucceeded)
	require.Empty(t, op.Undo)
	require.Equal(t, []string{"alpha", "beta", "gamma"}, w.did()[6:])
	require.Equal(t, jobs.ClusterReady, w.cluster("r1").State)
	inOrder(t, w.events("r1", jobs.OperationSucceededEv))
}

func testUndoFails(t *testing.T, w *world) {
	w.on("beta", broken)
	w.on("undo alpha", broken)
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha", "beta"))
	w.ends("r1", jobs.OperationFailed)
	id := w.operation("r1").ID
	w.send(jobs.OperationDiscard, "c1", "", jobs.ControlSpec{OperationID: id})
	w.until("the undo fails", func() bool {
		op := w.operation("r1")
		return op.State == jobs.OperationFailed && op.Undo == jobs.UndoDiscard
	})
	require.Contains(t, w.letters(1)[0].Advice, "go on removing")
	w.on("undo alpha", nil)
	w.send(jobs.OperationReplay, "c2", "", jobs.ControlSpec{OperationID: id})
	w.ends("r1", jobs.OperationCancelled)
	require.Equal(t, []string{"alpha", "beta", "undo beta", "undo alpha", "undo alpha"}, w.did())
	require.Equal(t, jobs.ClusterDeleted, w.cluster("r1").State)
	w.letters(0)
}
