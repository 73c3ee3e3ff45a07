package worker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func testRules(t *testing.T) *rules {
	t.Helper()
	r, err := newRules(Options{Kinds: testKinds(), Steps: newScript().types()})
	require.NoError(t, err)
	return r
}

// snapshot is a running cluster.create with the steps given, one a stage, each
// in its state.
func snapshot(kind jobs.KindName, states ...jobs.StepState) *jobs.Snapshot {
	started := time.Unix(900, 0)
	s := &jobs.Snapshot{
		Now:       time.Unix(1000, 0),
		Operation: &jobs.Operation{ID: "op", Kind: kind, Cluster: "orders", State: jobs.OperationRunning, StartedAt: &started},
		Cluster:   &jobs.Cluster{Name: "orders", State: jobs.ClusterCreating},
	}
	for i, state := range states {
		st := &jobs.StepRecord{ID: int64(i + 1), Stage: i, State: state, Weight: 1, Step: jobs.Step{Name: "alpha", Node: "orders-1"}}
		if state != jobs.StepPending {
			st.Attempt = 1
		}
		s.Steps = append(s.Steps, st)
		s.Operation.Stages = append(s.Operation.Stages, "stage")
	}
	return s
}

func TestStartFindsTheClusterDeleted(t *testing.T) {
	for _, c := range []struct {
		kind jobs.KindName
		ends jobs.OperationState
	}{{jobs.ClusterDelete, jobs.OperationSucceeded}, {jobs.ClusterCreate, jobs.OperationCancelled}, {"node.add", jobs.OperationCancelled}} {
		s := snapshot(c.kind, jobs.StepPending)
		s.Operation.State, s.Operation.StartedAt = jobs.OperationQueued, nil
		s.Cluster.State = jobs.ClusterDeleted
		require.NoError(t, testRules(t).start(s))
		require.Equal(t, c.ends, s.Operation.State, c.kind)
		require.NotNil(t, s.Operation.FinishedAt)
		require.Nil(t, s.Dead, "nobody is needed")
		require.Equal(t, jobs.StepSkipped, s.Steps[0].State)
		require.Len(t, s.Events, 1)
	}
}

func TestPercentCountsWeightsAndObservations(t *testing.T) {
	s := snapshot(jobs.ClusterCreate, jobs.StepSucceeded, jobs.StepRunning, jobs.StepPending)
	s.Steps[1].Weight = 6
	s.Steps[2].Weight = 3
	s.Steps[1].Observation = &jobs.Observation{Done: 50, Total: 100}
	r := testRules(t)
	r.count(s)
	require.Equal(t, 40, s.Operation.Percent)
	s.Steps[1].Observation = &jobs.Observation{Done: 5, Total: 100}
	r.count(s)
	require.Equal(t, 40, s.Operation.Percent, "it never falls")
	s.Steps[2].State = jobs.StepSucceeded
	s.Steps[1].Observation = &jobs.Observation{Done: 200, Total: 100}
	r.count(s)
	require.Equal(t, 99, s.Operation.Percent, "100 is for success alone")
}

func TestLeftBehindStepsWindDown(t *testing.T) {
	r := testRules(t)
	lease := jobs.Lease{StepID: 1, Attempt: 1}
	// A step that ran when the undoing began, left behind by its worker.
	s := snapshot(jobs.ClusterCreate, jobs.StepRunning)
	s.Operation.State, s.Operation.Undo = jobs.OperationUndoing, jobs.UndoCancel
	require.NoError(t, r.finish(lease, outcome{ending: endInterrupted})(s))
	require.Equal(t, jobs.StepReady, s.Steps[0].State)
	require.True(t, s.Steps[0].Undoing)
	// One given back by a drain meanwhile is undone too, not run.
	s = snapshot(jobs.ClusterCreate, jobs.StepReady)
	s.Operation.State, s.Operation.Undo = jobs.OperationUndoing, jobs.UndoCancel
	r.settle(s)
	require.True(t, s.Steps[0].Undoing)
	// The last that runs of a failing operation ends it.
	s = snapshot(jobs.ClusterCreate, jobs.StepRunning)
	s.Operation.Error = &jobs.Error{Code: jobs.CodeTimeout, Message: "too long"}
	require.NoError(t, r.finish(lease, outcome{ending: endInterrupted})(s))
	require.Equal(t, jobs.OperationFailed, s.Operation.State)
	require.Equal(t, jobs.StepPending, s.Steps[0].State)
	require.Contains(t, s.Dead.Reason, "do alpha orders-1")
}

func TestAReplayGivesAllOpenStepsTheirAttemptsAnew(t *testing.T) {
	r := testRules(t)
	for name, states := range map[string][]jobs.StepState{
		"one failed, one was given up with it": {jobs.StepSucceeded, jobs.StepFailed, jobs.StepPending},
		"the operation's time was up":          {jobs.StepSucceeded, jobs.StepPending, jobs.StepPending},
	} {
		s := snapshot(jobs.ClusterCreate, states...)
		s.Operation.State = jobs.OperationFailed
		for _, st := range s.Steps[1:] {
			st.Failures, st.Error = 7, &jobs.Error{Code: jobs.CodeUnavailable}
		}
		require.NoError(t, r.replay(s), name)
		require.Equal(t, jobs.StepSucceeded, s.Steps[0].State, name)
		for _, st := range s.Steps[1:] {
			require.Equal(t, jobs.StepPending, st.State, name)
			require.Zero(t, st.Failures, name)
			require.Nil(t, st.Error, name)
		}
	}
}

