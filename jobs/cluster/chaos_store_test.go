package cluster

import (
	"context"
	"maps"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store"
	"github.com/vcs-iaas/pgforeman/worker"
)

// gatedStore is one worker's way to the state database: its engine's (Store) and
// its catalogue's (State).
type gatedStore struct {
	w  *simWorker
	db *store.Store
}

var (
	_ worker.Store = gatedStore{}
	_ State        = gatedStore{}
)

func (g gatedStore) Admit(ctx context.Context, a jobs.Admission) (jobs.Admitted, error) {
	return call(ctx, g.w, "store.Admit", func(ctx context.Context) (jobs.Admitted, error) { return g.db.Admit(ctx, a) })
}

func (g gatedStore) Reject(ctx context.Context, req jobs.Request, e *jobs.Error) error {
	return call0(ctx, g.w, "store.Reject", func(ctx context.Context) error { return g.db.Reject(ctx, req, e) })
}

func (g gatedStore) Bury(ctx context.Context, d jobs.DeadLetter) error {
	return call0(ctx, g.w, "store.Bury", func(ctx context.Context) error { return g.db.Bury(ctx, d) })
}

func (g gatedStore) Seen(ctx context.Context, req jobs.Request) (bool, error) {
	return call(ctx, g.w, "store.Seen", func(ctx context.Context) (bool, error) { return g.db.Seen(ctx, req) })
}

func (g gatedStore) DeadLetter(ctx context.Context, tenant, id string) (jobs.DeadLetter, error) {
	return call(ctx, g.w, "store.DeadLetter", func(ctx context.Context) (jobs.DeadLetter, error) { return g.db.DeadLetter(ctx, tenant, id) })
}

func (g gatedStore) StartQueued(ctx context.Context, limit, perTenant int, start jobs.Rule) (int, error) {
	return call(ctx, g.w, "store.StartQueued", func(ctx context.Context) (int, error) {
		return g.db.StartQueued(ctx, limit, perTenant, start)
	})
}

func (g gatedStore) Claim(ctx context.Context, name string, limit int, steps []string, lease time.Duration) ([]jobs.Claimed, error) {
	return call(ctx, g.w, "store.Claim", func(ctx context.Context) ([]jobs.Claimed, error) {
		if err := g.w.lost("store.Claim"); err != nil {
			return nil, err
		}
		claimed, err := g.db.Claim(ctx, name, limit, steps, lease)
		g.w.sim.leased(claimed)
		return claimed, err
	})
}

func (g gatedStore) Renew(ctx context.Context, name string, leases []jobs.Lease, lease time.Duration) ([]jobs.Held, error) {
	return call(ctx, g.w, "store.Renew", func(ctx context.Context) ([]jobs.Held, error) {
		if err := g.w.lost("store.Renew"); err != nil {
			return nil, err
		}
		return g.db.Renew(ctx, name, leases, lease)
	})
}

func (g gatedStore) Release(ctx context.Context, leases []jobs.Lease) error {
	return call0(ctx, g.w, "store.Release", func(ctx context.Context) error {
		for _, l := range leases {
			g.w.sim.asked(l)
		}
		return g.release(ctx, leases)
	})
}

func (g gatedStore) Update(ctx context.Context, operation string, lease *jobs.Lease, rule jobs.Rule) error {
	return call0(ctx, g.w, "store.Update", func(ctx context.Context) error {
		if lease == nil {
			return g.db.Update(ctx, operation, nil, rule)
		}
		return g.update(ctx, operation, lease, g.w.sim.ending(*lease, rule))
	})
}

func (g gatedStore) Overdue(ctx context.Context, limit int) ([]string, error) {
	return call(ctx, g.w, "store.Overdue", func(ctx context.Context) ([]string, error) { return g.db.Overdue(ctx, limit) })
}

func (g gatedStore) NextWake(ctx context.Context, most time.Duration) (time.Duration, error) {
	return call(ctx, g.w, "store.NextWake", func(ctx context.Context) (time.Duration, error) { return g.db.NextWake(ctx, most) })
}

func (g gatedStore) Outbox(ctx context.Context, limit int) ([]jobs.Outgoing, error) {
	return call(ctx, g.w, "store.Outbox", func(ctx context.Context) ([]jobs.Outgoing, error) { return g.db.Outbox(ctx, limit) })
}

func (g gatedStore) Published(ctx context.Context, ids []int64) error {
	return call0(ctx, g.w, "store.Published", func(ctx context.Context) error { return g.db.Published(ctx, ids) })
}

func (g gatedStore) TakeDuty(ctx context.Context, name, who string, lease time.Duration) (bool, error) {
	return call(ctx, g.w, "store.TakeDuty", func(ctx context.Context) (bool, error) { return g.db.TakeDuty(ctx, name, who, lease) })
}

func (g gatedStore) GiveUpDuty(ctx context.Context, name, who string) error {
	return call0(ctx, g.w, "store.GiveUpDuty", func(ctx context.Context) error { return g.db.GiveUpDuty(ctx, name, who) })
}

