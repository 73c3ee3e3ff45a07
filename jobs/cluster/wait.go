package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// The pace of waiting: quick at first, since most waits are short, and never so
// slow that a person notices.
const (
	firstLook = 50 * time.Millisecond
	laterLook = 400 * time.Millisecond
)

// look is one observation of what is waited for. An error that is not permanent
// is an observation too: what is waited for does not answer yet.
type look func(ctx context.Context) (done bool, seen jobs.Observation, err error)

// wait looks until it is done, reporting what it sees; the engine ends the
// context when nothing new has been seen for the step's timeout. Its error says
// what was waited for and what was seen last.
func wait(ctx context.Context, a *jobs.Attempt, what string, see look) error {
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(firstLook), backoff.WithMaxInterval(laterLook),
		backoff.WithMultiplier(1.3), backoff.WithRandomizationFactor(0.1), backoff.WithMaxElapsedTime(0),
	)
	var last string
	for {
		done, seen, err := see(ctx)
		switch {
		case jobs.IsPermanent(err):
			return err
		case err == nil && done:
			return nil
		case ctx.Err() != nil:
			return stopped(ctx, what, last)
		case err != nil && seen.Message == "":
			seen.Message = err.Error()
		}
		if seen.Message != "" {
			last = seen.Message
			a.Progress(seen)
		}
		pause := time.NewTimer(pauses.NextBackOff())
		select {
		case <-ctx.Done():
			pause.Stop()
			return stopped(ctx, what, last)
		case <-pause.C:
		}
	}
}

func stopped(ctx context.Context, what, last string) error {
	if last == "" {
		return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
	}
	return fmt.Errorf("wait for %s (last seen: %s): %w", what, last, context.Cause(ctx))
}
