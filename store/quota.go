package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// holdQuota makes the admissions of a tenant's clusters wait for each other,
// where the tenant has a quota: each counts what was committed before it. It is
// taken before the cluster's row, so that nobody waits in a circle.
func (s *Store) holdQuota(ctx context.Context, q *dbsqlc.Queries, a jobs.Admission) error {
	if a.Target != jobs.NewCluster || !s.quotas.Of(a.Request.Tenant).Limited() {
		return nil
	}
	return q.LockName(ctx, "quota/"+a.Request.Tenant)
}

// withinQuota refuses a new cluster, whose row is written already, that does not
// fit beside those that the tenant has: quota_exceeded, with the numbers.
// Clusters count from the moment they are asked for until they are deleted,
// those that failed too.
func (s *Store) withinQuota(ctx context.Context, q *dbsqlc.Queries, a jobs.Admission) error {
	quota := s.quotas.Of(a.Request.Tenant)
	if a.Target != jobs.NewCluster || !quota.Limited() {
		return nil
	}
	var spec jobs.ClusterSpec
	if err := json.Unmarshal(a.Spec, &spec); err != nil {
		return fmt.Errorf("read the specification: %w", err)
	}
	all, err := q.ClusterResources(ctx, a.Request.Tenant)
	if err != nil {
		return fmt.Errorf("count the tenant's clusters: %w", err)
	}
	asked := spec.Resources()
	used := jobs.Resources{
		Clusters: int(all.Clusters) - asked.Clusters, Nodes: int(all.Nodes) - asked.Nodes,
		CPUs: all.Cpus - asked.CPUs, MemoryMB: all.MemoryMb - asked.MemoryMB,
	}
	if refusal := quota.Allow(a.Request.Tenant, asked, used); refusal != nil {
		return refusal
	}
	return nil
}
