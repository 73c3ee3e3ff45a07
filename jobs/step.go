package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// StepType is how one kind of step is carried out. Run and Undo observe,
// compare, act and confirm: each may be run at any time, any number of times,
// by any worker, and ends in the same world.
type StepType struct {
	// Name is persisted: never renamed, never reused.
	Name string
	// Title says what the step does, for people; "start node" (the node's
	// name is added by the caller).
	Title string
	Run   func(ctx context.Context, a *Attempt) (Result, error)
	// Undo removes what Run made; nil when there is nothing to undo.
	Undo func(ctx context.Context, a *Attempt) error
	// Timeout bounds one attempt that makes no progress: a call of
	// Attempt.Progress moves the deadline when it counts more as done than any
	// before, or has a message without a count that was not said before. 0
	// means two minutes.
	Timeout time.Duration
	Retry   Retry
	// Weight is the step's share of the operation's percent; 0 means 1.
	Weight int
}

// Retry is a step's policy for transient errors: exponential backoff with
// jitter between Initial and Max, at most Attempts attempts that end in an
// error. The zero value means 8 attempts from 500 ms to 15 s.
type Retry struct {
	Attempts     int
	Initial, Max time.Duration
}

// Attempt is one run of a step, as the engine hands it to the step.
type Attempt struct {
	Operation Operation
	Cluster   Cluster
	Step      Step
	// Number is the attempt's number, the fence of its result.
	Number int
	// Outputs are what the operation's completed steps left, by Step.String().
	Outputs map[string]json.RawMessage
	// Report is set by the engine; steps call Progress.
	Report func(Observation)
}

// Progress reports how far the step is. The last report is what people see when
// the step takes long, fails or is stuck; one that says that it has come further
// moves the attempt's deadline (see StepType.Timeout).
func (a *Attempt) Progress(o Observation) {
	if a.Report != nil {
		a.Report(o)
	}
}

// Output decodes what step (with its node, or none) left; false when it left
// nothing.
func (a *Attempt) Output(step Step, into any) (bool, error) {
	raw, ok := a.Outputs[step.String()]
	if !ok || len(raw) == 0 {
		return false, nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return false, fmt.Errorf("read the output of step %s: %w", step, err)
	}
	return true, nil
}

// Observation is how far a step is: a sentence, and done of total when it can
// be counted (Unit "bytes", "members", …; Total 0 when unknown).
type Observation struct {
	Message string `json:"message"`
	Done    int64  `json:"done,omitempty"`
	Total   int64  `json:"total,omitempty"`
	Unit    string `json:"unit,omitempty"`
}

// Result is what a completed step leaves.
type Result struct {
	// Output is stored (as JSON) for later steps and for people. No secrets.
	Output any
	// Facts are published in the same transaction as the step's success.
	Facts []Fact
	// Cluster, when set, changes the cluster's record in the same transaction.
	Cluster *ClusterChange
}

// Fact is an event that a step or the keeper tells about a cluster or a node.
type Fact struct {
	Type    EventType
	Node    string
	Message string
	// Details go into the event's data under "details". No secrets.
	Details map[string]any
}

// ClusterChange is what a completed step changes in its cluster's record;
// zero fields leave things as they are.
type ClusterChange struct {
	State     ClusterState
	Endpoints *Endpoints
}

// permanentError marks an error that no retry can mend.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks err as one that no retry can mend: the step, and with it the
// operation, fails at once.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// IsPermanent tells whether err was marked by Permanent.
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

// snoozeError asks to be run again later without spending an attempt.
type snoozeError struct {
	after time.Duration
	seen  string
}

func (e *snoozeError) Error() string { return "not ready: " + e.seen }

// Snooze ends an attempt without a result: not ready yet, look again after d.
// It spends no attempt of the retry policy; seen says what was seen.
func Snooze(d time.Duration, seen string) error { return &snoozeError{d, seen} }

// AsSnooze gives the delay and observation of an error made by Snooze.
func AsSnooze(err error) (after time.Duration, seen string, ok bool) {
	var s *snoozeError
	if errors.As(err, &s) {
		return s.after, s.seen, true
	}
	return 0, "", false
}
