package worker

import (
	"fmt"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// beginUndo turns an active operation round: what ran is undone, stage by
// stage, the last first. A step that runs keeps running until its attempt ends
// or is interrupted; the undoing waits for it.
func (r *rules) beginUndo(s *jobs.Snapshot, reason jobs.UndoReason) {
	s.Operation.State = jobs.OperationUndoing
	r.markUndo(s, reason)
	r.settle(s)
}

// markUndo says what is to be undone, without beginning.
func (r *rules) markUndo(s *jobs.Snapshot, reason jobs.UndoReason) {
	op := s.Operation
	op.Undo, op.Deadline = reason, nil
	for _, st := range s.Steps {
		switch {
		case st.State == jobs.StepRunning || st.State == jobs.StepUndone:
		case st.Attempt == 0:
			skip(st)
		case st.State != jobs.StepSkipped:
			r.toUndo(s, st)
		}
	}
}

// toUndo makes a step wait for its undoing. One that has nothing to undo is
// undone at once; one whose type this worker does not know waits for a worker
// that does.
func (r *rules) toUndo(s *jobs.Snapshot, st *jobs.StepRecord) {
	st.State, st.Undoing = jobs.StepPending, true
	st.Failures, st.Observation, st.Error, st.FinishedAt = 0, nil, nil, nil
	if t, known := r.steps[st.Name]; known && t.Undo == nil {
		now := s.Now
		st.State, st.FinishedAt = jobs.StepUndone, &now
	}
}

// advanceUndo makes the last stage that still has something to undo ready, and
// ends the operation when there is none.
func (r *rules) advanceUndo(s *jobs.Snapshot) {
	op := s.Operation
	broken := false
	for _, st := range s.Steps {
		if st.State == jobs.StepRunning && !st.Undoing {
			return // an attempt from before: the heartbeat interrupts it
		}
		if st.State == jobs.StepReady && !st.Undoing {
			r.toUndo(s, st) // given back by a worker that drained
		}
		broken = broken || st.State == jobs.StepFailed
	}
	if broken {
		if standStill(s) {
			r.conclude(s)
		}
		return
	}
	for stage := len(op.Stages) - 1; stage >= 0; stage-- {
		if makeReady(s, stage) {
			op.Stage = stage
			return
		}
	}
	r.endUndo(s)
}

// endUndo ends an operation of which nothing is left.
func (r *rules) endUndo(s *jobs.Snapshot) {
	op := s.Operation
	gone := false
	if c := s.Cluster; c != nil {
		switch {
		case r.makesCluster(op):
			gone = c.State != jobs.ClusterDeleted
			deleted(s)
		case op.Kind == jobs.ClusterDelete && c.State == jobs.ClusterDeleting:
			c.State = jobs.ClusterFailed
		}
	}
	if gone {
		s.Tell(jobs.EventDraft{Type: jobs.ClusterDeletedEv,
			Message: fmt.Sprintf("cluster %q: everything that was made of it is removed", op.Cluster)})
	}
	if op.Undo == jobs.UndoRollback {
		r.conclude(s)
		return
	}
	op.State = jobs.OperationCancelled
	finished(s)
	message := ": cancelled, what was made is removed"
	if !r.makesCluster(op) {
		message = ": cancelled, the cluster stays as it is"
	}
	s.Tell(jobs.EventDraft{Type: jobs.OperationCancelledEv, Error: op.Error, Message: r.sentence(op) + message})
}

// cancel is the rule of operation.cancel. Queued operations end at once. Of the
// running only those that make something new, or whose kind is revocable, can be
// turned back.
func (r *rules) cancel(reason string) Rule {
	return func(s *jobs.Snapshot) error {
		op := s.Operation
		if err := r.cancellable(op); err != nil {
			return err
		}
		op.Error = &jobs.Error{Code: jobs.CodeCancelled, Message: because("cancelled on request", reason)}
		switch {
		case op.State == jobs.OperationRunning:
			r.beginUndo(s, jobs.UndoCancel)
		case op.StartedAt != nil: // replayed, and waiting: undone when its turn comes
			r.markUndo(s, jobs.UndoCancel)
		default:
			r.cancelQueued(s)
		}
		return nil
	}
}

func (r *rules) cancellable(op *jobs.Operation) error {
	switch {
	case op.State.Final():
		return &jobs.Error{Code: jobs.CodeTooLate,
			Message: fmt.Sprintf("operation %s has already ended: it is %s", op.ID, op.State)}
	case op.Undo != "":
		return &jobs.Error{Code: jobs.CodeTooLate,
			Message: fmt.Sprintf("operation %s is already being undone (%s)", op.ID, op.Undo)}
	case op.StartedAt != nil && !r.revocable(op):
		return &jobs.Error{Code: jobs.CodeTooLate,
			Message: fmt.Sprintf("%s has begun and cannot be turned back; let operation %s finish", op.Kind, op.ID)}
	default:
		return nil
	}
}

// cancelQueued ends an operation that never started: there is nothing to undo.
func (r *rules) cancelQueued(s *jobs.Snapshot) {
	op := s.Operation
	for _, st := range s.Steps {
		skip(st)
	}
	if s.Cluster != nil && r.makesCluster(op) {
		deleted(s)
	}
	op.State, op.Undo = jobs.OperationCancelled, jobs.UndoCancel
	finished(s)
	s.Tell(jobs.EventDraft{Type: jobs.OperationCancelledEv, Error: op.Error, Message: r.sentence(op) + ": cancelled before it started"})
}
