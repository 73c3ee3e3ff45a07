package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// StartQueued moves up to limit operations from queued to active where their
// cluster has no active one and no earlier queued one, and their tenant has
// fewer than perTenant active ones (0 = no limit); tenants with fewer active
// operations come first. start is applied to each. It returns how many it
// started; one that cannot be started does not keep the others from it.
func (s *Store) StartQueued(ctx context.Context, limit, perTenant int, start jobs.Rule) (int, error) {
	if perTenant <= 0 {
		perTenant = math.MaxInt32
	}
	candidates, err := s.startable(ctx, limit, perTenant)
	if err != nil {
		return 0, err
	}
	total := 0
	var errs []error
	tenants, ids := byTenant(candidates)
	for _, tenant := range tenants {
		for batch := range slices.Chunk(ids[tenant], maxStarts) {
			n, err := s.startSome(ctx, tenant, batch, perTenant, start)
			total += n
			errs = append(errs, err)
			if errors.Is(err, jobs.ErrUnavailable) || ctx.Err() != nil {
				return total, errors.Join(errs...)
			}
		}
	}
	return total, errors.Join(errs...)
}

// maxStarts is how many operations start in one transaction.
const maxStarts = 32

// byTenant gives the tenants in the order of their first candidates, and each
// one's candidates in order.
func byTenant(candidates []dbsqlc.OperationStartableRow) (tenants []string, ids map[string][]string) {
	ids = map[string][]string{}
	for _, c := range candidates {
		if ids[c.Tenant] == nil {
			tenants = append(tenants, c.Tenant)
		}
		ids[c.Tenant] = append(ids[c.Tenant], c.ID)
	}
	return tenants, ids
}

func (s *Store) startable(ctx context.Context, limit, perTenant int) ([]dbsqlc.OperationStartableRow, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	p := dbsqlc.OperationStartableParams{PerTenant: int32(perTenant), Max: int32(limit)}
	rows, err := s.q.OperationStartable(ctx, p)
	return rows, translate("look for queued operations", err)
}

// startSome starts operations of one tenant in one transaction, one by one when
// the database refuses them together.
func (s *Store) startSome(ctx context.Context, tenant string, ids []string, perTenant int, start jobs.Rule) (int, error) {
	n, err := s.tryStart(ctx, tenant, ids, perTenant, start)
	switch {
	case err == nil || errors.Is(err, jobs.ErrUnavailable):
		return n, err
	case len(ids) == 1 && hasCode(err, codeUniqueViolation):
		return 0, nil // its cluster got an active operation meanwhile
	case len(ids) == 1 || n > 0:
		return n, err
	}
	var errs []error
	for _, id := range ids {
		one, err := s.startSome(ctx, tenant, []string{id}, perTenant, start)
		n += one
		errs = append(errs, err)
	}
	return n, errors.Join(errs...)
}

// tryStart starts those of the operations that still may: another worker may
// have been faster with them, or with others of their clusters or tenant. What
// the rule refuses is told beside the number of the others.
func (s *Store) tryStart(ctx context.Context, tenant string, ids []string, perTenant int, start jobs.Rule) (int, error) {
	var started []*unit
	var refused []error
	err := s.transact(ctx, "start operations", func(ctx context.Context, q *dbsqlc.Queries) error {
		started, refused = nil, nil
		// Whoever has the lock starts these; it may be suspended, and the other
		// tenants do not wait for that.
		if locked, err := q.TryLockName(ctx, "start/"+tenant); err != nil || !locked {
			return err
		}
		units, err := load(ctx, q, ids)
		if err != nil {
			return err
		}
		may, err := q.OperationMayStart(ctx, ids)
		if err != nil {
			return err
		}
		for _, m := range may {
			u := units[m.ID]
			if u == nil || int(m.Active)+len(started) >= perTenant {
				continue
			}
			if err := u.apply(s, nil, start); err != nil {
				refused = append(refused, fmt.Errorf("start operation %s: %w", m.ID, err))
				continue
			}
			started = append(started, u)
		}
		return s.write(ctx, q, started)
	})
	if err != nil {
		return 0, err
	}
	return len(started), errors.Join(refused...)
}

// Overdue gives the ids of active operations past their deadline.
func (s *Store) Overdue(ctx context.Context, limit int) ([]string, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	ids, err := s.q.OperationOverdue(ctx, int32(limit))
	return ids, translate("look for overdue operations", err)
}
