package worker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// engineTests are driven against the store in memory and against Postgres.
var engineTests = map[string]func(t *testing.T, w *world){
	"succeeds":          testSucceeds,
	"retries":           testRetries,
	"snoozes":           testSnoozes,
	"stalls":            testStalls,
	"goes in circles":   testGoesInCircles,
	"progress":          testProgress,
	"panics":            testPanics,
	"permanent":         testPermanent,
	"ignores its end":   testIgnoresItsEnd,
	"unknown step":      testUnknownStep,
	"overdue":           testOverdue,
	"cancel queued":     testCancelQueued,
	"cancel running":    testCancelRunning,
	"cancel elsewhere":  testCancelElsewhere,
	"cancel too late":   testCancelTooLate,
	"replay":            testReplay,
	"discard":           testDiscard,
	"rollback":          testRollback,
	"undo fails":        testUndoFails,
	"order per cluster": testOrderPerCluster,
	"failing sibling":   testFailingSibling,
	"duplicates":        testDuplicates,
	"conflict":          testConflict,
	"poison":            testPoison,
	"revive":            testRevive,
	"in order":          testInOrder,
	"start refused":     testStartRefused,
	"share":             testShare,
	"vanish":            testVanish,
	"drain":             testDrain,
	"drain finishes":    testDrainFinishes,
	"upgrade":           testUpgrade,
	"nats restart":      testNATSRestart,
	"store away":        testStoreAway,
	"away is free":      testAwaySpendsNothing,
}

func TestEngine(t *testing.T) {
	for name, test := range engineTests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, newMemStore()))
		})
	}
}

func testSucceeds(t *testing.T, w *world) {
	w.on("gamma", func(_ context.Context, a *jobs.Attempt) (jobs.Result, error) {
		var out struct{ By string }
		found, err := a.Output(jobs.Step{Name: "beta"}, &out)
		if err != nil || !found || out.By != "beta" {
			return jobs.Result{}, jobs.Permanent(fmt.Errorf("output of beta: %v %v: %w", out, found, err))
		}
		return jobs.Result{
			Cluster: &jobs.ClusterChange{State: jobs.ClusterReady, Endpoints: &jobs.Endpoints{Primary: "127.0.0.1:5000"}},
			Facts:   []jobs.Fact{{Type: jobs.ClusterReadyEv, Message: "ready"}},
		}, nil
	})
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha beta", "omega", "gamma"))
	op := w.ends("r1", jobs.OperationSucceeded)
	require.Equal(t, 100, op.Percent)
	require.NotNil(t, op.FinishedAt)
	did := w.did()
	require.Len(t, did, 4)
	require.ElementsMatch(t, []string{"alpha", "beta"}, did[:2])
	require.Equal(t, []string{"omega", "gamma"}, did[2:])
	require.Equal(t, jobs.ClusterReady, w.cluster("r1").State)
	require.Equal(t, "127.0.0.1:5000", w.cluster("r1").Endpoints.Primary)

	events := w.events("r1", jobs.OperationSucceededEv)
	inOrder(t, events)
	types := typesOf(events)
	require.Equal(t, "operation.accepted", types[0])
	require.Equal(t, "operation.started", types[1])
	require.Contains(t, types, "step.started omega")
	require.Contains(t, types, "step.succeeded gamma")
	require.Equal(t, []string{"cluster.ready", "operation.succeeded"}, types[len(types)-2:])
	require.Equal(t, 100, events[len(events)-1].Data.Percent)
	require.Empty(t, w.letters(0))
}

func testRetries(t *testing.T, w *world) {
	w.on("alpha", func(_ context.Context, a *jobs.Attempt) (jobs.Result, error) {
		if a.Number < 3 {
			return jobs.Result{}, fmt.Errorf("not yet (%d)", a.Number)
		}
		return jobs.Result{}, nil
	})
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	w.ends("r1", jobs.OperationSucceeded)
	st := w.steps("r1")["alpha"]
	require.Equal(t, 3, st.Attempt)
	require.Len(t, st.History, 2)
	require.Contains(t, st.History[1].Error, "not yet (2)")
	types := typesOf(w.events("r1", jobs.OperationSucceededEv))
	require.Contains(t, types, "step.retrying alpha")
}

