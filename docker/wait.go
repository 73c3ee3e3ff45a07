package docker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// retry calls op with growing pauses until it returns nil or an error marked with giveUp, the context ends, or the
// patience is used up. The error then is the last one that op returned.
func retry(ctx context.Context, patience time.Duration, op func() error) error {
	var last error
	pauses := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(10*time.Millisecond),
		backoff.WithMaxInterval(time.Second),
		backoff.WithMaxElapsedTime(patience),
	)
	err := backoff.Retry(func() error { last = op(); return last }, backoff.WithContext(pauses, ctx))
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) && last != nil && !errors.Is(last, ctx.Err()) {
		return fmt.Errorf("%w (last seen: %w)", explain(ctx, ctx.Err()), last)
	}
	return err
}

// giveUp marks an error that retrying does not cure.
func giveUp(err error) error { return backoff.Permanent(err) }
