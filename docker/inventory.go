package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
)

// Object is one thing that exists on a host. A volume's ID is its name.
type Object struct {
	Host   Host
	ID     string
	Name   string
	Labels Labels
}

// Inventory is everything that some labels found, each kind sorted by name.
type Inventory struct {
	Containers []Object
	Volumes    []Object
	Networks   []Object
}

// Empty is true when nothing is there.
func (i Inventory) Empty() bool {
	return len(i.Containers) == 0 && len(i.Volumes) == 0 && len(i.Networks) == 0
}

// String names everything, for a log or an error.
func (i Inventory) String() string {
	var parts []string
	for _, kind := range []struct {
		word    string
		objects []Object
	}{{"container", i.Containers}, {"volume", i.Volumes}, {"network", i.Networks}} {
		for _, o := range kind.objects {
			parts = append(parts, kind.word+" "+o.Name)
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// Inventory finds everything of this instance that carries the labels; no labels find all of the instance.
func (e *Engine) Inventory(ctx context.Context, labels Labels) (inv Inventory, err error) {
	ctx, cancel, err := e.begin(ctx, callTimeout)
	defer cancel()
	if err != nil {
		return inv, fmt.Errorf("list inventory: %w", err)
	}
	if inv.Containers, err = e.listContainers(ctx, labels); err != nil {
		return inv, fmt.Errorf("list containers: %w", err)
	}
	if inv.Volumes, err = e.listVolumes(ctx, labels); err != nil {
		return inv, fmt.Errorf("list volumes: %w", err)
	}
	if inv.Networks, err = e.listNetworks(ctx, labels); err != nil {
		return inv, fmt.Errorf("list networks: %w", err)
	}
	return inv, nil
}

func (e *Engine) listContainers(ctx context.Context, labels Labels) ([]Object, error) {
	found, err := e.cli.ContainerList(ctx, container.ListOptions{All: true, Filters: e.mine(labels)})
	if err != nil {
		return nil, explain(ctx, err)
	}
	out := make([]Object, 0, len(found))
	for _, c := range found {
		name := c.ID
		if len(c.Names) > 0 {
			name = strings.TrimPrefix(c.Names[0], "/")
		}
		out = append(out, Object{Host: e.host, ID: c.ID, Name: name, Labels: c.Labels})
	}
	return byName(out), nil
}

func (e *Engine) listVolumes(ctx context.Context, labels Labels) ([]Object, error) {
	found, err := e.cli.VolumeList(ctx, volume.ListOptions{Filters: e.mine(labels)})
	if err != nil {
		return nil, explain(ctx, err)
	}
	out := make([]Object, 0, len(found.Volumes))
	for _, v := range found.Volumes {
		out = append(out, Object{Host: e.host, ID: v.Name, Name: v.Name, Labels: v.Labels})
	}
	return byName(out), nil
}

func (e *Engine) listNetworks(ctx context.Context, labels Labels) ([]Object, error) {
	found, err := e.cli.NetworkList(ctx, network.ListOptions{Filters: e.mine(labels)})
	if err != nil {
		return nil, explain(ctx, err)
	}
	out := make([]Object, 0, len(found))
	for _, n := range found {
		out = append(out, Object{Host: e.host, ID: n.ID, Name: n.Name, Labels: n.Labels})
	}
	return byName(out), nil
}

func byName(objects []Object) []Object {
	slices.SortFunc(objects, func(a, b Object) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return objects
}

// RemoveAll removes everything of this instance that carries the labels, also what appears while it works, and returns
// when nothing of it is left; keepVolumes leaves the data. No labels at all are refused with ErrInvalid, for that
// would be every cluster; who wants that says Remove(Inventory(ctx, nil)).
func (e *Engine) RemoveAll(ctx context.Context, labels Labels, keepVolumes bool) error {
	if len(labels) == 0 {
		return fmt.Errorf("remove everything: %w: no labels given", ErrInvalid)
	}
	return retry(ctx, time.Minute, func() error {
		inv, err := e.Inventory(ctx, labels)
		if keepVolumes {
			inv.Volumes = nil
		}
		if err != nil {
			return giveUp(err)
		}
		if inv.Empty() {
			return nil
		}
		if err := e.Remove(ctx, inv); err != nil {
			return giveUp(err)
		}
		return fmt.Errorf("%w: still there: %s", ErrConflict, inv)
	})
}

// Remove removes what an inventory lists: containers first, with their anonymous volumes, then networks, then volumes.
// What is gone already is a success. What is in use is tried again for a while: then ErrConflict says by whom. The
// others are removed nevertheless, and the errors joined.
func (e *Engine) Remove(ctx context.Context, inv Inventory) error {
	var errs []error
	each := func(kind string, objects []Object, remove func(context.Context, Object) error) {
		for _, o := range objects {
			err := e.checkInstance(o.Labels)
			if err == nil {
				err = e.bounded(ctx, o, remove)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("remove %s %q: %w", kind, o.Name, err))
			}
		}
	}
	each("container", inv.Containers, func(ctx context.Context, o Object) error { return e.removeContainer(ctx, o.ID) })
	each("network", inv.Networks, func(ctx context.Context, o Object) error { return e.removeNetwork(ctx, o.ID) })
	each("volume", inv.Volumes, func(ctx context.Context, o Object) error {
		return e.removeUntilGone(ctx, func() error { return e.cli.VolumeRemove(ctx, o.ID, false) })
	})
	return errors.Join(errs...)
}

func (e *Engine) bounded(ctx context.Context, o Object, remove func(context.Context, Object) error) error {
	ctx, cancel, err := e.begin(ctx, callTimeout)
	defer cancel()
	if err != nil {
		return err
	}
	return remove(ctx, o)
}

// removeNetwork disconnects whoever is still on the network, such as a psql that an operator attached.
func (e *Engine) removeNetwork(ctx context.Context, id string) error {
	return e.removeUntilGone(ctx, func() error {
		err := e.cli.NetworkRemove(ctx, id)
		if err == nil || !errors.Is(explain(ctx, err), ErrConflict) {
			return err
		}
		n, inspectErr := e.cli.NetworkInspect(ctx, id, network.InspectOptions{})
		if inspectErr != nil {
			return inspectErr
		}
		for container := range n.Containers {
			// Failures show in the next attempt to remove.
			_ = e.cli.NetworkDisconnect(ctx, id, container, true)
		}
		return err
	})
}