func testSnoozes(t *testing.T, w *world) {
	w.on("alpha", func(_ context.Context, a *jobs.Attempt) (jobs.Result, error) {
		if a.Number <= 6 { // more often than the policy has attempts
			return jobs.Result{}, jobs.Snooze(time.Millisecond, fmt.Sprintf("look %d", a.Number))
		}
		return jobs.Result{}, nil
	})
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	w.ends("r1", jobs.OperationSucceeded)
	st := w.steps("r1")["alpha"]
	require.Equal(t, 0, st.Failures)
	require.Equal(t, "look 6", st.Observation.Message)
}

func testStalls(t *testing.T, w *world) {
	w.timeout = 3 * time.Second
	w.retry.Attempts = 2
	w.on("alpha", func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
		// Progress moves the deadline: this goes on for longer than the timeout.
		for i := range 15 {
			a.Progress(jobs.Observation{Message: fmt.Sprintf("%d of 15", i+1), Done: int64(i + 1), Total: 15})
			pause(ctx, 300*time.Millisecond)
			if ctx.Err() != nil {
				return jobs.Result{}, jobs.Permanent(errors.New("ended although it made progress"))
			}
		}
		<-ctx.Done()
		return jobs.Result{}, ctx.Err()
	})
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha", "beta"))
	op := w.ends("r1", jobs.OperationFailed)
	require.Equal(t, jobs.CodeStepTimeout, op.Error.Code)
	require.Contains(t, op.Error.Message, "15 of 15")
	require.Equal(t, jobs.ClusterFailed, w.cluster("r1").State)
	require.Equal(t, jobs.StepPending, w.steps("r1")["beta"].State)
	d := w.letters(1)[0]
	require.Equal(t, op.ID, d.OperationID)
	require.Equal(t, "alpha", d.Step.Name)
	require.Len(t, d.Attempts, 2)
	require.Equal(t, "15 of 15", d.Observation.Message)
	require.Contains(t, d.Advice, "dead replay "+op.ID)
	inOrder(t, w.events("r1", jobs.OperationFailedEv))
}

// testGoesInCircles has a step report something else all the time and come no
// further, as a copy that fails again and again: it is ended all the same.
func testGoesInCircles(t *testing.T, w *world) {
	w.timeout = time.Second
	w.retry.Attempts = 1
	w.on("alpha", func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
		for i := 0; ctx.Err() == nil; i++ {
			a.Progress(jobs.Observation{Message: fmt.Sprintf("copied %d of 10", i%5), Done: int64(i % 5), Total: 10, Unit: "bytes"})
			a.Progress(jobs.Observation{Message: "the copy failed"})
			pause(ctx, 50*time.Millisecond)
		}
		return jobs.Result{}, ctx.Err()
	})
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	op := w.ends("r1", jobs.OperationFailed)
	require.Equal(t, jobs.CodeStepTimeout, op.Error.Code)
	require.Contains(t, op.Error.Message, "no progress for 1s; last seen: ")
}

func testProgress(t *testing.T, w *world) {
	g := newGate()
	w.on("alpha", func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
		for i := range 200 {
			a.Progress(jobs.Observation{Message: fmt.Sprintf("part %d", i), Done: int64(i), Total: 200, Unit: "parts"})
		}
		return g.step(ctx, a)
	})
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha", "beta"))
	g.wait(t)
	w.until("the last observation is stored", func() bool {
		o := w.steps("r1")["alpha"].Observation
		return o != nil && o.Message == "part 199"
	})
	require.Equal(t, 49, w.operation("r1").Percent)
	close(g.open)
	w.ends("r1", jobs.OperationSucceeded)
	told := 0
	for _, e := range w.events("r1", jobs.OperationSucceededEv) {
		if e.Type == jobs.EventTypeName(jobs.StepProgressed) {
			told++
		}
	}
	require.NotZero(t, told)
	require.Less(t, told, 20, "progress must be throttled")
}

func testPanics(t *testing.T, w *world) {
	w.on("alpha", func(context.Context, *jobs.Attempt) (jobs.Result, error) { panic("boom") })
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	op := w.ends("r1", jobs.OperationFailed)
	require.Equal(t, jobs.CodeInternal, op.Error.Code)
	require.Equal(t, 1, w.steps("r1")["alpha"].Attempt)
	// The worker goes on.
	w.send(jobs.ClusterCreate, "r2", "other", stages("beta"))
	w.ends("r2", jobs.OperationSucceeded)
}

