package docker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"
)

// StartContainer starts a container that exists; one that runs stays as it is. ErrNotFound, ErrPortTaken.
func (e *Engine) StartContainer(ctx context.Context, name string) error {
	return e.act(ctx, "start", name, callTimeout, func(ctx context.Context, id string) error {
		return e.start(ctx, id)
	})
}

// StopContainer asks the container to end (its image's stop signal) and kills it after the timeout; 0 takes the
// container's own. One that does not run stays as it is. ErrNotFound.
func (e *Engine) StopContainer(ctx context.Context, name string, timeout time.Duration) error {
	var o container.StopOptions
	if timeout > 0 {
		seconds := wholeSeconds(timeout)
		o.Timeout = &seconds
	}
	return e.act(ctx, "stop", name, ensureTimeout+timeout, func(ctx context.Context, id string) error {
		return explain(ctx, e.cli.ContainerStop(ctx, id, o))
	})
}

// KillContainer sends a signal, like HUP or KILL, to the container's first process. ErrNotFound; ErrConflict when it
// does not run.
func (e *Engine) KillContainer(ctx context.Context, name, signal string) error {
	return e.act(ctx, "kill", name, callTimeout, func(ctx context.Context, id string) error {
		return explain(ctx, e.cli.ContainerKill(ctx, id, signal))
	})
}

// RemoveContainer removes the container with its anonymous volumes, killing it when it runs: stop it first where that
// matters. Not found is success.
func (e *Engine) RemoveContainer(ctx context.Context, name string) error {
	err := e.act(ctx, "remove", name, callTimeout, e.removeContainer)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// act does something to this instance's container of that name.
func (e *Engine) act(ctx context.Context, verb, name string, d time.Duration, do func(context.Context, string) error) error {
	ctx, cancel, err := e.begin(ctx, d)
	defer cancel()
	var c Container
	if err == nil {
		c, err = e.own(ctx, name)
	}
	if err == nil {
		err = do(ctx, c.ID)
	}
	if err != nil {
		return fmt.Errorf("%s container %q: %w", verb, name, err)
	}
	return nil
}

// removeContainer returns when the container is gone, also when someone else is removing it.
func (e *Engine) removeContainer(ctx context.Context, id string) error {
	return e.removeUntilGone(ctx, func() error {
		return e.cli.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	})
}

// removeUntilGone repeats a removal until the object is not found, as long as it is merely in use or on its way out.
func (e *Engine) removeUntilGone(ctx context.Context, remove func() error) error {
	return retry(ctx, 20*time.Second, func() error {
		err := explain(ctx, remove())
		switch {
		case err == nil, errors.Is(err, ErrNotFound):
			return nil
		case errors.Is(err, ErrConflict):
			return err
		}
		return giveUp(err)
	})
}
