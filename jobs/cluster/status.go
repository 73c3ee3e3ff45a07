package cluster

import (
	"cmp"
	"context"
	"fmt"
	"sync"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/postgres"
)

// Status looks at a cluster now: its containers, what Patroni records, the
// leader's pg_stat_replication and each replica's pg_stat_wal_receiver. What
// cannot be seen is told in Trouble; an error means that nothing can be seen,
// because the Engine or the state database does not answer.
func (c *Catalogue) Status(ctx context.Context, cluster jobs.Cluster) (jobs.StatusView, error) {
	s, err := siteOf(cluster)
	if err != nil {
		return jobs.StatusView{}, err
	}
	out := jobs.StatusView{ClusterView: jobs.ClusterView{
		ID: s.ID, Name: s.Name, Tenant: s.Tenant, State: string(s.State), Spec: s.spec,
		Nodes: []jobs.NodeView{}, Endpoints: s.Endpoints, CreatedAt: s.CreatedAt,
	}}
	if s.State == jobs.ClusterDeleted {
		return out, nil
	}
	k, err := c.state.Secrets(ctx, s.ID)
	if err != nil {
		return out, fmt.Errorf("read the secrets of cluster %s: %w", s.Name, err)
	}
	if ends, err := keys(k).term(s); err == nil { // else it has none yet
		out.CertificatesExpireAt = &ends.to
	}
	v, err := c.see(ctx, s, k, true)
	if err != nil {
		return out, err
	}
	records := v.records(s, nil)
	receivers := c.receivers(ctx, s, k, v)
	for _, r := range records {
		if r.Part == roleNode {
			out.Nodes = append(out.Nodes, jobs.NodeView{
				Name: r.Name, Role: r.Role, State: r.State, Timeline: r.Timeline, LagBytes: r.LagBytes,
			})
		}
		out.Parts = append(out.Parts, v.partStatus(r, receivers[r.Name]))
	}
	out.Trouble = troubles(s, records)
	if v.leader != "" && !v.asked {
		out.Trouble = append(out.Trouble, "the leader "+v.leader+" does not answer over SQL, so replication is told as Patroni last recorded it")
	}
	return out, nil
}

// receivers are the WAL receivers of all replicas that answer, asked together.
func (c *Catalogue) receivers(ctx context.Context, s site, k keys, v view) map[string]postgres.WALReceiver {
	ctx, cancel := context.WithTimeout(ctx, seeTimeout)
	defer cancel()
	out := map[string]postgres.WALReceiver{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, node := range s.nodes() {
		if node == v.leader || !v.up(node) {
			continue
		}
		all.Go(func() {
			r, err := c.probe.receiver(ctx, s, k, node)
			if err != nil {
				return // its state tells
			}
			mu.Lock()
			defer mu.Unlock()
			out[node] = r
		})
	}
	all.Wait()
	return out
}

func (v view) partStatus(r jobs.NodeRecord, receiver postgres.WALReceiver) jobs.PartStatus {
	p := jobs.PartStatus{
		Name: r.Name, Part: r.Part, Container: "missing",
		Role: r.Role, State: r.State, Timeline: r.Timeline, LagBytes: r.LagBytes,
		Receiver: receiver.Status, SenderHost: receiver.SenderHost,
	}
	if box, ok := v.boxes[r.Name]; ok {
		p.Container, p.Health = string(box.State), string(box.Health)
		if !box.Running() {
			p.Note = fmt.Sprintf("exit code %d", box.ExitCode)
			if box.OOMKilled {
				p.Note = "killed for want of memory"
			}
		}
	}
	if f, ok := v.followers[r.Name]; ok {
		p.ClientAddr, p.Streaming, p.SyncState = f.ClientAddr, f.State, f.SyncState
		p.SentLSN, p.WriteLSN, p.FlushLSN, p.ReplayLSN = lsn(f.Sent), lsn(f.Written), lsn(f.Flushed), lsn(f.Replayed)
	}
	if m := v.members[r.Name]; m.PendingRestart {
		p.Note = cmp.Or(p.Note, "waits for a restart to take over settings")
	}
	return p
}

// troubles say, a sentence each, what is not as it should be.
func troubles(s site, records []jobs.NodeRecord) []string {
	var out []string
	leader, standby := false, false
	for _, r := range records {
		if !atWork(r.State) {
			out = append(out, r.Name+" is "+r.State)
			continue
		}
		if r.Part != roleNode {
			continue
		}
		if r.Role == "leader" {
			leader = true
			continue
		}
		standby = standby || isStandbyRole(r.Role)
		if r.State != "streaming" {
			out = append(out, r.Name+" does not stream from the leader")
		}
	}
	switch {
	case !leader:
		out = append(out, "no node leads: writes are not possible")
	case s.synchronous() && !standby:
		out = append(out, "there is no synchronous standby: the loss of the leader could lose rows")
	}
	return out
}

// lsn writes a WAL position as PostgreSQL does.
func lsn(bytes int64) string {
	if bytes <= 0 {
		return ""
	}
	return fmt.Sprintf("%X/%X", bytes>>32, bytes&0xffffffff)
}
