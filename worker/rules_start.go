package worker

import (
	"fmt"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// start makes a queued operation active: for the first time, or again after a
// replay or discard, where it resumes at the stage that it had reached.
func (r *rules) start(s *jobs.Snapshot) error {
	op := s.Operation
	if op.State != jobs.OperationQueued {
		return nil
	}
	if s.Cluster != nil && s.Cluster.State == jobs.ClusterDeleted {
		r.clusterGone(s)
		return nil
	}
	resumed := op.StartedAt != nil
	now := s.Now
	if !resumed {
		op.StartedAt = &now
	}
	if op.Undo != "" {
		op.State = jobs.OperationUndoing
		s.Tell(jobs.EventDraft{Type: jobs.OperationStarted, Message: r.sentence(op) + ": undoing what was made"})
		r.settle(s)
		return nil
	}
	op.State = jobs.OperationRunning
	if limit := policyOf(op.Spec).timeout(); limit > 0 {
		deadline := now.Add(limit)
		op.Deadline = &deadline
	}
	r.takeCluster(s)
	message := r.sentence(op) + ": started"
	if resumed {
		message = fmt.Sprintf("%s: goes on at stage %d of %d (replay %d)", r.sentence(op), op.Stage+1, len(op.Stages), op.Replays)
	}
	s.Tell(jobs.EventDraft{Type: jobs.OperationStarted, Message: message})
	r.settle(s)
	return nil
}

// takeCluster marks the cluster as being made or deleted.
func (r *rules) takeCluster(s *jobs.Snapshot) {
	switch op := s.Operation; {
	case s.Cluster == nil:
	case r.makesCluster(op):
		s.Cluster.State = jobs.ClusterCreating
	case op.Kind == jobs.ClusterDelete:
		s.Cluster.State = jobs.ClusterDeleting
	}
}

// clusterGone ends an operation whose cluster was deleted while it waited:
// nothing is left to do, and nobody is needed.
func (r *rules) clusterGone(s *jobs.Snapshot) {
	op := s.Operation
	for _, st := range s.Steps {
		skip(st)
	}
	if op.Kind == jobs.ClusterDelete {
		r.succeed(s)
		return
	}
	op.State = jobs.OperationCancelled
	op.Error = &jobs.Error{Code: jobs.CodeUnknownCluster,
		Message: fmt.Sprintf("cluster %q was deleted while the operation waited", op.Cluster)}
	finished(s)
	s.Tell(jobs.EventDraft{Type: jobs.OperationCancelledEv, Error: op.Error,
		Message: r.sentence(op) + ": cancelled, because the cluster was deleted meanwhile"})
}

// skip ends a step that will not run.
func skip(st *jobs.StepRecord) {
	switch st.State {
	case jobs.StepPending, jobs.StepReady, jobs.StepFailed:
		st.State, st.Undoing = jobs.StepSkipped, false
	case jobs.StepRunning, jobs.StepSucceeded, jobs.StepSkipped, jobs.StepUndone:
	}
}

// overdue fails an operation whose own time has run out. Undoing has no limit.
func (r *rules) overdue(s *jobs.Snapshot) error {
	op := s.Operation
	if op.State != jobs.OperationRunning || op.Error != nil || op.Deadline == nil || op.Deadline.After(s.Now) {
		return nil
	}
	op.Error = &jobs.Error{Code: jobs.CodeTimeout, Retryable: true,
		Message: fmt.Sprintf("the operation took longer than its limit of %s", policyOf(op.Spec).timeout())}
	r.settle(s)
	return nil
}
