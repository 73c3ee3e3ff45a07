package main

import (
	"context"
	"errors"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs/cluster"
	"github.com/vcs-iaas/pgforeman/worker"
)

// heardEngine tells a probe how the calls of the Engine ended. Watch is not
// among them: its stream is silent for as long as nothing happens.
type heardEngine struct {
	cluster.Engine
	probe *worker.Probe
}

// heard passes the end of a call on. Every error but a few is an answer.
func (e heardEngine) heard(err error) {
	switch {
	case errors.Is(err, docker.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		e.probe.Unanswered()
	case errors.Is(err, context.Canceled), errors.Is(err, docker.ErrInvalid): // says nothing
	default:
		e.probe.Answered()
	}
}

func (e heardEngine) Info(ctx context.Context) (docker.Info, error) {
	i, err := e.Engine.Info(ctx)
	e.heard(err)
	return i, err
}

func (e heardEngine) EnsureNetwork(ctx context.Context, spec docker.NetworkSpec) (docker.Network, error) {
	n, err := e.Engine.EnsureNetwork(ctx, spec)
	e.heard(err)
	return n, err
}

func (e heardEngine) EnsureVolume(ctx context.Context, spec docker.VolumeSpec) (docker.Volume, error) {
	v, err := e.Engine.EnsureVolume(ctx, spec)
	e.heard(err)
	return v, err
}

func (e heardEngine) EnsureContainer(ctx context.Context, spec docker.ContainerSpec) (docker.Container, error) {
	c, err := e.Engine.EnsureContainer(ctx, spec)
	e.heard(err)
	return c, err
}

func (e heardEngine) Container(ctx context.Context, name string) (docker.Container, error) {
	c, err := e.Engine.Container(ctx, name)
	e.heard(err)
	return c, err
}

func (e heardEngine) Containers(ctx context.Context, labels docker.Labels) ([]docker.Container, error) {
	c, err := e.Engine.Containers(ctx, labels)
	e.heard(err)
	return c, err
}

func (e heardEngine) StartContainer(ctx context.Context, name string) error {
	err := e.Engine.StartContainer(ctx, name)
	e.heard(err)
	return err
}

func (e heardEngine) PutFiles(ctx context.Context, name string, files []docker.File) error {
	err := e.Engine.PutFiles(ctx, name, files)
	e.heard(err)
	return err
}

func (e heardEngine) Exec(ctx context.Context, name string, cmd []string, stdin []byte) (docker.ExecResult, error) {
	r, err := e.Engine.Exec(ctx, name, cmd, stdin)
	e.heard(err)
	return r, err
}

func (e heardEngine) Inventory(ctx context.Context, labels docker.Labels) (docker.Inventory, error) {
	i, err := e.Engine.Inventory(ctx, labels)
	e.heard(err)
	return i, err
}

func (e heardEngine) Remove(ctx context.Context, inv docker.Inventory) error {
	err := e.Engine.Remove(ctx, inv)
	e.heard(err)
	return err
}
