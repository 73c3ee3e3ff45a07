package worker

import (
	"fmt"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// replay is the rule of operation.replay: a failed operation waits for its turn
// again. What succeeded stays; all the others have their attempts anew. One that
// was rolled back begins from the beginning, with its cluster's record revived.
func (r *rules) replay(s *jobs.Snapshot) error {
	op := s.Operation
	if err := r.replayable(s); err != nil {
		return err
	}
	if rolledBack(s) {
		r.startOver(s)
	} else {
		for _, st := range s.Steps {
			if st.State == jobs.StepFailed || st.State == jobs.StepPending { // as others were given up with them
				st.State = jobs.StepPending
				renew(st)
			}
		}
	}
	if op.Undo == "" {
		op.Error = nil
	}
	op.State, op.FinishedAt = jobs.OperationQueued, nil
	op.Replays++
	s.Settle = jobs.DeadReplayed
	return nil
}

func (r *rules) replayable(s *jobs.Snapshot) error {
	op := s.Operation
	if op.State != jobs.OperationFailed {
		return notFailed(op, "replayed")
	}
	if s.Cluster == nil {
		return nil
	}
	switch s.Cluster.State {
	case jobs.ClusterDeleting:
		return busy(op)
	case jobs.ClusterDeleted:
		if rolledBack(s) {
			return nil
		}
		return &jobs.Error{Code: jobs.CodeUnknownCluster,
			Message: fmt.Sprintf("cluster %q was deleted; discard operation %s and send a new request", op.Cluster, op.ID)}
	case jobs.ClusterCreating, jobs.ClusterReady, jobs.ClusterDegraded, jobs.ClusterFailed:
	}
	return nil
}

// rolledBack tells whether all that the operation made has been undone.
func rolledBack(s *jobs.Snapshot) bool {
	if s.Operation.Undo != jobs.UndoRollback {
		return false
	}
	for _, st := range s.Steps {
		if st.State != jobs.StepUndone && st.State != jobs.StepSkipped {
			return false
		}
	}
	return true
}

// startOver forgets what the steps did; their attempts go on counting.
func (r *rules) startOver(s *jobs.Snapshot) {
	op := s.Operation
	op.Undo, op.Stage = "", 0
	for _, st := range s.Steps {
		st.State, st.Undoing, st.Output = jobs.StepPending, false, nil
		renew(st)
	}
	if c := s.Cluster; c != nil {
		c.State, c.DeletedAt, c.Endpoints = jobs.ClusterCreating, nil, jobs.Endpoints{}
	}
}

// renew gives a step all its attempts anew.
func renew(st *jobs.StepRecord) {
	st.Failures, st.Observation, st.Error, st.FinishedAt = 0, nil, nil, nil
}

// discard is the rule of operation.discard: what a failed operation made is
// undone when its turn on the cluster comes, and nobody is asked again.
func (r *rules) discard(reason string) Rule {
	return func(s *jobs.Snapshot) error {
		op := s.Operation
		if op.State != jobs.OperationFailed {
			return notFailed(op, "discarded")
		}
		if c := s.Cluster; c != nil && c.State == jobs.ClusterDeleting {
			return busy(op)
		}
		op.Error = discarded(op.Error, reason)
		s.Settle = jobs.DeadDiscarded
		if c := s.Cluster; c == nil || c.State == jobs.ClusterDeleted {
			op.State, op.Undo = jobs.OperationCancelled, jobs.UndoDiscard
			finished(s)
			s.Tell(jobs.EventDraft{Type: jobs.OperationCancelledEv, Error: op.Error,
				Message: r.sentence(op) + ": discarded, nothing was left of it"})
			return nil
		}
		r.markUndo(s, jobs.UndoDiscard)
		op.State, op.FinishedAt = jobs.OperationQueued, nil
		return nil
	}
}

// discarded keeps why the operation had failed.
func discarded(e *jobs.Error, reason string) *jobs.Error {
	message := because("discarded on request", reason)
	if e != nil {
		message += "; it had failed: " + e.Message
	}
	return &jobs.Error{Code: jobs.CodeCancelled, Message: message}
}

func notFailed(op *jobs.Operation, what string) *jobs.Error {
	return &jobs.Error{Code: jobs.CodeNotFailed,
		Message: fmt.Sprintf("operation %s is %s; only a failed operation can be %s", op.ID, op.State, what)}
}

func busy(op *jobs.Operation) *jobs.Error {
	return &jobs.Error{Code: jobs.CodeClusterBusy,
		Message: fmt.Sprintf("cluster %q is being deleted; wait until that has ended, and ask again under a new request id", op.Cluster)}
}

func because(what, reason string) string {
	if reason == "" {
		return what
	}
	return what + ": " + reason
}
