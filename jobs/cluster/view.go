package cluster

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/patroni"
	"github.com/vcs-iaas/pgforeman/jobs/postgres"
)

// view is a cluster looked at once. What could not be seen is missing from it.
type view struct {
	boxes     map[string]docker.Container // by part; none for a missing container
	members   map[string]patroni.Member   // by node, as etcd records them
	leader    string                      // empty when there is none, or none was seen
	followers map[string]postgres.Standby // by node, when the leader was asked
	asked     bool                        // the leader was asked and answered
}

// seeTimeout bounds one question of a look: a part that hangs must not hide the
// others for long.
const seeTimeout = 2 * time.Second

// see looks at the containers, at Patroni's record of the nodes and, when deep,
// at the leader's own view of its replicas. It fails only with the Engine.
func (c *Catalogue) see(ctx context.Context, s site, k keys, deep bool) (view, error) {
	v := view{
		boxes: map[string]docker.Container{}, members: map[string]patroni.Member{},
		followers: map[string]postgres.Standby{},
	}
	boxes, err := c.engine.Containers(ctx, s.labels())
	if err != nil {
		return v, explain(err)
	}
	for _, b := range boxes {
		v.boxes[b.Labels[docker.LabelNode]] = b
	}
	for _, node := range s.nodes() {
		if box, ok := v.boxes[node]; !ok || !box.Running() {
			continue
		}
		short, cancel := context.WithTimeout(ctx, seeTimeout)
		cluster, err := c.probe.members(short, s, k, node)
		cancel()
		if err != nil {
			continue
		}
		for _, m := range cluster.Members {
			v.members[m.Name] = m
		}
		if m, ok := cluster.Leader(); ok && v.up(m.Name) {
			v.leader = m.Name
		}
		break
	}
	if deep && v.leader != "" {
		c.askLeader(ctx, s, k, &v)
	}
	return v, nil
}

func (c *Catalogue) askLeader(ctx context.Context, s site, k keys, v *view) {
	short, cancel := context.WithTimeout(ctx, seeTimeout)
	defer cancel()
	followers, err := c.probe.replication(short, s, k, v.leader)
	if err != nil {
		return
	}
	v.asked = true
	for _, f := range followers {
		v.followers[f.Name] = f
	}
}

// up says that a part's container runs.
func (v view) up(part string) bool {
	box, ok := v.boxes[part]
	return ok && box.Running()
}

// down begins the state of a part that is not at work. A node stays down until
// it streams or leads again, so that each fall is told once and so is the return.
const down = "down"

func isDown(state string) bool { return strings.HasPrefix(state, down) }

// records are the states of all parts as seen, where prev is what was recorded
// before (it may be empty).
func (v view) records(s site, prev map[string]jobs.NodeRecord) []jobs.NodeRecord {
	parts := s.parts()
	out := make([]jobs.NodeRecord, 0, len(parts))
	for _, p := range parts {
		r := jobs.NodeRecord{ClusterID: s.ID, Name: p.name, Part: p.role}
		box, exists := v.boxes[p.name]
		switch {
		case !exists:
			r.State = down + ": its container is missing"
		case !box.Running():
			r.State = down + ": its container is " + string(box.State)
		case p.role == roleNode:
			v.node(&r, prev[p.name])
		default:
			r.State = "running"
		}
		if r.Role == "" && p.role == roleNode {
			r.Role = v.lastRole(prev[p.name])
		}
		out = append(out, r)
	}
	return out
}

// node fills in what Patroni and the leader say of a node whose container runs.
func (v view) node(r *jobs.NodeRecord, prev jobs.NodeRecord) {
	m, known := v.members[r.Name]
	r.Timeline, r.LagBytes = m.Timeline, m.Lag.Bytes
	state := m.State
	if known && m.Role != "leader" {
		r.Role = m.Role
	}
	switch f, follows := v.followers[r.Name]; {
	case r.Name == v.leader:
		r.Role, state = "leader", "running"
	case follows:
		state, r.LagBytes = f.State, max(0, f.LagBytes)
	case v.asked && state == "streaming":
		state = "not streaming" // what Patroni tells is up to a loop old
	}
	switch {
	case atWork(state):
		r.State = state
	case isDown(prev.State):
		r.State = down + ": " + cmp.Or(state, "not answering")
	default:
		r.State = cmp.Or(state, "not answering")
	}
}

// lastRole is the role of a node of which nothing is known now.
func (v view) lastRole(prev jobs.NodeRecord) string {
	if prev.Role == "leader" && v.leader != "" {
		return "replica"
	}
	return prev.Role
}

// atWork says that a state is one of a part that does what it is for.
func atWork(state string) bool { return state == "running" || state == "streaming" }

// ideal says that nothing is missing: every part at work, one leader, every
// replica streaming, a synchronous standby where there must be one.
func ideal(s site, records []jobs.NodeRecord) bool {
	leaders, standbys := 0, 0
	for _, r := range records {
		switch {
		case !atWork(r.State):
			return false
		case r.Part != roleNode:
			continue
		case r.Role == "leader":
			leaders++
		case r.State != "streaming":
			return false
		case isStandbyRole(r.Role):
			standbys++
		}
	}
	return leaders == 1 && (standbys > 0 || !s.synchronous())
}

// records looks at the cluster as deep as can be; parts that cannot be seen are
// recorded so.
func (c *Catalogue) records(ctx context.Context, s site, k keys, prev map[string]jobs.NodeRecord) []jobs.NodeRecord {
	v, err := c.see(ctx, s, k, true)
	if err != nil {
		c.log.Warn().Err(err).Str("cluster", s.Name).Msg("cluster not seen")
	}
	now := c.wall()
	out := v.records(s, prev)
	for i := range out {
		out[i].UpdatedAt = now
	}
	return out
}

func roleWords(role string) string { return strings.ReplaceAll(cmp.Or(role, "replica"), "_", " ") }
