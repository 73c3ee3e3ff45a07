package cluster

import (
	"context"
	"strings"

	"github.com/vcs-iaas/pgforeman/docker"
)

// reaping marks the context of the reaper.
type reaping struct{}

// ensured notes who made a thing last, or made sure that it was there: a worker that
// was suspended once may have come too late with it.
func (w *simWorker) ensured(kind, name string) {
	w.sim.mu.Lock()
	defer w.sim.mu.Unlock()
	w.sim.late[kind+" "+name] = w.slept.Load()
}

// judge looks at what the reaper is about to remove: only what came too late may
// have been left by the operation that was to remove it.
func (s *sim) judge(inv docker.Inventory) {
	s.mu.Lock()
	var left []string
	for kind, list := range map[string][]docker.Object{"container": inv.Containers, "network": inv.Networks, "volume": inv.Volumes} {
		for _, o := range list {
			if !s.late[kind+" "+o.Name] {
				left = append(left, kind+" "+o.Name)
			}
		}
	}
	s.mu.Unlock()
	if len(left) > 0 {
		s.violate(invOrphans, "an operation left it to the reaper: %s", strings.Join(left, ", "))
	}
}

// judged is the host to somebody whose removals are judged.
type judged struct {
	*simHost
	sim *sim
}

func (j judged) Remove(ctx context.Context, inv docker.Inventory) error {
	j.sim.judge(inv)
	return j.simHost.Remove(ctx, inv)
}
