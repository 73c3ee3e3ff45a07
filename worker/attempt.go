package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// attempt is one run of a step: the step in a goroutine of its own, and a
// supervisor that watches its lease, its progress and its end.
type attempt struct {
	w    *Worker
	job  jobs.Claimed
	typ  jobs.StepType
	log  zerolog.Logger
	tell *teller
}

// ended is what the step returned.
type ended struct {
	result jobs.Result
	err    error
}

func newAttempt(w *Worker, job jobs.Claimed) *attempt {
	log := w.log.With().Str("operation", job.Operation.ID).Str("cluster", job.Operation.Cluster).
		Str("step", job.Step.String()).Int("attempt", job.Step.Attempt).Logger()
	fresh := job.Step.Failures == 0 && job.Step.Observation == nil
	return &attempt{w: w, job: job, typ: w.rules.steps[job.Step.Name], log: log, tell: newTeller(fresh, w.timing)}
}

// run carries the attempt out and writes its end. The lease was claimed at the
// time at; it is given back, or no longer held, when run returns.
func (a *attempt) run(work context.Context, at time.Time) {
	ctx, stop := context.WithCancelCause(work)
	defer stop(nil)
	a.w.leases.take(a.job.Lease, a.job.Step.Undoing, at, stop)
	defer a.w.leases.drop(a.job.Lease)

	op := a.job.Operation
	if m := modeOf(&op, &a.job.Step); m == modeStale || m == modeFailing {
		a.save(ctx, outcome{ending: endInterrupted}) // left behind by a worker that died
		return
	}
	end := a.supervise(ctx, stop)
	cause := context.Cause(ctx)
	switch {
	case isLost(cause):
		a.log.Warn().Msg("lease lost, result dropped")
	case end.err != nil && errors.Is(cause, errDrained):
		a.release(ctx)
	default:
		a.save(ctx, a.classify(end, cause))
	}
}

// supervise runs the step until it ends, and ends it when its context does. A
// step that does not return even then is left behind.
func (a *attempt) supervise(ctx context.Context, stop context.CancelCauseFunc) ended {
	done := make(chan ended, 1)
	go func() { done <- a.execute(ctx) }()
	stall := time.NewTimer(a.timeout())
	defer stall.Stop()
	tell := time.NewTimer(a.tell.due())
	defer tell.Stop()
	for {
		select {
		case end := <-done:
			return end
		case <-a.tell.news:
			if a.tell.moves() {
				stall.Reset(a.timeout())
			}
			tell.Reset(a.tell.due())
		case <-tell.C:
			a.progress(ctx, stop)
		case <-stall.C:
			stop(errStalled)
		case <-ctx.Done():
			return a.abandon(ctx, done)
		}
	}
}

// abandon waits a little for a step whose context has ended.
func (a *attempt) abandon(ctx context.Context, done <-chan ended) ended {
	timer := time.NewTimer(a.w.timing.Abandon)
	defer timer.Stop()
	select {
	case end := <-done:
		return end
	case <-timer.C:
		a.log.Error().Msg("step does not return, left behind")
		return ended{err: context.Cause(ctx)}
	}
}

// execute runs or undoes the step; a panic is a permanent error.
func (a *attempt) execute(ctx context.Context) (end ended) {
	defer func() {
		if p := recover(); p != nil {
			a.log.Error().Bytes("stack", debug.Stack()).Msg("step panicked")
			end = ended{err: jobs.Permanent(&jobs.Error{Code: jobs.CodeInternal,
				Message: fmt.Sprintf("a fault of pgforeman in step %s: %v; please report it", a.job.Step, p)})}
		}
	}()
	in := &jobs.Attempt{
		Operation: a.job.Operation, Cluster: a.job.Cluster, Step: a.job.Step.Step,
		Number: a.job.Step.Attempt, Outputs: a.job.Outputs, Report: a.tell.report,
	}
	if !a.job.Step.Undoing {
		end.result, end.err = a.typ.Run(ctx, in)
		return end
	}
	if a.typ.Undo != nil {
		end.err = a.typ.Undo(ctx, in)
	}
	return end
}

// timeout is how long the step may go on without progress.
func (a *attempt) timeout() time.Duration {
	return or(a.w.opt.StallLimit, or(a.typ.Timeout, defaultTimeout))
}

// progress tells what is new. An attempt that is no longer wanted learns it
// here, before the next heartbeat.
func (a *attempt) progress(ctx context.Context, stop context.CancelCauseFunc) {
	announce, o := a.tell.next()
	if !announce && o == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, a.w.timing.Statement)
	defer cancel()
	lease := a.job.Lease
	switch err := a.w.update(ctx, lease.OperationID, &lease, a.w.rules.progress(lease, announce, o)); {
	case err == nil:
		a.tell.sent(o)
	case isLost(err):
		stop(errLost)
	case errors.Is(err, errStopped):
		stop(errStopped)
	default:
		a.log.Debug().Err(err).Msg("progress not told")
	}
}

// release gives the lease back: another worker goes on at once.
func (a *attempt) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.w.timing.Statement)
	defer cancel()
	if err := a.w.store.Release(ctx, []jobs.Lease{a.job.Lease}); err != nil {
		a.log.Warn().Err(err).Msg("lease not given back, it runs out by itself")
		return
	}
	a.w.wakes.committed(true)
	a.log.Info().Msg("step handed over")
}

// save writes the outcome. While the database is away it tries on, longer than
// the lease lasts: the store refuses it if somebody else has taken over. A
// result that cannot be written for another reason becomes a failure.
func (a *attempt) save(ctx context.Context, o outcome) {
	limit := a.w.timing.Patience
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), errDrained) {
		limit = a.w.timing.Statement
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	lease := a.job.Lease
	err := retry(ctx, a.w.timing.Statement, func(ctx context.Context) error {
		return a.w.update(ctx, lease.OperationID, &lease, a.w.rules.finish(lease, o))
	})
	switch {
	case err == nil:
	case isLost(err):
		a.log.Warn().Msg("lease lost, result dropped")
	case errors.Is(err, jobs.ErrUnavailable) || ctx.Err() != nil:
		a.log.Error().Err(err).Msg("result not saved, the step runs again")
	case o.ending == endSucceeded:
		a.log.Error().Err(err).Msg("result refused by the database")
		o = outcome{ending: endFailed, final: true, announce: o.announce,
			err: &jobs.Error{Code: jobs.CodeInternal, Message: "the step's result could not be saved: " + err.Error()}}
		a.save(ctx, o)
	default:
		a.log.Error().Err(err).Msg("result refused by the database")
	}
}

// rawOutput is a result's output as it is stored.
func rawOutput(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode the step's output: %w", err)
	}
	return raw, nil
}
