package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
)

// NetworkSpec describes a private bridge network.
type NetworkSpec struct {
	Host     Host // empty is Local
	Name     string
	Labels   Labels
	Internal bool // without a way out; published ports do not work on one
}

// Network is a network that exists.
type Network struct {
	Host    Host
	ID      string
	Name    string
	Labels  Labels
	Created time.Time
}

// EnsureNetwork makes the network unless it exists. Docker allows several networks of one name, and a name with two
// networks can no longer be used; so when callers raced, one is kept (one with containers on it before an empty one,
// then the oldest) and the others are removed. Refer to the network by its name, which survives that.
//
// ErrForeign when the name belongs to someone else; ErrNoResources when the Engine has no address pool left, which by
// default happens at about thirty networks.
func (e *Engine) EnsureNetwork(ctx context.Context, spec NetworkSpec) (Network, error) {
	ctx, cancel, err := e.begin(ctx, callTimeout)
	defer cancel()
	if err != nil {
		return Network{}, fmt.Errorf("create network %q: %w", spec.Name, err)
	}
	n, err := e.ensureNetwork(ctx, spec)
	if err != nil {
		return Network{}, fmt.Errorf("create network %q: %w", spec.Name, err)
	}
	return Network{Host: e.host, ID: n.ID, Name: n.Name, Labels: n.Labels, Created: n.Created}, nil
}

func (e *Engine) ensureNetwork(ctx context.Context, spec NetworkSpec) (keep network.Summary, err error) {
	if spec.Name == "" {
		return keep, fmt.Errorf("%w: no name", ErrInvalid)
	}
	if err := e.checkHost(spec.Host); err != nil {
		return keep, err
	}
	for range 10 { // a competitor may remove ours in favour of its own, so look again
		found, err := e.networksNamed(ctx, spec.Name)
		if err != nil {
			return keep, err
		}
		for _, n := range found {
			if err := e.checkOwner(n.Labels, spec.Labels); err != nil {
				return keep, err
			}
		}
		if len(found) == 1 {
			return found[0], nil
		}
		if len(found) == 0 {
			err = e.createNetwork(ctx, spec)
		} else {
			err = e.removeTwins(ctx, found)
		}
		if err != nil {
			return keep, err
		}
	}
	return keep, fmt.Errorf("%w: it keeps being made and removed by others", ErrConflict)
}

func (e *Engine) createNetwork(ctx context.Context, spec NetworkSpec) error {
	call, done := making(ctx, linger)
	defer done()
	_, err := e.cli.NetworkCreate(call, spec.Name, network.CreateOptions{
		Driver:   "bridge",
		Internal: spec.Internal,
		Labels:   e.owned(spec.Labels),
	})
	err = explain(ctx, err)
	if errors.Is(err, ErrConflict) {
		return nil // someone was faster
	}
	return err
}

// networksNamed lists the networks of exactly this name, whosever they are.
func (e *Engine) networksNamed(ctx context.Context, name string) ([]network.Summary, error) {
	all, err := e.cli.NetworkList(ctx, network.ListOptions{
		Filters: filters.NewArgs(filters.Arg("name", "^"+regexp.QuoteMeta(name)+"$")),
	})
	if err != nil {
		return nil, explain(ctx, err)
	}
	return slices.DeleteFunc(all, func(n network.Summary) bool { return n.Name != name }), nil
}

// removeTwins leaves one of the networks of one name. All competitors choose the same.
func (e *Engine) removeTwins(ctx context.Context, twins []network.Summary) error {
	inUse := make(map[string]bool, len(twins))
	for _, n := range twins {
		full, err := e.cli.NetworkInspect(ctx, n.ID, network.InspectOptions{})
		if err != nil {
			if err = explain(ctx, err); errors.Is(err, ErrNotFound) {
				continue
			}
			return err
		}
		inUse[n.ID] = len(full.Containers) > 0
	}
	slices.SortFunc(twins, func(a, b network.Summary) int {
		if inUse[a.ID] != inUse[b.ID] {
			return map[bool]int{true: -1, false: 1}[inUse[a.ID]]
		}
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	for _, n := range twins[1:] {
		err := explain(ctx, e.cli.NetworkRemove(ctx, n.ID))
		if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrConflict) {
			return err
		}
		if err != nil {
			continue
		}
		e.log.Info().Str("network", n.Name).Str("id", n.ID).Msg("network twin removed")
	}
	return nil
}
