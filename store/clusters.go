package store

import (
	"context"
	"fmt"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// Cluster gives a cluster's record, a deleted one's too; jobs.ErrNotFound when
// there is none of that id.
func (s *Store) Cluster(ctx context.Context, id string) (jobs.Cluster, error) {
	if !isID(id) {
		return jobs.Cluster{}, fmt.Errorf("cluster %q: %w", id, jobs.ErrNotFound)
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	row, err := s.q.ClusterGet(ctx, id)
	return clusterOf(row), translate("read cluster "+id, err)
}

// ClusterByName gives a tenant's cluster, as long as it is not deleted;
// jobs.ErrNotFound when there is none.
func (s *Store) ClusterByName(ctx context.Context, tenant, name string) (jobs.Cluster, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	p := dbsqlc.ClusterGetByNameParams{Tenant: clean(tenant), Name: clean(name)}
	row, err := s.q.ClusterGetByName(ctx, p)
	return clusterOf(row), translate("read the cluster", err)
}

// Clusters lists a tenant's clusters by name; the deleted ones too when all is
// set.
func (s *Store) Clusters(ctx context.Context, tenant string, all bool, limit int) ([]jobs.Cluster, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	p := dbsqlc.ClusterListParams{Tenant: clean(tenant), Deleted: all, Max: bounded(limit)}
	rows, err := s.q.ClusterList(ctx, p)
	return clustersOf(rows), translate("list clusters", err)
}

// LiveClusters gives every tenant's clusters that are not deleted, for the
// keeper.
func (s *Store) LiveClusters(ctx context.Context) ([]jobs.Cluster, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	rows, err := s.q.ClusterListLive(ctx)
	return clustersOf(rows), translate("list clusters", err)
}

// ClusterStates gives the states of those of the clusters that are known.
func (s *Store) ClusterStates(ctx context.Context, ids []string) (map[string]jobs.ClusterState, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var known []string
	for _, id := range ids {
		if isID(id) {
			known = append(known, id)
		}
	}
	rows, err := s.q.ClusterStates(ctx, known)
	if err != nil {
		return nil, translate("read the states of clusters", err)
	}
	states := make(map[string]jobs.ClusterState, len(rows))
	for _, r := range rows {
		states[r.ID] = jobs.ClusterState(r.State)
	}
	return states, nil
}

// TellFacts publishes facts about a cluster that no operation tells, and
// changes its record in the same transaction. The state changes only between
// ready and degraded: when change asks for the state that the cluster has, or
// the cluster is in neither, nothing is changed and nothing told, so that two
// who see the same thing tell it once. jobs.ErrNotFound: the cluster does not
// exist or is deleted.
func (s *Store) TellFacts(ctx context.Context, clusterID string, facts []jobs.Fact, change *jobs.ClusterChange) error {
	return s.withCluster(ctx, "tell facts about cluster "+clusterID, clusterID,
		func(ctx context.Context, q *dbsqlc.Queries, before dbsqlc.Cluster) error {
			cluster := clusterOf(before)
			if change != nil && change.State != "" {
				if !alternates(cluster.State, change.State) {
					return nil
				}
				cluster.State = change.State
			}
			if change != nil && change.Endpoints != nil {
				cluster.Endpoints = *change.Endpoints
			}
			if change != nil {
				if err := writeCluster(ctx, q, before, clusterRow(before, &cluster)); err != nil {
					return err
				}
			}
			now, err := q.Now(ctx)
			if err != nil {
				return err
			}
			drafts := make([]jobs.EventDraft, len(facts))
			for i, f := range facts {
				drafts[i] = jobs.EventDraft{Type: f.Type, Node: f.Node, Message: f.Message, Details: f.Details}
			}
			messages, err := s.told(now, nil, &cluster, drafts)
			if err != nil {
				return err
			}
			return writeMessages(ctx, q, messages)
		})
}

func alternates(from, to jobs.ClusterState) bool {
	return from == jobs.ClusterReady && to == jobs.ClusterDegraded || from == jobs.ClusterDegraded && to == jobs.ClusterReady
}

// SaveNodes keeps the last known state of a cluster's containers; those not
// given are forgotten. jobs.ErrNotFound: the cluster does not exist or is
// deleted.
func (s *Store) SaveNodes(ctx context.Context, clusterID string, nodes []jobs.NodeRecord) error {
	return s.withCluster(ctx, "save the nodes of cluster "+clusterID, clusterID,
		func(ctx context.Context, q *dbsqlc.Queries, _ dbsqlc.Cluster) error {
			names, rows := make([]string, len(nodes)), make([]dbsqlc.NodeSaveParams, len(nodes))
			for i, n := range nodes {
				names[i] = n.Name
				rows[i] = dbsqlc.NodeSaveParams{
					ClusterID: clusterID, Name: n.Name, Part: n.Part, Role: n.Role, State: n.State,
					Timeline: int32(n.Timeline), LagBytes: n.LagBytes,
				}
			}
			others := dbsqlc.NodeDeleteOthersParams{ClusterID: clusterID, Names: names}
			if err := q.NodeDeleteOthers(ctx, others); err != nil || len(rows) == 0 {
				return err
			}
			var failed error
			q.NodeSave(ctx, rows).Exec(func(_ int, err error) {
				if failed == nil {
					failed = err
				}
			})
			return failed
		})
}

// Nodes gives the last known state of a cluster's containers: nodes, etcd
// members, proxies, by name.
func (s *Store) Nodes(ctx context.Context, clusterID string) ([]jobs.NodeRecord, error) {
	if !isID(clusterID) {
		return nil, nil
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	rows, err := s.q.NodeList(ctx, clusterID)
	nodes := make([]jobs.NodeRecord, len(rows))
	for i, r := range rows {
		nodes[i] = jobs.NodeRecord{
			ClusterID: r.ClusterID, Name: r.Name, Part: r.Part, Role: r.Role, State: r.State,
			Timeline: int(r.Timeline), LagBytes: r.LagBytes, UpdatedAt: r.UpdatedAt,
		}
	}
	return nodes, translate("read the nodes of cluster "+clusterID, err)
}
