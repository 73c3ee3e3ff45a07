package worker

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// retry calls try, each time with a limit of per, until it ends otherwise than
// by the database being away, or ctx ends.
func retry(ctx context.Context, per time.Duration, try func(context.Context) error) error {
	wait := newBackOff(50*time.Millisecond, time.Second)
	for {
		err := within(ctx, per, try)
		if err == nil || !isAway(err) || ctx.Err() != nil {
			return err
		}
		pause(ctx, wait.NextBackOff())
		if ctx.Err() != nil {
			return err
		}
	}
}

// within calls f with a context that ends after d.
func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}

// newBackOff is an exponential backoff with jitter that never gives up.
func newBackOff(initial, limit time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(initial), backoff.WithMaxInterval(limit),
		backoff.WithMultiplier(2), backoff.WithRandomizationFactor(0.3), backoff.WithMaxElapsedTime(0))
}