func (g gatedStore) Prune(ctx context.Context, age time.Duration, batch int) (int, error) {
	return call(ctx, g.w, "store.Prune", func(ctx context.Context) (int, error) { return g.db.Prune(ctx, age, batch) })
}

func (g gatedStore) Ping(ctx context.Context) error {
	return call0(ctx, g.w, "store.Ping", g.db.Ping)
}

func (g gatedStore) Cluster(ctx context.Context, id string) (jobs.Cluster, error) {
	return call(ctx, g.w, "state.Cluster", func(ctx context.Context) (jobs.Cluster, error) { return g.db.Cluster(ctx, id) })
}

func (g gatedStore) LiveClusters(ctx context.Context) ([]jobs.Cluster, error) {
	return call(ctx, g.w, "state.LiveClusters", g.db.LiveClusters)
}

func (g gatedStore) ClusterStates(ctx context.Context, ids []string) (map[string]jobs.ClusterState, error) {
	return call(ctx, g.w, "state.ClusterStates", func(ctx context.Context) (map[string]jobs.ClusterState, error) {
		return g.db.ClusterStates(ctx, ids)
	})
}

// PutSecretsOnce also remembers the secrets, to look for them where they must
// not be.
func (g gatedStore) PutSecretsOnce(ctx context.Context, id string, secrets map[string][]byte) (map[string][]byte, error) {
	g.w.sim.secretsMade(maps.Clone(secrets))
	return call(ctx, g.w, "state.PutSecretsOnce", func(ctx context.Context) (map[string][]byte, error) {
		return g.db.PutSecretsOnce(ctx, id, secrets)
	})
}

func (g gatedStore) Secrets(ctx context.Context, id string) (map[string][]byte, error) {
	return call(ctx, g.w, "state.Secrets", func(ctx context.Context) (map[string][]byte, error) { return g.db.Secrets(ctx, id) })
}

// StageSecrets remembers the secrets as PutSecretsOnce does.
func (g gatedStore) StageSecrets(ctx context.Context, id, op string, secrets map[string][]byte) (map[string][]byte, error) {
	g.w.sim.secretsMade(maps.Clone(secrets))
	return call(ctx, g.w, "state.StageSecrets", func(ctx context.Context) (map[string][]byte, error) {
		return g.db.StageSecrets(ctx, id, op, secrets)
	})
}

func (g gatedStore) StagedSecrets(ctx context.Context, id, op string) (map[string][]byte, error) {
	return call(ctx, g.w, "state.StagedSecrets", func(ctx context.Context) (map[string][]byte, error) {
		return g.db.StagedSecrets(ctx, id, op)
	})
}

func (g gatedStore) AdoptSecrets(ctx context.Context, id, op string) error {
	return call0(ctx, g.w, "state.AdoptSecrets", func(ctx context.Context) error { return g.db.AdoptSecrets(ctx, id, op) })
}

func (g gatedStore) DropStagedSecrets(ctx context.Context, id, op string) error {
	return call0(ctx, g.w, "state.DropStagedSecrets", func(ctx context.Context) error { return g.db.DropStagedSecrets(ctx, id, op) })
}

func (g gatedStore) Operations(ctx context.Context, tenant string, f jobs.OperationFilter) ([]jobs.Operation, error) {
	return call(ctx, g.w, "state.Operations", func(ctx context.Context) ([]jobs.Operation, error) { return g.db.Operations(ctx, tenant, f) })
}

func (g gatedStore) AllocatePorts(ctx context.Context, id, host string, wants []jobs.PortWant, low, high int, avoid []int) (map[string]int, error) {
	return call(ctx, g.w, "state.AllocatePorts", func(ctx context.Context) (map[string]int, error) {
		return g.db.AllocatePorts(ctx, id, host, wants, low, high, avoid)
	})
}

func (g gatedStore) ReallocatePort(ctx context.Context, id, host, name string, low, high, not int) (int, error) {
	return call(ctx, g.w, "state.ReallocatePort", func(ctx context.Context) (int, error) {
		return g.db.ReallocatePort(ctx, id, host, name, low, high, not)
	})
}

func (g gatedStore) ForgetCluster(ctx context.Context, id string) error {
	return call0(ctx, g.w, "state.ForgetCluster", func(ctx context.Context) error { return g.db.ForgetCluster(ctx, id) })
}

func (g gatedStore) SaveNodes(ctx context.Context, id string, nodes []jobs.NodeRecord) error {
	return call0(ctx, g.w, "state.SaveNodes", func(ctx context.Context) error { return g.db.SaveNodes(ctx, id, nodes) })
}

func (g gatedStore) Nodes(ctx context.Context, id string) ([]jobs.NodeRecord, error) {
	return call(ctx, g.w, "state.Nodes", func(ctx context.Context) ([]jobs.NodeRecord, error) { return g.db.Nodes(ctx, id) })
}

func (g gatedStore) TellFacts(ctx context.Context, id string, facts []jobs.Fact, change *jobs.ClusterChange) error {
	return call0(ctx, g.w, "state.TellFacts", func(ctx context.Context) error { return g.db.TellFacts(ctx, id, facts, change) })
}
