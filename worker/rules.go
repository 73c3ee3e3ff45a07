package worker

import (
	"encoding/json"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// rules are the transitions of operations: pure functions on a snapshot. They
// read the catalogue for titles and policies, never to find out what to do
// next: that is in the snapshot.
type rules struct {
	kinds map[jobs.KindName]jobs.Kind
	steps map[string]jobs.StepType
}

// mode is what a step's end means for its operation.
type mode int

const (
	modeRun     mode = iota + 1 // the operation runs
	modeFailing                 // it runs, but a step failed or its time is up: it only winds down
	modeStale                   // it is undone, and this step's attempt was not an undo
	modeUndo                    // it is undone, and so is this step
)

func modeOf(op *jobs.Operation, st *jobs.StepRecord) mode {
	switch {
	case op.State == jobs.OperationUndoing && st.Undoing:
		return modeUndo
	case op.State == jobs.OperationUndoing:
		return modeStale
	case op.Error != nil:
		return modeFailing
	default:
		return modeRun
	}
}

// settle decides what comes next, after any change of a step: the one place
// that makes steps ready and ends operations.
func (r *rules) settle(s *jobs.Snapshot) {
	switch op := s.Operation; {
	case op.State == jobs.OperationUndoing:
		r.advanceUndo(s)
	case op.State == jobs.OperationRunning && op.Error != nil:
		r.windDown(s)
	case op.State == jobs.OperationRunning:
		r.advance(s)
	}
}

// advance makes the steps of the current stage ready, and goes on to the next
// stage, or to success, when all of them are done.
func (r *rules) advance(s *jobs.Snapshot) {
	op := s.Operation
	for stage := op.Stage; stage < len(op.Stages); stage++ {
		op.Stage = stage
		if open := makeReady(s, stage); open {
			r.count(s)
			return
		}
	}
	r.succeed(s)
}

// makeReady makes a stage's pending steps ready; it tells whether any of the
// stage's steps is still open.
func makeReady(s *jobs.Snapshot, stage int) (open bool) {
	for _, st := range s.Steps {
		if st.Stage != stage {
			continue
		}
		if st.State == jobs.StepPending {
			st.State, st.ReadyAt = jobs.StepReady, s.Now
		}
		open = open || st.State == jobs.StepReady || st.State == jobs.StepRunning || st.State == jobs.StepFailed
	}
	return open
}

// succeed ends an operation whose steps are all done. A step may have changed
// the cluster's state already; otherwise the kind's target says what is due.
func (r *rules) succeed(s *jobs.Snapshot) {
	op := s.Operation
	op.State, op.Percent = jobs.OperationSucceeded, 100
	finished(s)
	if c := s.Cluster; c != nil {
		switch {
		case r.makesCluster(op) && c.State == jobs.ClusterCreating:
			c.State = jobs.ClusterReady
		case op.Kind == jobs.ClusterDelete:
			deleted(s)
		}
	}
	s.Tell(jobs.EventDraft{Type: jobs.OperationSucceededEv, Message: r.sentence(op) + ": done"})
}

// windDown fails an operation as soon as none of its steps runs any more, or
// turns it round at once where it is to be rolled back.
func (r *rules) windDown(s *jobs.Snapshot) {
	if r.rollsBack(s.Operation) {
		r.beginUndo(s, jobs.UndoRollback)
		return
	}
	if standStill(s) {
		r.conclude(s)
	}
}

// standStill takes ready steps back; it tells whether no step runs.
func standStill(s *jobs.Snapshot) bool {
	still := true
	for _, st := range s.Steps {
		switch st.State {
		case jobs.StepReady:
			st.State = jobs.StepPending
		case jobs.StepRunning:
			still = false
		case jobs.StepPending, jobs.StepSucceeded, jobs.StepFailed, jobs.StepSkipped, jobs.StepUndone:
		}
	}
	return still
}

// conclude ends an operation as failed: a person is needed.
func (r *rules) conclude(s *jobs.Snapshot) {
	op := s.Operation
	op.State = jobs.OperationFailed
	finished(s)
	if c := s.Cluster; c != nil && c.State != jobs.ClusterDeleted && (r.makesCluster(op) || op.Kind == jobs.ClusterDelete) {
		c.State = jobs.ClusterFailed
	}
	s.Dead = r.deadLetter(s)
	s.Tell(jobs.EventDraft{
		Type: jobs.OperationFailedEv, Error: op.Error, Step: s.Dead.Step,
		Observation: s.Dead.Observation, Message: s.Dead.Reason + ". " + s.Dead.Advice,
	})
}

// finished stamps the end of an operation.
func finished(s *jobs.Snapshot) {
	now := s.Now
	s.Operation.FinishedAt = &now
}

// deleted marks the cluster's record.
func deleted(s *jobs.Snapshot) {
	if c := s.Cluster; c.State != jobs.ClusterDeleted {
		now := s.Now
		c.State, c.DeletedAt = jobs.ClusterDeleted, &now
	}
}

// makesCluster tells whether the operation's kind makes its cluster.
func (r *rules) makesCluster(op *jobs.Operation) bool {
	k, known := r.kinds[op.Kind]
	if !known {
		return op.Kind == jobs.ClusterCreate
	}
	return k.Target == jobs.NewCluster
}

// revocable tells whether the operation can be turned back after it has begun.
func (r *rules) revocable(op *jobs.Operation) bool {
	return r.makesCluster(op) || r.kinds[op.Kind].Revocable
}

// policy is what the engine itself reads of a specification.
type policy struct {
	OnFailure      string `json:"on_failure"`
	TimeoutSeconds int    `json:"timeout_seconds"`
}

func policyOf(spec json.RawMessage) policy {
	var p policy
	if json.Unmarshal(spec, &p) != nil {
		return policy{} // Decode refused it before it came here
	}
	return p
}

func (p policy) timeout() time.Duration { return time.Duration(p.TimeoutSeconds) * time.Second }

// rollsBack tells whether a failure undoes what the operation made.
func (r *rules) rollsBack(op *jobs.Operation) bool {
	return policyOf(op.Spec).OnFailure == "rollback" && r.makesCluster(op)
}
