package store

import (
	"context"

	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// Reseal seals again, with the key that seals now, every secret that another
// key sealed, and returns how many. Each batch is a transaction of its own: one
// that dies on the way leaves every secret sealed with a key of the file.
func (s *Store) Reseal(ctx context.Context) (int, error) {
	if s.keys == nil {
		return 0, errNoKeyring
	}
	const batch = 100
	for total := 0; ; {
		n, err := s.resealBatch(ctx, batch)
		total += n
		if err != nil || n < batch {
			return total, err
		}
	}
}

// resealBatch seals up to max secrets again.
func (s *Store) resealBatch(ctx context.Context, max int32) (int, error) {
	n := 0
	err := s.transact(ctx, "seal the secrets again", func(ctx context.Context, q *dbsqlc.Queries) error {
		n = 0
		rows, err := q.SecretListOtherKeys(ctx, dbsqlc.SecretListOtherKeysParams{KeyID: s.keys.First(), Max: max})
		if err != nil {
			return err
		}
		for _, r := range rows {
			plain, err := s.keys.open(r.ClusterID, r.Name, r.KeyID, r.Sealed)
			if err != nil {
				return err
			}
			keyID, sealed, err := s.keys.seal(r.ClusterID, r.Name, plain)
			if err != nil {
				return err
			}
			p := dbsqlc.SecretResealParams{ClusterID: r.ClusterID, Name: r.Name, KeyID: keyID, Sealed: sealed}
			if err := q.SecretReseal(ctx, p); err != nil {
				return err
			}
		}
		n = len(rows)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// SealedWith counts the secrets that each key sealed, by the key's id.
func (s *Store) SealedWith(ctx context.Context) (map[string]int, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	rows, err := s.q.SecretKeys(ctx)
	if err != nil {
		return nil, translate("count the secrets", err)
	}
	counts := make(map[string]int, len(rows))
	for _, r := range rows {
		counts[r.KeyID] = int(r.Secrets)
	}
	return counts, nil
}

// MissingKeys counts the secrets that no key of the file opens, by the id of the
// key that sealed them, and those that one does.
func (s *Store) MissingKeys(ctx context.Context) (missing map[string]int, opens int, err error) {
	if s.keys == nil {
		return nil, 0, errNoKeyring
	}
	counts, err := s.SealedWith(ctx)
	if err != nil {
		return nil, 0, err
	}
	missing = map[string]int{}
	for id, n := range counts {
		if s.keys.has(id) {
			opens += n
		} else {
			missing[id] = n
		}
	}
	return missing, opens, nil
}
