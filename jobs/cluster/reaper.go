package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// reapEvery is how often the reaper looks.
const reapEvery = time.Minute

// Reaper removes, until ctx ends, what bears this instance's label and belongs
// to a cluster that has been deleted: a worker that was suspended while it made
// it may have woken up after the deletion. What belongs to a cluster that the
// state database does not know is left alone and logged once: the database may
// have been restored from a backup.
func (c *Catalogue) Reaper(ctx context.Context) error {
	unknown := map[string]bool{}
	tick := time.NewTicker(reapEvery)
	defer tick.Stop()
	failing := false
	for {
		err := c.reap(ctx, unknown)
		if err != nil && ctx.Err() == nil && !failing {
			c.log.Warn().Err(err).Msg("leftovers not removed, trying on")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *Catalogue) reap(ctx context.Context, unknown map[string]bool) error {
	inv, err := c.engine.Inventory(ctx, docker.Labels{})
	if err != nil {
		return explain(err)
	}
	owners := map[string]docker.Inventory{}
	sort := func(objects []docker.Object, add func(*docker.Inventory, docker.Object)) {
		for _, o := range objects {
			if id := o.Labels[docker.LabelClusterID]; id != "" {
				of := owners[id]
				add(&of, o)
				owners[id] = of
			}
		}
	}
	sort(inv.Containers, func(i *docker.Inventory, o docker.Object) { i.Containers = append(i.Containers, o) })
	sort(inv.Networks, func(i *docker.Inventory, o docker.Object) { i.Networks = append(i.Networks, o) })
	sort(inv.Volumes, func(i *docker.Inventory, o docker.Object) { i.Volumes = append(i.Volumes, o) })
	if len(owners) == 0 {
		return nil
	}
	states, err := c.state.ClusterStates(ctx, slices.Sorted(maps.Keys(owners)))
	if err != nil {
		return fmt.Errorf("read the states of clusters: %w", err)
	}
	for id, left := range owners {
		switch state, known := states[id]; {
		case !known && !unknown[id]:
			unknown[id] = true
			c.log.Warn().Str("cluster_id", id).Stringer("objects", left).Msg("objects of an unknown cluster left alone")
		case state == jobs.ClusterDeleted:
			c.log.Info().Str("cluster_id", id).Stringer("objects", left).Msg("leftovers of a deleted cluster removed")
			if err := c.engine.Remove(ctx, left); err != nil {
				return explain(err)
			}
		}
	}
	return nil
}
