package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
)

// errAgain says that a container changed under EnsureContainer's hands, so that it has to look anew.
var errAgain = errors.New("changed meanwhile")

// errNetworkGone says that a container cannot be started any more, only made anew.
var errNetworkGone = errors.New("its network is gone, it has to be made anew")

// EnsureContainer makes the container that the specification describes exist and run. See the package comment for
// what happens with one that exists. Its network and volumes must exist, so that nothing unlabelled is made.
//
// ErrPortTaken, ErrImageMissing, ErrNoResources, ErrForeign, ErrInvalid, ErrNotFound (network or volume), and ErrDied
// with the last lines of its log (in which the contents of Files are blacked out) when it did not survive its start.
func (e *Engine) EnsureContainer(ctx context.Context, spec ContainerSpec) (Container, error) {
	ctx, cancel, err := e.begin(ctx, ensureTimeout+spec.Settle)
	defer cancel()
	if err != nil {
		return Container{}, fmt.Errorf("create container %q: %w", spec.Name, err)
	}
	c, err := e.ensureContainer(ctx, spec)
	if err != nil {
		return Container{}, fmt.Errorf("create container %q: %w", spec.Name, err)
	}
	return c, nil
}

func (e *Engine) ensureContainer(ctx context.Context, spec ContainerSpec) (c Container, err error) {
	if err := e.checkHost(spec.Host); err != nil {
		return c, err
	}
	if err := spec.check(); err != nil {
		return c, err
	}
	hash, err := spec.hash()
	if err != nil {
		return c, err
	}
	err = retry(ctx, 30*time.Second, func() error {
		c, err = e.converge(ctx, spec, hash)
		if err != nil && !errors.Is(err, errAgain) {
			return giveUp(err)
		}
		return err
	})
	if err != nil {
		return c, err
	}
	return e.survived(ctx, spec, c)
}

// converge takes the container from where it is to running; errAgain when someone else moved it.
func (e *Engine) converge(ctx context.Context, spec ContainerSpec, hash string) (c Container, err error) {
	c, err = e.inspect(ctx, spec.Name)
	switch {
	case errors.Is(err, ErrNotFound):
		if c, err = e.createContainer(ctx, spec, hash); err != nil {
			return c, err
		}
	case err != nil:
		return c, err
	}
	if err := e.checkOwner(c.Labels, spec.Labels); err != nil {
		return c, err
	}
	switch {
	case c.State == StateRemoving:
		return c, errAgain
	case c.State == StateDead || c.Labels[LabelSpec] != hash:
		return c, e.replace(ctx, c)
	case c.State == StatePaused:
		return c, e.unpause(ctx, c.ID)
	case c.State == StateRunning || c.State == StateRestarting:
		return c, nil
	}
	if c.StartedAt.IsZero() {
		if err := e.copyFiles(ctx, c.ID, spec.Mounts, spec.Files); err != nil {
			return c, moved(err)
		}
	}
	switch err := e.start(ctx, c.ID); {
	case errors.Is(err, errNetworkGone): // it remembers the network's id, so a new one of that name does not help it
		return c, e.replace(ctx, c)
	case err != nil:
		return c, moved(err)
	}
	c, err = e.inspect(ctx, c.ID)
	return c, moved(err)
}

// moved turns "it is gone" and "it is in another state" into errAgain.
func moved(err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) {
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	return err
}

// createContainer makes it, not started, or finds the one that a competitor made.
func (e *Engine) createContainer(ctx context.Context, spec ContainerSpec, hash string) (Container, error) {
	if err := e.checkSurroundings(ctx, spec); err != nil {
		return Container{}, err
	}
	call, done := making(ctx, linger)
	defer done()
	_, err := e.cli.ContainerCreate(call, e.config(spec, hash), e.hostConfig(spec), spec.networking(), nil, spec.Name)
	if err = explain(ctx, err); err != nil && !errors.Is(err, ErrConflict) {
		return Container{}, err
	}
	c, err := e.inspect(ctx, spec.Name)
	return c, moved(err)
}