func TestReplayIsRefusedWhileTheClusterGoes(t *testing.T) {
	r := testRules(t)
	for state, code := range map[jobs.ClusterState]jobs.Code{
		jobs.ClusterDeleting: jobs.CodeClusterBusy, jobs.ClusterDeleted: jobs.CodeUnknownCluster,
	} {
		s := snapshot(jobs.ClusterCreate, jobs.StepFailed)
		s.Operation.State, s.Cluster.State = jobs.OperationFailed, state
		var e *jobs.Error
		require.ErrorAs(t, r.replay(s), &e)
		require.Equal(t, code, e.Code)
		require.False(t, e.Retryable, "the same request again would be known by its id")
		require.Equal(t, jobs.OperationFailed, s.Operation.State)
	}
	// A discard has nothing to do where a delete was here before.
	s := snapshot(jobs.ClusterCreate, jobs.StepFailed)
	s.Operation.State, s.Cluster.State = jobs.OperationFailed, jobs.ClusterDeleted
	require.NoError(t, r.discard("")(s))
	require.Equal(t, jobs.OperationCancelled, s.Operation.State)
	require.Equal(t, jobs.DeadDiscarded, s.Settle)
}

func TestSentences(t *testing.T) {
	r := testRules(t)
	s := snapshot(jobs.ClusterCreate, jobs.StepRunning, jobs.StepPending)
	lease := jobs.Lease{StepID: 1, Attempt: 1}
	fail := outcome{ending: endFailed, announce: true, delay: 1500 * time.Millisecond, err: &jobs.Error{Code: jobs.CodeUnavailable, Message: "Docker does not answer"}}
	require.NoError(t, r.finish(lease, fail)(s))
	require.Equal(t, "do alpha orders-1", s.Events[0].Message)
	require.Equal(t, "do alpha orders-1 is tried again in 1.5s: Docker does not answer", s.Events[1].Message)
	require.Equal(t, s.Now.Add(1500*time.Millisecond), s.Steps[0].ReadyAt)
	s.Steps[0].State, s.Steps[0].Attempt = jobs.StepRunning, 2
	lease.Attempt, fail.final, s.Events = 2, true, nil
	require.NoError(t, r.finish(lease, fail)(s))
	last := s.Events[len(s.Events)-1]
	require.Equal(t, `create a cluster "orders" failed at "do alpha orders-1" (stage 1 of 2): Docker does not answer. `+s.Dead.Advice, last.Message)
	require.Equal(t, 2, len(s.Dead.Attempts))
}

// TestUndoingOnAClusterLeavesTheCluster: an operation that did not make the
// cluster leaves its record alone, however it ends, so that the keeper goes on.
func TestUndoingOnAClusterLeavesTheCluster(t *testing.T) {
	r := testRules(t)
	for name, turn := range map[string]func(*testing.T, *jobs.Snapshot){
		"cancelled": func(t *testing.T, s *jobs.Snapshot) {
			t.Helper()
			require.NoError(t, r.cancel("")(s), "its kind is revocable")
		},
		"discarded": func(t *testing.T, s *jobs.Snapshot) {
			t.Helper()
			s.Operation.Error = &jobs.Error{Code: jobs.CodeStepFailed, Message: "so"}
			s.Steps[1].State = jobs.StepFailed
			r.settle(s)
			require.Equal(t, jobs.OperationFailed, s.Operation.State)
			require.Equal(t, jobs.ClusterReady, s.Cluster.State, "a failed one, too")
			require.Contains(t, s.Dead.Advice, "does not remove the cluster")
			require.NoError(t, r.discard("")(s))
			require.NoError(t, r.start(s))
		},
	} {
		s := snapshot(jobs.ClusterRotate, jobs.StepSucceeded, jobs.StepReady, jobs.StepPending)
		s.Cluster.State = jobs.ClusterReady
		turn(t, s)
		require.Equal(t, jobs.OperationUndoing, s.Operation.State, name)
		for s.Operation.State == jobs.OperationUndoing {
			for _, st := range s.Steps {
				if st.State == jobs.StepReady {
					require.True(t, st.Undoing)
					st.State = jobs.StepRunning
					st.Attempt++
					require.NoError(t, r.finish(jobs.Lease{StepID: st.ID, Attempt: st.Attempt}, outcome{ending: endSucceeded})(s))
				}
			}
		}
		require.Equal(t, jobs.OperationCancelled, s.Operation.State, name)
		require.Equal(t, jobs.ClusterReady, s.Cluster.State, name)
		require.Nil(t, s.Cluster.DeletedAt)
		require.Contains(t, s.Events[len(s.Events)-1].Message, "the cluster stays as it is")
		for _, e := range s.Events {
			require.NotEqual(t, jobs.ClusterDeletedEv, e.Type)
		}
	}
	s := snapshot(jobs.ClusterDelete, jobs.StepRunning)
	var e *jobs.Error
	require.ErrorAs(t, r.cancel("")(s), &e)
	require.Equal(t, jobs.CodeTooLate, e.Code, "a deletion cannot be turned back")
}
