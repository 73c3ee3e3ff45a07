package worker

import (
	"encoding/json"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// ending is how an attempt ended.
type ending int

const (
	endSucceeded ending = iota + 1
	endFailed
	endSnoozed
	endInterrupted
)

// outcome is all that an attempt leaves; with it the rules need nothing else.
type outcome struct {
	ending ending
	// announce: step.started has not been told yet.
	announce    bool
	observation *jobs.Observation

	result jobs.Result     // of endSucceeded
	output json.RawMessage // its Output as JSON

	err   *jobs.Error // of endFailed
	final bool        // no further attempt
	free  bool        // it counts as no attempt: something is away
	delay time.Duration
}

// finish writes what an attempt's end means. It is the table of the package
// comment.
func (r *rules) finish(lease jobs.Lease, o outcome) Rule {
	return func(s *jobs.Snapshot) error {
		st, err := held(s, lease)
		if err != nil {
			return err
		}
		r.note(s, st, o.announce, o.observation)
		st.LeaseUntil = nil
		switch o.ending {
		case endSucceeded:
			r.succeeded(s, st, o)
		case endFailed:
			r.failed(s, st, o)
		case endSnoozed:
			r.again(s, st, o.delay)
		case endInterrupted:
			r.again(s, st, 0)
		}
		r.settle(s)
		return nil
	}
}

// progress writes how far a running step is. errStopped says that the attempt
// is no longer wanted.
func (r *rules) progress(lease jobs.Lease, announce bool, o *jobs.Observation) Rule {
	return func(s *jobs.Snapshot) error {
		st, err := held(s, lease)
		if err != nil {
			return err
		}
		switch modeOf(s.Operation, st) {
		case modeFailing, modeStale:
			return errStopped
		case modeRun, modeUndo:
		}
		r.note(s, st, announce, o)
		if o != nil {
			s.Tell(r.told(s, st, jobs.StepProgressed, ": "+o.Message))
		}
		r.count(s)
		return nil
	}
}

// held finds the step of a lease. The store has checked the lease already;
// this guards the rules against a caller without one.
func held(s *jobs.Snapshot, lease jobs.Lease) (*jobs.StepRecord, error) {
	st := s.Step(lease.StepID)
	if st == nil || !s.Operation.State.Active() || st.State != jobs.StepRunning || st.Attempt != lease.Attempt {
		return nil, jobs.ErrLeaseLost
	}
	return st, nil
}

// note keeps an observation and tells step.started where that is due.
func (r *rules) note(s *jobs.Snapshot, st *jobs.StepRecord, announce bool, o *jobs.Observation) {
	if announce && modeOf(s.Operation, st) != modeStale {
		s.Tell(r.told(s, st, jobs.StepStarted, ""))
	}
	if o != nil {
		st.Observation = o
	}
}

func (r *rules) succeeded(s *jobs.Snapshot, st *jobs.StepRecord, o outcome) {
	now := s.Now
	switch modeOf(s.Operation, st) {
	case modeStale:
		st.Output = o.output
		r.toUndo(s, st)
	case modeUndo:
		st.State, st.FinishedAt, st.Error = jobs.StepUndone, &now, nil
		s.Tell(r.told(s, st, jobs.StepSucceededEv, ": undone"))
	case modeRun, modeFailing:
		st.State, st.FinishedAt, st.Error, st.Output = jobs.StepSucceeded, &now, nil, o.output
		change(s, o.result.Cluster)
		s.Tell(r.told(s, st, jobs.StepSucceededEv, ": done"))
		for _, f := range o.result.Facts {
			s.Tell(jobs.EventDraft{Type: f.Type, Node: f.Node, Message: f.Message, Details: f.Details})
		}
	}
}

// change applies what a step changes in its cluster's record.
func change(s *jobs.Snapshot, c *jobs.ClusterChange) {
	if c == nil || s.Cluster == nil {
		return
	}
	if c.Endpoints != nil {
		s.Cluster.Endpoints = *c.Endpoints
	}
	switch c.State {
	case "":
	case jobs.ClusterDeleted:
		deleted(s)
	case jobs.ClusterCreating, jobs.ClusterReady, jobs.ClusterDegraded, jobs.ClusterFailed, jobs.ClusterDeleting:
		s.Cluster.State = c.State
	}
}

func (r *rules) failed(s *jobs.Snapshot, st *jobs.StepRecord, o outcome) {
	m := modeOf(s.Operation, st)
	if m == modeStale {
		r.toUndo(s, st)
		return
	}
	known := o.free && st.Error != nil && st.Error.Code == o.err.Code // told before
	if !o.free {
		st.Failures++
	}
	if !known {
		remember(s, st, o.err)
	}
	st.Error = o.err
	switch {
	case o.final:
		now := s.Now
		st.State, st.FinishedAt = jobs.StepFailed, &now
		if s.Operation.Error == nil || m == modeUndo {
			s.Operation.Error = o.err
		}
		e := r.told(s, st, jobs.StepFailedEv, " failed: "+o.err.Message)
		e.Error = o.err
		s.Tell(e)
	case m == modeFailing:
		st.State = jobs.StepPending
	default:
		st.State, st.ReadyAt = jobs.StepReady, s.Now.Add(o.delay)
		if known {
			return
		}
		e := r.told(s, st, jobs.StepRetrying, retryMessage(o))
		e.Error = o.err
		s.Tell(e)
	}
}

// again puts a step back that ended without a result.
func (r *rules) again(s *jobs.Snapshot, st *jobs.StepRecord, delay time.Duration) {
	switch modeOf(s.Operation, st) {
	case modeStale:
		r.toUndo(s, st)
	case modeFailing:
		st.State = jobs.StepPending
	case modeRun, modeUndo:
		st.State, st.ReadyAt = jobs.StepReady, s.Now.Add(delay)
	}
}

// remember adds the attempt to the step's history.
func remember(s *jobs.Snapshot, st *jobs.StepRecord, err *jobs.Error) {
	rec := jobs.AttemptRecord{Attempt: st.Attempt, Worker: st.Owner, EndedAt: s.Now, Error: err.Error()}
	if st.Observation != nil {
		rec.Observation = st.Observation.Message
	}
	h := append(append([]jobs.AttemptRecord{}, st.History...), rec)
	if over := len(h) - jobs.MaxHistory; over > 0 {
		h = h[over:]
	}
	st.History = h
}
