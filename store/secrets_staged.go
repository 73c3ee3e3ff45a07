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

// Staged secrets are the new values that an operation, a rotation, has made and
// is bringing to the cluster's parts. Until it adopts them they stand beside
// those in use, sealed under a name of the operation's own, and Secrets does not
// give them. Only an operation that is under way may change them, so what an
// attempt does that wakes too late changes nothing.

// stagedPrefix begins the names of all staged secrets. No other has a slash.
const stagedPrefix = "next/"

func stagedBy(operationID string) string { return stagedPrefix + operationID + "/" }

// StageSecrets keeps an operation's new values of a cluster's secrets and gives
// what is stored: those that it staged before win, so that any number of
// attempts agree on one set. What other operations left staged is removed.
// jobs.ErrLeaseLost when the operation does not run, jobs.ErrNotFound as in
// PutSecretsOnce.
func (s *Store) StageSecrets(ctx context.Context, clusterID, operationID string, secrets map[string][]byte) (map[string][]byte, error) {
	var stored map[string][]byte
	err := s.whileIn(ctx, clusterID, operationID, jobs.OperationRunning, func(ctx context.Context, q *dbsqlc.Queries) error {
		all, err := s.openAll(ctx, q, clusterID)
		if err != nil {
			return err
		}
		if stored = named(all, stagedBy(operationID)); len(stored) > 0 {
			return nil
		}
		if err := dropStaged(ctx, q, clusterID, stagedPrefix); err != nil {
			return err
		}
		stored = maps.Clone(secrets)
		return s.replace(ctx, q, clusterID, stagedBy(operationID), secrets)
	})
	return stored, err
}

// StagedSecrets gives what an operation has staged by the names that it will
// have; an empty map when that is nothing, also after it was adopted.
func (s *Store) StagedSecrets(ctx context.Context, clusterID, operationID string) (map[string][]byte, error) {
	if s.keys == nil {
		return nil, errNoKeyring
	}
	if !isID(clusterID) {
		return map[string][]byte{}, nil
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	all, err := s.openAll(ctx, s.q, clusterID)
	return named(all, stagedBy(operationID)), translate("read the staged secrets of cluster "+clusterID, err)
}

// AdoptSecrets makes what an operation has staged the cluster's secrets; nothing
// happens when it did so before. Errors as in StageSecrets.
func (s *Store) AdoptSecrets(ctx context.Context, clusterID, operationID string) error {
	return s.whileIn(ctx, clusterID, operationID, jobs.OperationRunning, func(ctx context.Context, q *dbsqlc.Queries) error {
		all, err := s.openAll(ctx, q, clusterID)
		if err != nil {
			return err
		}
		if err := s.replace(ctx, q, clusterID, "", named(all, stagedBy(operationID))); err != nil {
			return err
		}
		return dropStaged(ctx, q, clusterID, stagedBy(operationID))
	})
}

// DropStagedSecrets forgets what an operation that is being undone has staged.
// jobs.ErrLeaseLost when it is not.
func (s *Store) DropStagedSecrets(ctx context.Context, clusterID, operationID string) error {
	return s.whileIn(ctx, clusterID, operationID, jobs.OperationUndoing, func(ctx context.Context, q *dbsqlc.Queries) error {
		return dropStaged(ctx, q, clusterID, stagedBy(operationID))
	})
}

// whileIn runs fn in a transaction in which the operation, which is on the
// cluster, is and stays in the state: whoever changes it locks the cluster first.
func (s *Store) whileIn(ctx context.Context, clusterID, operationID string, state jobs.OperationState,
	fn func(context.Context, *dbsqlc.Queries) error) error {
	return s.withSecrets(ctx, clusterID, func(ctx context.Context, q *dbsqlc.Queries) error {
		if !isID(operationID) {
			return fmt.Errorf("operation %q: %w", operationID, jobs.ErrNotFound)
		}
		now, err := q.OperationStateOf(ctx, dbsqlc.OperationStateOfParams{ID: operationID, ClusterID: clusterID})
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if jobs.OperationState(now) != state {
			return fmt.Errorf("operation %s is not %s: %w", operationID, state, jobs.ErrLeaseLost)
		}
		return fn(ctx, q)
	})
}

// replace keeps secrets under their names with the prefix before them.
func (s *Store) replace(ctx context.Context, q *dbsqlc.Queries, clusterID, prefix string, secrets map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		keyID, sealed, err := s.keys.seal(clusterID, prefix+name, secrets[name])
		if err != nil {
			return err
		}
		p := dbsqlc.SecretReplaceParams{ClusterID: clusterID, Name: prefix + name, KeyID: keyID, Sealed: sealed}
		if err := q.SecretReplace(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func dropStaged(ctx context.Context, q *dbsqlc.Queries, clusterID, prefix string) error {
	return q.SecretDeletePrefix(ctx, dbsqlc.SecretDeletePrefixParams{ClusterID: clusterID, Prefix: prefix})
}

// named gives those whose names begin with the prefix, without it.
func named(all map[string][]byte, prefix string) map[string][]byte {
	out := map[string][]byte{}
	for name, secret := range all {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			out[rest] = secret
		}
	}
	return out
}
