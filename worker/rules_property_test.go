package worker

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// machine drives one operation through random outcomes, as the store and the
// workers would, and checks after each what must always hold.
type machine struct {
	r       *rules
	s       *jobs.Snapshot
	dead    int   // open dead letters
	ending  int64 // the step whose attempt ends now
	percent int
}

func newMachine(t *rapid.T) *machine {
	w := newScript()
	r, err := newRules(Options{Kinds: testKinds(), Steps: w.types()})
	require.NoError(t, err)
	names := []string{"alpha", "beta", "gamma", "delta", "omega"}
	data := spec{OnFailure: rapid.SampledFrom([]string{"keep", "rollback"}).Draw(t, "on_failure")}
	kind := rapid.SampledFrom([]jobs.KindName{jobs.ClusterCreate, jobs.ClusterCreate, jobs.ClusterDelete}).Draw(t, "kind")
	s := &jobs.Snapshot{Now: time.Unix(1000, 0), Cluster: &jobs.Cluster{Name: "orders", State: jobs.ClusterCreating}}
	if kind == jobs.ClusterDelete {
		s.Cluster.State = jobs.ClusterReady
	}
	op := &jobs.Operation{ID: "op", Kind: kind, Cluster: "orders", State: jobs.OperationQueued}
	for i := range rapid.IntRange(1, 4).Draw(t, "stages") {
		op.Stages = append(op.Stages, fmt.Sprintf("stage %d", i+1))
		for range rapid.IntRange(0, 3).Draw(t, "steps") {
			s.Steps = append(s.Steps, &jobs.StepRecord{ID: int64(len(s.Steps) + 1), Stage: i, State: jobs.StepPending, Weight: 1,
				Step: jobs.Step{Name: rapid.SampledFrom(names).Draw(t, "step")}})
		}
	}
	op.Spec, err = json.Marshal(data)
	require.NoError(t, err)
	s.Operation = op
	return &machine{r: r, s: s}
}

// apply runs a rule on a copy, as a transaction does, and keeps what it left
// unless it refused.
func (m *machine) apply(t *rapid.T, rule Rule) error {
	op, c := *m.s.Operation, *m.s.Cluster
	next := &jobs.Snapshot{Now: m.s.Now.Add(time.Second), Operation: &op, Cluster: &c}
	for _, st := range m.s.Steps {
		copied := *st
		next.Steps = append(next.Steps, &copied)
	}
	if err := rule(next); err != nil {
		return err
	}
	before := m.s
	m.s = next
	m.check(t, before)
	return nil
}

func (m *machine) check(t *rapid.T, before *jobs.Snapshot) {
	op := m.s.Operation
	require.GreaterOrEqual(t, op.Percent, m.percent, "percent fell")
	m.percent = op.Percent
	require.Equal(t, op.State.Final(), op.FinishedAt != nil, "finished exactly in final states")
	require.Equal(t, op.State == jobs.OperationSucceeded, op.Percent == 100 && op.State.Final(), "100 exactly for success")
	m.checkSteps(t, before)
	m.checkEnd(t, before)
}

func (m *machine) checkSteps(t *rapid.T, before *jobs.Snapshot) {
	op := m.s.Operation
	open := -1
	for i, st := range m.s.Steps {
		was := before.Steps[i]
		require.GreaterOrEqual(t, st.Attempt, was.Attempt)
		if was.State == jobs.StepSucceeded && st.State != jobs.StepSucceeded {
			require.True(t, st.Undoing, "step %s was completed and only an undo may touch it", st)
		}
		if was.State == jobs.StepRunning && st.ID != m.ending {
			require.Equal(t, jobs.StepRunning, st.State, "only its own end ends an attempt")
			require.Equal(t, was.Undoing, st.Undoing)
		}
		if st.State == jobs.StepReady || st.State == jobs.StepRunning {
			require.True(t, op.State.Active(), "a ready step in an operation that is %s", op.State)
			require.True(t, open == -1 || open == st.Stage, "two stages are open at once")
			open = st.Stage
		}
		if st.State == jobs.StepUndone && was.State != jobs.StepUndone && m.r.steps[st.Name].Undo != nil {
			for _, other := range m.s.Steps {
				if other.Stage > st.Stage {
					require.Contains(t, []jobs.StepState{jobs.StepUndone, jobs.StepSkipped}, other.State, "undone before a later stage")
				}
			}
		}
	}
	if op.State == jobs.OperationRunning {
		for _, st := range m.s.Steps {
			if open >= 0 && st.Stage < open {
				require.Contains(t, []jobs.StepState{jobs.StepSucceeded}, st.State, "a stage began before the one before it was done")
			}
		}
	}
	require.True(t, !op.State.Active() || open >= 0, "an active operation in which nothing can happen")
}

