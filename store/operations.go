package store

import (
	"context"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// Operation gives a tenant's operation, by its id or its request's id, with its
// steps in order; jobs.ErrNotFound when there is none.
func (s *Store) Operation(ctx context.Context, tenant, id string) (jobs.Operation, []jobs.StepRecord, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	p := dbsqlc.OperationGetParams{Tenant: clean(tenant), RequestID: clean(id)}
	if isID(id) {
		p.ID = &id
	}
	row, err := s.q.OperationGet(ctx, p)
	if err != nil {
		return jobs.Operation{}, nil, translate("read the operation", err)
	}
	operation, err := operationOf(row)
	if err != nil {
		return jobs.Operation{}, nil, err
	}
	rows, err := s.q.StepList(ctx, []string{row.ID})
	if err != nil {
		return jobs.Operation{}, nil, translate("read the steps of operation "+row.ID, err)
	}
	steps := make([]jobs.StepRecord, len(rows))
	for i, r := range rows {
		step, err := stepOf(r.Step)
		if err != nil {
			return jobs.Operation{}, nil, err
		}
		steps[i] = *step
	}
	return operation, steps, nil
}

// Operations lists a tenant's operations, the newest first.
func (s *Store) Operations(ctx context.Context, tenant string, f jobs.OperationFilter) ([]jobs.Operation, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	rows, err := s.q.OperationList(ctx, dbsqlc.OperationListParams{
		Tenant: clean(tenant), Cluster: clean(f.Cluster), State: clean(string(f.State)), Max: bounded(f.Limit),
	})
	if err != nil {
		return nil, translate("list operations", err)
	}
	return operationsOf(rows)
}