func testPermanent(t *testing.T, w *world) {
	w.on("alpha", func(context.Context, *jobs.Attempt) (jobs.Result, error) {
		return jobs.Result{}, jobs.Permanent(&jobs.Error{Code: jobs.CodePortTaken, Message: "port 5432\x00 is in use \xff"})
	})
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	op := w.ends("r1", jobs.OperationFailed)
	require.Equal(t, jobs.CodePortTaken, op.Error.Code)
	require.Equal(t, 1, w.steps("r1")["alpha"].Attempt)
	require.Equal(t, []string{"operation.accepted", "operation.started", "step.started alpha", "step.failed alpha", "operation.failed alpha"},
		typesOf(w.events("r1", jobs.OperationFailedEv)))
}

// testIgnoresItsEnd has a step that does not return when its context ends: it
// must not hold its operation.
func testIgnoresItsEnd(t *testing.T, w *world) {
	w.timeout, w.retry.Attempts = 50*time.Millisecond, 1
	open := make(chan struct{})
	w.on("alpha", func(context.Context, *jobs.Attempt) (jobs.Result, error) {
		<-open
		return jobs.Result{}, nil
	})
	w.start("one", func(o *Options) { o.Timing.Abandon = 50 * time.Millisecond })
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	op := w.ends("r1", jobs.OperationFailed)
	require.Equal(t, jobs.CodeStepTimeout, op.Error.Code)
	close(open)
}

// testUnknownStep leaves steps to the workers that know them.
func testUnknownStep(t *testing.T, w *world) {
	newer := w.start("new")
	w.until("the new one is the foreman", func() bool { return ready(newer.Worker, dependencyDatabase) })
	w.start("old", func(o *Options) { o.Steps = o.Steps[:1] })
	w.send(jobs.ClusterCreate, "r1", "orders", stages("beta", "gamma"))
	w.ends("r1", jobs.OperationSucceeded)
	for _, st := range w.steps("r1") {
		require.Equal(t, "new", st.Owner)
	}
}

func testOverdue(t *testing.T, w *world) {
	g := newGate()
	w.on("alpha", g.step)
	w.start("one", func(o *Options) { o.Timing.Sweep = 50 * time.Millisecond })
	data := stages("alpha", "beta")
	data.TimeoutSeconds = 5
	w.send(jobs.ClusterCreate, "r1", "orders", data)
	g.wait(t)
	op := w.ends("r1", jobs.OperationFailed)
	require.Equal(t, jobs.CodeTimeout, op.Error.Code)
	require.Equal(t, "alpha", w.letters(1)[0].Step.Name)
}

func testOrderPerCluster(t *testing.T, w *world) {
	g := newGate()
	w.on("alpha", g.step)
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha"))
	g.wait(t)
	w.send(jobs.ClusterDelete, "r2", "orders", stages("beta"))
	w.send(jobs.ClusterDelete, "r3", "orders", stages("beta"))
	w.send(jobs.ClusterCreate, "r4", "other", stages("gamma"))
	w.ends("r4", jobs.OperationSucceeded) // another cluster does not wait
	require.Equal(t, jobs.OperationQueued, w.operation("r2").State)
	close(g.open)
	w.ends("r2", jobs.OperationSucceeded)
	require.Equal(t, jobs.ClusterDeleted, w.cluster("r1").State)
	w.ends("r3", jobs.OperationSucceeded) // nothing was left to delete
	require.Equal(t, []string{"alpha", "gamma", "beta"}, w.did())
}

func testFailingSibling(t *testing.T, w *world) {
	g := newGate()
	w.on("alpha", g.step)
	w.on("beta", func(context.Context, *jobs.Attempt) (jobs.Result, error) {
		g.wait(t)
		return jobs.Result{}, jobs.Permanent(errors.New("broken"))
	})
	w.start("one")
	w.send(jobs.ClusterCreate, "r1", "orders", stages("alpha beta", "gamma"))
	w.ends("r1", jobs.OperationFailed) // although alpha would run for ever
	require.Equal(t, jobs.StepPending, w.steps("r1")["alpha"].State)
	close(g.open)
	w.on("beta", nil)
	w.send(jobs.OperationReplay, "c1", "", jobs.ControlSpec{OperationID: w.operation("r1").ID})
	w.ends("r1", jobs.OperationSucceeded)
}