func (m *machine) checkEnd(t *rapid.T, before *jobs.Snapshot) {
	op := m.s.Operation
	if m.s.Settle != "" {
		m.dead--
	}
	if m.s.Dead != nil {
		m.dead++
		require.NotEmpty(t, m.s.Dead.Reason)
		require.NotEmpty(t, m.s.Dead.Advice)
	}
	require.Equal(t, op.State == jobs.OperationFailed, m.dead == 1, "failed exactly when a dead letter is open: %s", op.State)
	ends := 0
	for _, e := range m.s.Events {
		if slices.Contains([]jobs.EventType{jobs.OperationSucceededEv, jobs.OperationFailedEv, jobs.OperationCancelledEv}, e.Type) {
			ends++
		}
	}
	if op.State.Final() && !before.Operation.State.Final() || op.State == jobs.OperationCancelled && before.Operation.State == jobs.OperationFailed {
		require.Equal(t, 1, ends, "the end is told once")
	} else {
		require.Zero(t, ends)
	}
	allUndone := !slices.ContainsFunc(m.s.Steps, func(st *jobs.StepRecord) bool {
		return st.Attempt > 0 && st.State != jobs.StepUndone && st.State != jobs.StepSkipped
	})
	switch {
	case op.State == jobs.OperationSucceeded:
		for _, st := range m.s.Steps {
			require.Equal(t, jobs.StepSucceeded, st.State)
		}
	case op.State == jobs.OperationCancelled, op.State == jobs.OperationFailed && rolledBack(m.s):
		require.True(t, allUndone, "cancelled although something is left")
		require.True(t, op.Kind != jobs.ClusterCreate || m.s.Cluster.State == jobs.ClusterDeleted)
	}
}

// claim is what the store does: ready becomes running, with the next attempt.
func (m *machine) claim(t *rapid.T) {
	var ready []*jobs.StepRecord
	for _, st := range m.s.Steps {
		if st.State == jobs.StepReady {
			ready = append(ready, st)
		}
	}
	if len(ready) == 0 {
		t.Skip("nothing to claim")
	}
	st := rapid.SampledFrom(ready).Draw(t, "claim")
	st.State, st.Owner = jobs.StepRunning, "w"
	st.Attempt++
}

func (m *machine) running(t *rapid.T) *jobs.StepRecord {
	var running []*jobs.StepRecord
	for _, st := range m.s.Steps {
		if st.State == jobs.StepRunning {
			running = append(running, st)
		}
	}
	if len(running) == 0 {
		t.Skip("nothing runs")
	}
	return rapid.SampledFrom(running).Draw(t, "running")
}

// end ends a running attempt at random.
func (m *machine) end(t *rapid.T) {
	st := m.running(t)
	e := &jobs.Error{Code: jobs.CodeStepFailed, Message: "broken"}
	o := rapid.SampledFrom([]outcome{
		{ending: endSucceeded}, {ending: endSucceeded}, {ending: endSucceeded}, {ending: endFailed, err: e},
		{ending: endFailed, err: e, final: true}, {ending: endFailed, err: e, free: true, delay: time.Second}, {ending: endSnoozed, delay: time.Second}, {ending: endInterrupted},
	}).Draw(t, "outcome")
	lease := jobs.Lease{StepID: st.ID, Attempt: st.Attempt}
	// The result of an older attempt, or the same again, counts for nothing.
	old := jobs.Lease{StepID: st.ID, Attempt: st.Attempt - 1}
	require.ErrorIs(t, m.apply(t, m.r.finish(old, o)), jobs.ErrLeaseLost)
	require.NoError(t, m.finish(t, lease, o))
	require.ErrorIs(t, m.apply(t, m.r.finish(lease, o)), jobs.ErrLeaseLost)
}

func (m *machine) finish(t *rapid.T, lease jobs.Lease, o outcome) error {
	m.ending = lease.StepID
	defer func() { m.ending = 0 }()
	return m.apply(t, m.r.finish(lease, o))
}

func (m *machine) progress(t *rapid.T) {
	st := m.running(t)
	o := &jobs.Observation{Message: "on the way", Done: rapid.Int64Range(0, 12).Draw(t, "done"), Total: 10}
	err := m.apply(t, m.r.progress(jobs.Lease{StepID: st.ID, Attempt: st.Attempt}, true, o))
	if err != nil {
		require.ErrorIs(t, err, errStopped)
	}
}

// control tries a control request; a refusal is fine and changes nothing.
func (m *machine) control(kind jobs.KindName) func(*rapid.T) {
	return func(t *rapid.T) {
		err := m.apply(t, m.r.control(kind, jobs.ControlSpec{OperationID: "op"}))
		var refused *jobs.Error
		if err != nil {
			require.ErrorAs(t, err, &refused)
		}
	}
}

func (m *machine) overdue(t *rapid.T) {
	late := m.s.Now.Add(-time.Hour)
	require.NoError(t, m.apply(t, func(s *jobs.Snapshot) error {
		if s.Operation.State == jobs.OperationRunning {
			s.Operation.Deadline = &late
		}
		return m.r.overdue(s)
	}))
}

// TestRulesAlwaysHold tries random lives of operations.
func TestRulesAlwaysHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t)
		start := func(t *rapid.T) { require.NoError(t, m.apply(t, m.r.start)) }
		t.Repeat(map[string]func(*rapid.T){
			"start": start, "claim": m.claim, "claim too": m.claim, "end": m.end, "end too": m.end, "progress": m.progress,
			"cancel": m.control(jobs.OperationCancel), "replay": m.control(jobs.OperationReplay),
			"discard": m.control(jobs.OperationDiscard), "overdue": m.overdue,
		})
		// From wherever it is, an operation that meets no more trouble ends.
		start(t)
		for range 100 {
			for _, st := range m.s.Steps {
				if st.State == jobs.StepReady {
					st.State, st.Owner = jobs.StepRunning, "w"
					st.Attempt++
				}
				if st.State == jobs.StepRunning {
					lease := jobs.Lease{StepID: st.ID, Attempt: st.Attempt}
					require.NoError(t, m.finish(t, lease, outcome{ending: endSucceeded}))
					break
				}
			}
		}
		require.True(t, m.s.Operation.State.Final(), "it never ends: %s", m.s.Operation.State)
	})
}
