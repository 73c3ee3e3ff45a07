package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// holdQuota makes those who add to a tenant's clusters wait for each other, where
// the tenant has a quota: each counts what was committed before it. It is taken
// before the cluster's row, so that nobody waits in a circle.
func (s *Store) holdQuota(ctx context.Context, q *dbsqlc.Queries, tenant string) error {
	if !s.quotas.Of(tenant).Limited() {
		return nil
	}
	return q.LockName(ctx, "quota/"+tenant)
}

// withinQuota refuses a cluster that does not fit beside those that its tenant
// has: quota_exceeded, with the numbers. Clusters count from the moment they are
// asked for until they are deleted, those that failed too. counted tells that the
// cluster's own row is among them already.
func (s *Store) withinQuota(ctx context.Context, q *dbsqlc.Queries, tenant string, spec json.RawMessage, counted bool) error {
	quota := s.quotas.Of(tenant)
	if !quota.Limited() {
		return nil
	}
	var cluster jobs.ClusterSpec
	if err := json.Unmarshal(spec, &cluster); err != nil {
		return fmt.Errorf("read the specification: %w", err)
	}
	all, err := q.ClusterResources(ctx, tenant)
	if err != nil {
		return fmt.Errorf("count the tenant's clusters: %w", err)
	}
	asked := cluster.Resources()
	used := jobs.Resources{Clusters: int(all.Clusters), Nodes: int(all.Nodes), CPUs: all.Cpus, MemoryMB: all.MemoryMb}
	if counted {
		used.Clusters, used.Nodes = used.Clusters-asked.Clusters, used.Nodes-asked.Nodes
		used.CPUs, used.MemoryMB = used.CPUs-asked.CPUs, used.MemoryMB-asked.MemoryMB
	}
	if refusal := quota.Allow(tenant, asked, used); refusal != nil {
		return refusal
	}
	return nil
}
