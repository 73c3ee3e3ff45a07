package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs/etcd"
)

// A container that keeps dying is started ever more seldom.
const (
	reviveFirst = time.Second
	reviveMost  = time.Minute
	// reviveCalm is how long it must have run for its deaths to be forgotten.
	reviveCalm = 2 * time.Minute
	// electionTime is how long a dead leader's start waits for another leader:
	// the start would take the processor from the election.
	electionTime = 5 * time.Second
)

// revival is the history of one part's starts.
type revival struct {
	tries int
	next  time.Time
}

// mend takes the leader key from dead leaders and starts what is dead.
func (k *keeper) mend(ctx context.Context, s site, v view, m *memory) {
	for _, p := range s.parts() {
		if box, ok := v.boxes[p.name]; !ok || !isDead(box.State) {
			continue
		}
		if p.role == roleNode {
			if err := k.revokeDead(ctx, s, m.keys, p.name); err != nil {
				k.log.Warn().Err(err).Str("cluster", s.Name).Str("node", p.name).Msg("leader key not taken from dead node")
			}
		}
		k.start(ctx, s, v, m, p)
	}
}

// isDead says that nothing of the container runs. A paused one is alive: it
// might go on at any time, believing that it leads.
func isDead(state docker.State) bool {
	return state == docker.StateExited || state == docker.StateDead || state == docker.StateCreated
}

// revokeDead takes the leader key from a node whose container is dead; nothing
// happens when another node holds it, or when the container runs again. The key
// is read before the container is looked at, so it is one from before its death.
func (c *Catalogue) revokeDead(ctx context.Context, s site, k keys, node string) error {
	seen, err := c.probe.leader(ctx, s, k)
	if errors.Is(err, etcd.ErrNoLeader) {
		return nil
	}
	if err != nil {
		return err
	}
	if seen.Node != node {
		return nil
	}
	box, err := c.engine.Container(ctx, s.container(node))
	if err != nil && !errors.Is(err, docker.ErrNotFound) {
		return err
	}
	if err == nil && !isDead(box.State) {
		return nil
	}
	revoked, err := c.probe.revoke(ctx, s, k, seen)
	if revoked {
		c.log.Info().Str("cluster", s.Name).Str("node", node).Msg("leader key taken from dead node")
	}
	return err
}

// start starts a dead part when its time has come.
func (k *keeper) start(ctx context.Context, s site, v view, m *memory, p part) {
	box := v.boxes[p.name]
	r := m.revive[p.name]
	if r == nil || box.FinishedAt.Sub(box.StartedAt) > reviveCalm {
		if r == nil || k.now().After(r.next) {
			r = &revival{}
			m.revive[p.name] = r
		}
	}
	if k.now().Before(r.next) {
		return
	}
	if p.role == roleNode && v.leader == "" && v.othersRun(s, p.name) && k.justDied(box) {
		return
	}
	r.next = k.now().Add(min(reviveFirst<<min(r.tries, 10), reviveMost))
	r.tries++
	err := k.engine.StartContainer(ctx, box.Name)
	switch {
	case errors.Is(err, docker.ErrNotFound): // removed meanwhile
	case err != nil:
		k.log.Warn().Err(err).Str("cluster", s.Name).Str("part", p.name).Msg("dead container not started")
	default:
		k.log.Info().Str("cluster", s.Name).Str("part", p.name).Int("exit_code", box.ExitCode).Msg("dead container started")
	}
}

// justDied says that an election may be under way. A death that lies in the
// future was written down before a clock was set back: nothing waits for that.
func (k *keeper) justDied(box docker.Container) bool {
	ago := k.wall().Sub(box.FinishedAt)
	return ago >= 0 && ago < electionTime
}

// othersRun says that another node's container runs, which could lead.
func (v view) othersRun(s site, node string) bool {
	for _, other := range s.nodes() {
		if other != node && v.up(other) {
			return true
		}
	}
	return false
}
