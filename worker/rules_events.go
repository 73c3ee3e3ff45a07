package worker

import (
	"fmt"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// count brings the operation's percent up to date from the weights of its
// steps, those that run by what they report. It never falls, and is 100 only
// for success.
func (r *rules) count(s *jobs.Snapshot) {
	op := s.Operation
	if op.State != jobs.OperationRunning {
		return
	}
	var total, done float64
	for _, st := range s.Steps {
		w := float64(max(st.Weight, 1))
		total += w
		switch st.State {
		case jobs.StepSucceeded, jobs.StepSkipped:
			done += w
		case jobs.StepRunning:
			done += w * share(st.Observation)
		case jobs.StepPending, jobs.StepReady, jobs.StepFailed, jobs.StepUndone:
		}
	}
	if total > 0 {
		op.Percent = max(op.Percent, min(99, int(100*done/total)))
	}
}

// share is how much of a step an observation says is done, from 0 to 1.
func share(o *jobs.Observation) float64 {
	if o == nil || o.Total <= 0 || o.Done <= 0 {
		return 0
	}
	return min(1, float64(o.Done)/float64(o.Total))
}

// told drafts an event about a step; more ends its sentence.
func (r *rules) told(s *jobs.Snapshot, st *jobs.StepRecord, t jobs.EventType, more string) jobs.EventDraft {
	e := jobs.EventDraft{Type: t, Step: r.eventStep(s, st), Node: st.Node, Message: r.stepSentence(st) + more}
	if st.Observation != nil && t != jobs.StepStarted {
		o := *st.Observation
		e.Observation = &o
	}
	return e
}

// eventStep says which step an event is about.
func (r *rules) eventStep(s *jobs.Snapshot, st *jobs.StepRecord) *jobs.EventStep {
	return &jobs.EventStep{
		Name: st.Name, Title: r.title(st), Node: st.Node,
		Stage: st.Stage + 1, Stages: len(s.Operation.Stages),
		Attempt: st.Attempt, Undo: st.Undoing,
	}
}

func (r *rules) title(st *jobs.StepRecord) string {
	if t, known := r.steps[st.Name]; known && t.Title != "" {
		return t.Title
	}
	return st.Name
}

// stepSentence is the step for people: "start node orders-1".
func (r *rules) stepSentence(st *jobs.StepRecord) string {
	text := r.title(st)
	if st.Undoing {
		text = "undo: " + text
	}
	if st.Node != "" {
		text += " " + st.Node
	}
	return text
}

// sentence is the operation for people: `create a cluster "orders"`.
func (r *rules) sentence(op *jobs.Operation) string {
	title := string(op.Kind)
	if k, known := r.kinds[op.Kind]; known && k.Title != "" {
		title = k.Title
	}
	return fmt.Sprintf("%s %q", title, op.Cluster)
}

func retryMessage(o outcome) string {
	return fmt.Sprintf(" is tried again in %s: %s", o.delay.Round(100*time.Millisecond), o.err.Message)
}

// deadLetter tells a person what failed, where, what was last seen and what to
// do. The store adds the request as it came.
func (r *rules) deadLetter(s *jobs.Snapshot) *jobs.DeadLetter {
	op := s.Operation
	if op.Error == nil {
		op.Error = &jobs.Error{Code: jobs.CodeInternal, Message: "the operation failed without saying why"}
	}
	d := &jobs.DeadLetter{
		OperationID: op.ID, RequestID: op.RequestID, Tenant: op.Tenant, Kind: op.Kind, Cluster: op.Cluster,
		State: jobs.DeadOpen, Error: op.Error,
		Reason: r.sentence(op) + " failed: " + op.Error.Message,
		Advice: advice(op, rolledBack(s), r.makesCluster(op)),
	}
	if found := culprit(s); found != nil {
		st := *found
		st.Undoing = st.Undoing && st.State != jobs.StepUndone // it failed before it was rolled back
		d.Step = r.eventStep(s, &st)
		d.Observation = st.Observation
		d.Attempts = st.History
		d.Reason = fmt.Sprintf("%s failed at %q (stage %d of %d): %s",
			r.sentence(op), r.stepSentence(&st), st.Stage+1, len(op.Stages), op.Error.Message)
	}
	return d
}

// culprit is the step to look at: one that failed, else one that did not end
// (its operation ran out of time), else the last that ever failed (it has been
// rolled back).
func culprit(s *jobs.Snapshot) *jobs.StepRecord {
	var failed, open, undone *jobs.StepRecord
	for _, st := range s.Steps {
		switch {
		case st.State == jobs.StepFailed && failed == nil:
			failed = st
		case st.State == jobs.StepPending && st.Attempt > 0 && open == nil:
			open = st
		case st.State == jobs.StepUndone && len(st.History) > 0:
			undone = st
		}
	}
	for _, st := range []*jobs.StepRecord{failed, open, undone} {
		if st != nil {
			return st
		}
	}
	return nil
}

func advice(op *jobs.Operation, rolledBack, makesCluster bool) string {
	if rolledBack {
		return fmt.Sprintf("Everything that it made was rolled back. Mend the cause and replay it from the beginning (pgforeman dead replay %s), or discard it (pgforeman dead discard %s).", op.ID, op.ID)
	}
	if op.Undo != "" {
		return fmt.Sprintf("What it made could not be removed. Mend the cause, then replay it (pgforeman dead replay %s) to go on removing.", op.ID)
	}
	if !makesCluster {
		return fmt.Sprintf("What it did so far is kept. Mend the cause and replay it from the failed step (pgforeman dead replay %s), or discard it (pgforeman dead discard %s), which does not remove the cluster.", op.ID, op.ID)
	}
	return fmt.Sprintf("What it made so far is kept. Mend the cause and replay it from the failed step (pgforeman dead replay %s), or discard it and remove what it made (pgforeman dead discard %s).", op.ID, op.ID)
}
