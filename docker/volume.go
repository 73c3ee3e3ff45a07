package docker

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/volume"
)

// VolumeSpec describes a named volume.
type VolumeSpec struct {
	Host   Host // empty is Local
	Name   string
	Labels Labels
}

// Volume is a volume that exists.
type Volume struct {
	Host   Host
	Name   string
	Labels Labels
}

// EnsureVolume makes the volume unless it exists; what is in it stays. ErrForeign when the name belongs to someone
// else, because mounting it would show one cluster another's data.
func (e *Engine) EnsureVolume(ctx context.Context, spec VolumeSpec) (Volume, error) {
	ctx, cancel, err := e.begin(ctx, callTimeout)
	defer cancel()
	if err != nil {
		return Volume{}, fmt.Errorf("create volume %q: %w", spec.Name, err)
	}
	v, err := e.ensureVolume(ctx, spec)
	if err != nil {
		return Volume{}, fmt.Errorf("create volume %q: %w", spec.Name, err)
	}
	return Volume{Host: e.host, Name: v.Name, Labels: v.Labels}, nil
}

func (e *Engine) ensureVolume(ctx context.Context, spec VolumeSpec) (v volume.Volume, err error) {
	if spec.Name == "" {
		return v, fmt.Errorf("%w: no name", ErrInvalid)
	}
	if err := e.checkHost(spec.Host); err != nil {
		return v, err
	}
	v, err = e.ownVolume(ctx, spec.Name, spec.Labels)
	if !errors.Is(err, ErrNotFound) {
		return v, err
	}
	// The Engine answers a second create of the same name with the volume that exists, so look whose it is.
	call, done := making(ctx, linger)
	defer done()
	_, err = e.cli.VolumeCreate(call, volume.CreateOptions{Name: spec.Name, Labels: e.owned(spec.Labels)})
	if err != nil {
		return v, explain(ctx, err)
	}
	return e.ownVolume(ctx, spec.Name, spec.Labels)
}

// ownVolume finds a volume and checks that it is of this instance and of the cluster in want.
func (e *Engine) ownVolume(ctx context.Context, name string, want Labels) (volume.Volume, error) {
	v, err := e.cli.VolumeInspect(ctx, name)
	if err != nil {
		return volume.Volume{}, explain(ctx, err)
	}
	return v, e.checkOwner(v.Labels, want)
}
