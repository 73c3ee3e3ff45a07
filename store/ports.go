package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// AllocatePorts gives a cluster its ports on a host, by purpose. It is
// idempotent: a purpose that has a port keeps it. A want with a port gets
// exactly that one, else a permanent *jobs.Error (port_taken); one without gets the
// lowest of low to high that no cluster has and that is not in avoid (ports
// found taken on the host), else *jobs.Error (no_resources). jobs.ErrNotFound:
// the cluster does not exist or is deleted.
func (s *Store) AllocatePorts(ctx context.Context, clusterID, host string, wants []jobs.PortWant,
	low, high int, avoid []int) (map[string]int, error) {
	// Those that know what they want first, so that nobody takes it from them.
	wants = slices.Clone(wants)
	slices.SortStableFunc(wants, func(a, b jobs.PortWant) int { return b.Port - a.Port })
	var ports map[string]int
	err := s.withPorts(ctx, clusterID, host, func(ctx context.Context, q *dbsqlc.Queries, has map[string]int) error {
		ports = make(map[string]int, len(wants))
		for _, w := range wants {
			port, ok := has[w.Name]
			var err error
			switch {
			case ok:
			case w.Port != 0:
				port, err = w.Port, exactPort(ctx, q, clusterID, host, w)
			default:
				port, err = freePort(ctx, q, clusterID, host, w.Name, 0, low, high, avoid)
			}
			if err != nil {
				return err
			}
			ports[w.Name] = port
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ports, nil
}

// ReallocatePort gives a cluster another port for one purpose, because not,
// which it has, was found taken on the host: a free one a little above it, then
// from low on. How far is left to chance: another pgforeman on the host, which
// has a state database of its own, has taken many ports in a row from low on. When the purpose has another port than not already, that one is
// the answer.
func (s *Store) ReallocatePort(ctx context.Context, clusterID, host, name string, low, high, not int) (int, error) {
	var port int
	err := s.withPorts(ctx, clusterID, host, func(ctx context.Context, q *dbsqlc.Queries, has map[string]int) error {
		var ok bool
		if port, ok = has[name]; ok && port != not {
			return nil
		}
		err := q.PortDeleteOne(ctx, dbsqlc.PortDeleteOneParams{ClusterID: clusterID, Name: name})
		if err != nil {
			return err
		}
		leap := rand.IntN(max((high-low)/50, 1))
		port, err = freePort(ctx, q, clusterID, host, name, not+leap, low, high, []int{not})
		return err
	})
	return port, err
}

// ForgetCluster removes what the store keeps for a cluster beside its record:
// ports, secrets, nodes. It may be called again. Only a cluster that is being
// deleted or undone is forgotten, else jobs.ErrLeaseLost: a worker that was
// suspended in an undo may wake when the cluster has been made anew.
func (s *Store) ForgetCluster(ctx context.Context, clusterID string) error {
	if !isID(clusterID) {
		return nil
	}
	return s.transact(ctx, "forget cluster "+clusterID, func(ctx context.Context, q *dbsqlc.Queries) error {
		row, err := q.ClusterLock(ctx, clusterID)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		goes, err := goes(ctx, q, row)
		if err != nil {
			return err
		}
		if !goes {
			return fmt.Errorf("forget cluster %s, which is %s: %w", clusterID, row.State, jobs.ErrLeaseLost)
		}
		return forget(ctx, q, clusterID)
	})
}

// goes tells whether a cluster is deleted, or on its way there.
func goes(ctx context.Context, q *dbsqlc.Queries, c dbsqlc.Cluster) (bool, error) {
	switch jobs.ClusterState(c.State) {
	case jobs.ClusterDeleting, jobs.ClusterDeleted:
		return true, nil
	case jobs.ClusterCreating, jobs.ClusterReady, jobs.ClusterDegraded, jobs.ClusterFailed:
	}
	return q.ClusterIsUndone(ctx, c.ID)
}

// forget removes what is kept beside a cluster's record.
func forget(ctx context.Context, q *dbsqlc.Queries, clusterID string) error {
	if err := q.PortDelete(ctx, clusterID); err != nil {
		return err
	}
	if err := q.SecretDelete(ctx, clusterID); err != nil {
		return err
	}
	return q.NodeDelete(ctx, clusterID)
}

// withPorts holds the cluster and, one allocation at a time, the host.
func (s *Store) withPorts(ctx context.Context, clusterID, host string,
	fn func(ctx context.Context, q *dbsqlc.Queries, has map[string]int) error) error {
	return s.withCluster(ctx, "allocate ports of cluster "+clusterID, clusterID,
		func(ctx context.Context, q *dbsqlc.Queries, _ dbsqlc.Cluster) error {
			if err := q.LockName(ctx, "ports/"+host); err != nil {
				return err
			}
			rows, err := q.PortList(ctx, clusterID)
			if err != nil {
				return err
			}
			has := make(map[string]int, len(rows))
			for _, r := range rows {
				has[r.Name] = int(r.Port)
			}
			return fn(ctx, q, has)
		})
}

func exactPort(ctx context.Context, q *dbsqlc.Queries, clusterID, host string, w jobs.PortWant) error {
	n, err := q.PortInsert(ctx, dbsqlc.PortInsertParams{Host: host, Port: int32(w.Port), ClusterID: clusterID, Name: w.Name})
	if err != nil {
		return err
	}
	if n == 0 {
		return jobs.Permanent(&jobs.Error{Code: jobs.CodePortTaken, Message: fmt.Sprintf(
			"port %d of host %s, asked for as the %s port, belongs to another cluster; ask for another one, or for 0 to get a free one",
			w.Port, host, w.Name)})
	}
	return nil
}

func freePort(ctx context.Context, q *dbsqlc.Queries, clusterID, host, name string, after, low, high int, avoid []int) (int, error) {
	p := dbsqlc.PortInsertFreeParams{
		Host: host, ClusterID: clusterID, Name: name, Low: int32(low), High: int32(high), After: int32(after),
		Avoid: make([]int32, len(avoid)),
	}
	for i, port := range avoid {
		p.Avoid[i] = int32(port)
	}
	port, err := q.PortInsertFree(ctx, p)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, &jobs.Error{Code: jobs.CodeNoResources, Retryable: true, Message: fmt.Sprintf(
			"no port from %d to %d of host %s is free; delete a cluster or widen the range", low, high, host)}
	}
	return int(port), err
}
