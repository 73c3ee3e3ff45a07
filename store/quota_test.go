package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store"
)

// sized is a request for a cluster of so many nodes.
func sized(tenant, cluster string, nodes int) jobs.Admission {
	a := creation(tenant, "create-"+cluster, cluster)
	a.Spec = json.RawMessage(fmt.Sprintf(`{"name":%q,"nodes":%d,"cpus":0.5,"memory_mb":1024}`, cluster, nodes))
	return a
}

func TestTenAtOnceDoNotExceedAQuota(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	first := db.Open(t, store.Options{Quotas: jobs.Quotas{Default: jobs.Resources{Nodes: 10}}})
	second := db.Open(t, store.Options{Quotas: jobs.Quotas{Default: jobs.Resources{Nodes: 10}}})
	errs := atOnce(10, func(i int) error {
		s := []*store.Store{first, second}[i%2] // two workers
		_, err := s.Admit(ctx, sized("acme", name("c", i), 3))
		return err
	})
	admitted := 0
	for _, err := range errs {
		if err == nil {
			admitted++
			continue
		}
		refused(t, err, jobs.CodeQuota)
		require.ErrorContains(t, err, "nodes: asked for 3, used 9, limit 10")
	}
	require.Equal(t, 3, admitted)
	clusters, err := db.Clusters(ctx, "acme", true, 0)
	require.NoError(t, err)
	require.Len(t, clusters, 3, "a refusal leaves nothing")
}

func TestQuotaCountsATenantsLivingClusters(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	s := db.Open(t, store.Options{Quotas: jobs.Quotas{
		Default: jobs.Resources{Clusters: 2, CPUs: 3, MemoryMB: 5120}, Tenants: map[string]jobs.Resources{"free": {}},
	}})
	quotaError := func(a jobs.Admission) string {
		t.Helper()
		_, err := s.Admit(ctx, a)
		refused(t, err, jobs.CodeQuota)
		var e *jobs.Error
		require.True(t, errors.As(err, &e))
		return e.Message
	}
	admit(t, s, sized("acme", "one", 3))
	require.Contains(t, quotaError(sized("acme", "large", 4)), "cpus: asked for 2, used 1.5, limit 3; memory_mb: asked for 4096, used 3072, limit 5120")
	again := sized("acme", "one", 9)
	again.Request.ID, again.Request.Hash = "again", "again"
	_, err := s.Admit(ctx, again)
	refused(t, err, jobs.CodeNameTaken)

	for i := range 4 {
		admit(t, s, sized("free", name("f", i), 9))
	}
	admit(t, s, sized("acme", "two", 1))
	require.Contains(t, quotaError(sized("acme", "three", 1)), "clusters: asked for 1, used 2, limit 2")
	admit(t, s, deletion("acme", "delete", "one")) // what is no new cluster is not counted
	require.Contains(t, quotaError(sized("acme", "three", 1)), "clusters")
	db.Exec(t, "UPDATE clusters SET state = 'deleted', deleted_at = now() WHERE name = 'one'")
	admit(t, s, sized("acme", "three", 1))
}

func TestTheReplayOfWhatWasRolledBackCountsInTheQuota(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	s := db.Open(t, store.Options{Quotas: jobs.Quotas{Default: jobs.Resources{Clusters: 1}}})
	first := admit(t, s, sized("acme", "one", 1))
	startAll(t, s)
	require.NoError(t, s.Update(ctx, first.ID, nil, func(snap *jobs.Snapshot) error {
		snap.Cluster.State, snap.Cluster.DeletedAt = jobs.ClusterDeleted, &snap.Now
		return failed(snap)
	}))
	second := admit(t, s, sized("acme", "two", 1))
	replay := control("acme", "replay", jobs.OperationReplay, func(snap *jobs.Snapshot) error {
		snap.Cluster.State, snap.Cluster.DeletedAt = jobs.ClusterCreating, nil
		snap.Operation.State, snap.Operation.FinishedAt, snap.Settle = jobs.OperationQueued, nil, jobs.DeadReplayed
		return nil
	})
	replay.TargetOperation = first.ID
	_, err := s.Admit(ctx, replay)
	refused(t, err, jobs.CodeQuota)
	o, _, err := s.Operation(ctx, "acme", first.ID)
	require.NoError(t, err)
	require.Equal(t, jobs.OperationFailed, o.State, "a refusal changes nothing")

	require.NoError(t, s.Update(ctx, second.ID, nil, func(snap *jobs.Snapshot) error {
		snap.Cluster.State, snap.Cluster.DeletedAt = jobs.ClusterDeleted, &snap.Now
		return end(jobs.OperationCancelled)(snap)
	}))
	admit(t, s, replay)
}
