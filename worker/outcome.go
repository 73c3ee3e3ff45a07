package worker

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// Defaults of a step type's zero fields.
const (
	defaultTimeout      = 2 * time.Minute
	defaultAttempts     = 8
	defaultRetryInitial = 500 * time.Millisecond
	defaultRetryMax     = 15 * time.Second
)

// classify turns what a step returned, and why its context ended, into an
// outcome. A step that succeeded although it was to stop has succeeded.
func (a *attempt) classify(end ended, cause error) outcome {
	announce, o := a.tell.next()
	out := outcome{announce: announce, observation: o}
	after, seen, snoozed := jobs.AsSnooze(end.err)
	switch {
	case end.err == nil:
		raw, err := rawOutput(end.result.Output)
		if err != nil {
			return a.failure(out, jobs.Permanent(err))
		}
		out.ending, out.result, out.output = endSucceeded, end.result, raw
		return out
	case errors.Is(cause, errStopped):
		out.ending = endInterrupted
		return out
	case errors.Is(cause, errStalled):
		return a.failure(out, a.stalled())
	case snoozed:
		out.ending, out.delay = endSnoozed, after
		out.observation = &jobs.Observation{Message: clean(seen)}
		return out
	default:
		return a.failure(out, end.err)
	}
}

// stalled is the error of a step that made no progress for its timeout.
func (a *attempt) stalled() error {
	message := fmt.Sprintf("no progress for %s", a.timeout())
	if seen := a.tell.seen(); seen != "" {
		message += "; last seen: " + seen
	}
	return &jobs.Error{Code: jobs.CodeStepTimeout, Message: message, Retryable: true}
}

// failure decides whether err ends the step for good, and when it is tried
// again if not.
func (a *attempt) failure(out outcome, err error) outcome {
	e := *jobs.ErrorOf(err, jobs.CodeStepFailed)
	e.Message = clean(e.Message)
	failures := a.job.Step.Failures + 1
	policy := a.typ.Retry
	out.ending, out.err = endFailed, &e
	out.final = jobs.IsPermanent(err) || failures >= attempts(policy)
	out.delay = retryDelay(policy, failures)
	if !jobs.IsPermanent(err) && a.w.lacks() {
		// It is not the step's fault, and trying it eight times more quickly
		// than the outage ends must not fail the operation.
		out.free, out.final, out.delay = true, false, a.w.timing.Away
	}
	if out.final && !jobs.IsPermanent(err) && failures > 1 {
		e.Message = fmt.Sprintf("%s (after %d attempts)", e.Message, failures)
	}
	return out
}

// lacks tells whether something is away that steps need.
func (w *Worker) lacks() bool {
	for _, p := range w.opt.Probes {
		if p.isAway() {
			return true
		}
	}
	return false
}

func attempts(r jobs.Retry) int {
	if r.Attempts > 0 {
		return r.Attempts
	}
	return defaultAttempts
}

// retryDelay is the backoff after so many failures: exponential, with jitter.
func retryDelay(r jobs.Retry, failures int) time.Duration {
	initial, limit := r.Initial, r.Max
	if initial <= 0 {
		initial = defaultRetryInitial
	}
	if limit <= 0 {
		limit = max(defaultRetryMax, initial)
	}
	b := newBackOff(initial, limit)
	delay := initial
	for range min(failures, 30) {
		delay = b.NextBackOff()
	}
	return min(delay, limit)
}

// maxText bounds what a step may say, in bytes.
const maxText = 2000

// clean makes a step's text fit for the database and for people: valid UTF-8,
// without NUL, of a readable length.
func clean(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + " …"
	}
	return text
}
