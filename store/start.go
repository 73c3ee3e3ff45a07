package store

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// StartQueued moves up to limit operations from queued to active where their
// cluster has no active one and no earlier queued one, and their tenant has
// fewer than perTenant active ones (0 = no limit); tenants with fewer active
// operations come first. start is applied to each in a transaction of its own.
// It returns how many it started; one that cannot be started does not keep the
// others from it.
func (s *Store) StartQueued(ctx context.Context, limit, perTenant int, start jobs.Rule) (int, error) {
	if perTenant <= 0 {
		perTenant = math.MaxInt32
	}
	candidates, err := s.startable(ctx, limit, perTenant)
	if err != nil {
		return 0, err
	}
	started := 0
	var errs []error
	for _, c := range candidates {
		ok, err := s.startOne(ctx, c, perTenant, start)
		if ok {
			started++
		}
		if err != nil {
			errs = append(errs, err)
		}
		if errors.Is(err, jobs.ErrUnavailable) || ctx.Err() != nil {
			break
		}
	}
	return started, errors.Join(errs...)
}

func (s *Store) startable(ctx context.Context, limit, perTenant int) ([]dbsqlc.OperationStartableRow, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	p := dbsqlc.OperationStartableParams{PerTenant: int32(perTenant), Max: int32(limit)}
	rows, err := s.q.OperationStartable(ctx, p)
	return rows, translate("look for queued operations", err)
}

// startOne starts one operation if it still may be: another worker may have
// been faster with it, or with another of its cluster or tenant.
func (s *Store) startOne(ctx context.Context, c dbsqlc.OperationStartableRow, perTenant int, start jobs.Rule) (bool, error) {
	started := false
	err := s.transact(ctx, "start operation "+c.ID, func(ctx context.Context, q *dbsqlc.Queries) error {
		started = false
		if err := q.LockName(ctx, "start/"+c.Tenant); err != nil {
			return err
		}
		units, err := load(ctx, q, []string{c.ID})
		if err != nil {
			return err
		}
		u := units[c.ID]
		if u == nil {
			return nil
		}
		may, err := q.OperationMayStart(ctx, dbsqlc.OperationMayStartParams{ID: c.ID, PerTenant: int32(perTenant)})
		if err != nil || !may {
			return err
		}
		if err := u.apply(s, nil, start); err != nil {
			return fmt.Errorf("apply the start rule: %w", err)
		}
		started = u.after.operation.State != u.before.operation.State
		return s.write(ctx, q, []*unit{u})
	})
	if hasCode(err, codeUniqueViolation) {
		return false, nil // the cluster got an active operation meanwhile
	}
	return started && err == nil, err
}

// Overdue gives the ids of active operations past their deadline.
func (s *Store) Overdue(ctx context.Context, limit int) ([]string, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	ids, err := s.q.OperationOverdue(ctx, int32(limit))
	return ids, translate("look for overdue operations", err)
}