// checkSurroundings finds network and volumes, and that they are ours: the Engine would mount anyone's volume.
func (e *Engine) checkSurroundings(ctx context.Context, spec ContainerSpec) error {
	nets, err := e.networksNamed(ctx, spec.Network)
	if err != nil {
		return fmt.Errorf("network %q: %w", spec.Network, err)
	}
	if len(nets) == 0 {
		return fmt.Errorf("network %q: %w", spec.Network, ErrNotFound)
	}
	for _, n := range nets {
		if err := e.checkOwner(n.Labels, spec.Labels); err != nil {
			return fmt.Errorf("network %q: %w", spec.Network, err)
		}
	}
	for _, m := range spec.Mounts {
		if _, err := e.ownVolume(ctx, m.Volume, spec.Labels); err != nil {
			return fmt.Errorf("volume %q: %w", m.Volume, err)
		}
	}
	return nil
}

// start starts it; while two networks of its name exist (see EnsureNetwork) it tries again.
func (e *Engine) start(ctx context.Context, id string) error {
	return retry(ctx, 5*time.Second, func() error {
		err := explain(ctx, e.cli.ContainerStart(ctx, id, container.StartOptions{}))
		switch {
		case err == nil:
			return nil
		case strings.Contains(err.Error(), "is ambiguous"):
			return err
		case errors.Is(err, ErrNotFound) && strings.Contains(err.Error(), "network"):
			return giveUp(fmt.Errorf("%w: %w", errNetworkGone, err))
		}
		return giveUp(err)
	})
}

// unpause lets it run on; the next look sees how it is then.
func (e *Engine) unpause(ctx context.Context, id string) error {
	if err := explain(ctx, e.cli.ContainerUnpause(ctx, id)); err != nil {
		return moved(err)
	}
	return errAgain
}

// replace removes a container so that the next look makes it anew. PostgreSQL in it gets its time to stop.
func (e *Engine) replace(ctx context.Context, c Container) error {
	e.log.Info().Str("container", c.Name).Str("state", string(c.State)).Msg("container replaced")
	if c.Running() {
		if err := explain(ctx, e.cli.ContainerStop(ctx, c.ID, container.StopOptions{})); err != nil {
			return moved(err)
		}
	}
	if err := e.removeContainer(ctx, c.ID); err != nil {
		return err
	}
	return errAgain
}

// survived looks whether the container stays up, for as long as the specification wants.
func (e *Engine) survived(ctx context.Context, spec ContainerSpec, c Container) (Container, error) {
	if spec.Settle > 0 {
		if err := e.settle(ctx, c.ID, spec.Settle); err != nil {
			return c, err
		}
		now, err := e.inspect(ctx, c.ID)
		if err != nil {
			return c, err
		}
		c.State, c.ExitCode, c.OOMKilled = now.State, now.ExitCode, now.OOMKilled
		if now.RestartCount > c.RestartCount {
			c.State = StateRestarting
		}
	}
	if c.Running() {
		return c, nil
	}
	reason := fmt.Sprintf("%s, exit code %d", c.State, c.ExitCode)
	if c.OOMKilled {
		reason += ", out of memory"
	}
	last, err := e.logs(ctx, c.ID, 20)
	if err != nil {
		last = "(no log: " + err.Error() + ")"
	}
	return c, fmt.Errorf("%w at its start (%s); its last words: %s", ErrDied, reason, redact(last, spec.Files))
}

// settle returns when the container ends, or stayed up for d.
func (e *Engine) settle(ctx context.Context, id string, d time.Duration) error {
	wait, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	ended, failed := e.cli.ContainerWait(wait, id, container.WaitConditionNotRunning)
	select {
	case <-ended:
	case err := <-failed:
		if wait.Err() == nil || ctx.Err() != nil {
			return explain(ctx, err)
		}
	}
	return nil
}

// redact blacks out the contents of files, line by line, where they are long enough to be a secret.
func redact(text string, files []File) string {
	for _, f := range files {
		for line := range bytes.Lines(f.Data) {
			if s := strings.TrimSpace(string(line)); len(s) >= 8 {
				text = strings.ReplaceAll(text, s, "[redacted]")
			}
		}
	}
	return strings.TrimSpace(text)
}
