package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// PutSecretsOnce keeps secrets of a cluster and returns, for the names given,
// what is stored: a secret that exists already wins, so that any number of
// attempts agree on one. jobs.ErrNotFound when there is no such cluster or it is
// deleted.
func (s *Store) PutSecretsOnce(ctx context.Context, clusterID string, secrets map[string][]byte) (map[string][]byte, error) {
	var stored map[string][]byte
	err := s.withSecrets(ctx, clusterID, func(ctx context.Context, q *dbsqlc.Queries) error {
		for _, name := range slices.Sorted(maps.Keys(secrets)) {
			keyID, sealed, err := s.keys.seal(clusterID, name, secrets[name])
			if err != nil {
				return err
			}
			p := dbsqlc.SecretInsertParams{ClusterID: clusterID, Name: name, KeyID: keyID, Sealed: sealed}
			if err := q.SecretInsert(ctx, p); err != nil {
				return err
			}
		}
		all, err := s.openAll(ctx, q, clusterID)
		if err != nil {
			return err
		}
		stored = make(map[string][]byte, len(secrets))
		for name := range secrets {
			stored[name] = all[name]
		}
		return nil
	})
	return stored, err
}

// ReplaceSecrets keeps new values of a cluster's secrets, for a rotation; those
// not named stay as they are. jobs.ErrNotFound as in PutSecretsOnce.
func (s *Store) ReplaceSecrets(ctx context.Context, clusterID string, secrets map[string][]byte) error {
	return s.withSecrets(ctx, clusterID, func(ctx context.Context, q *dbsqlc.Queries) error {
		return s.replace(ctx, q, clusterID, "", secrets)
	})
}

// Secrets gives all secrets of a cluster by name, without those that are only
// staged; none is an empty map.
func (s *Store) Secrets(ctx context.Context, clusterID string) (map[string][]byte, error) {
	if s.keys == nil {
		return nil, errNoKeyring
	}
	if !isID(clusterID) {
		return map[string][]byte{}, nil
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	all, err := s.openAll(ctx, s.q, clusterID)
	maps.DeleteFunc(all, func(name string, _ []byte) bool { return strings.HasPrefix(name, stagedPrefix) })
	return all, translate("read the secrets of cluster "+clusterID, err)
}

var errNoKeyring = errors.New("this process has no key file, so it cannot read or keep secrets")

func (s *Store) withSecrets(ctx context.Context, clusterID string, fn func(context.Context, *dbsqlc.Queries) error) error {
	if s.keys == nil {
		return errNoKeyring
	}
	return s.withCluster(ctx, "keep the secrets of cluster "+clusterID, clusterID,
		func(ctx context.Context, q *dbsqlc.Queries, _ dbsqlc.Cluster) error { return fn(ctx, q) })
}

func (s *Store) openAll(ctx context.Context, q *dbsqlc.Queries, clusterID string) (map[string][]byte, error) {
	rows, err := q.SecretList(ctx, clusterID)
	if err != nil {
		return nil, err
	}
	all := make(map[string][]byte, len(rows))
	for _, r := range rows {
		if all[r.Name], err = s.keys.open(r.ClusterID, r.Name, r.KeyID, r.Sealed); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// withCluster runs fn in a transaction that holds the row of a cluster which is
// not deleted; otherwise jobs.ErrNotFound.
func (s *Store) withCluster(ctx context.Context, doing, id string,
	fn func(context.Context, *dbsqlc.Queries, dbsqlc.Cluster) error) error {
	if !isID(id) {
		return fmt.Errorf("cluster %q: %w", id, jobs.ErrNotFound)
	}
	return s.transact(ctx, doing, func(ctx context.Context, q *dbsqlc.Queries) error {
		row, err := q.ClusterLock(ctx, id)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && jobs.ClusterState(row.State) == jobs.ClusterDeleted {
			return fmt.Errorf("cluster %s: %w", id, jobs.ErrNotFound)
		}
		if err != nil {
			return err
		}
		return fn(ctx, q, row)
	})
}
