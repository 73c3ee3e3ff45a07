package store

import (
	"context"
	"fmt"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// The audit has a row for every request that was admitted or rejected and for
// every end of an operation, each written in the transaction that does what it
// tells of, and one for every reading of credentials. Rows are never changed;
// they outlive the operations and clusters they speak of.

// Audit records what somebody did. The store gives the time.
func (s *Store) Audit(ctx context.Context, e jobs.AuditEntry) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return translate("write the audit", writeAudit(ctx, s.q, []jobs.AuditEntry{e}))
}

// AuditTrail lists a tenant's audit, the newest first, or what is about one
// cluster of that name where it is given.
func (s *Store) AuditTrail(ctx context.Context, tenant, cluster string, limit int) ([]jobs.AuditEntry, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	p := dbsqlc.AuditListParams{Tenant: clean(tenant), Cluster: clean(cluster), Max: bounded(limit)}
	rows, err := s.q.AuditList(ctx, p)
	list := make([]jobs.AuditEntry, len(rows))
	for i, r := range rows {
		list[i] = jobs.AuditEntry{
			At: r.At, Tenant: r.Tenant, Actor: r.Actor, Action: r.Action, Cluster: r.Cluster,
			OperationID: r.OperationID, RequestID: r.RequestID, Outcome: jobs.Outcome(r.Outcome), Detail: r.Detail,
		}
	}
	return list, translate("read the audit", err)
}

func writeAudit(ctx context.Context, q *dbsqlc.Queries, entries []jobs.AuditEntry) error {
	if len(entries) == 0 {
		return nil
	}
	var p dbsqlc.AuditInsertParams
	for _, e := range entries {
		p.Tenants, p.Actors = append(p.Tenants, clean(e.Tenant)), append(p.Actors, clean(e.Actor))
		p.Actions, p.Clusters = append(p.Actions, clean(e.Action)), append(p.Clusters, clean(e.Cluster))
		p.OperationIds, p.RequestIds = append(p.OperationIds, clean(e.OperationID)), append(p.RequestIds, clean(e.RequestID))
		p.Outcomes, p.Details = append(p.Outcomes, string(e.Outcome)), append(p.Details, clean(e.Detail))
	}
	if err := q.AuditInsert(ctx, p); err != nil {
		return fmt.Errorf("write the audit: %w", err)
	}
	return nil
}

// auditOf is an entry about an operation.
func auditOf(o jobs.Operation, outcome jobs.Outcome, detail string) jobs.AuditEntry {
	return jobs.AuditEntry{
		Tenant: o.Tenant, Actor: o.Actor, Action: string(o.Kind), Cluster: o.Cluster,
		OperationID: o.ID, RequestID: o.RequestID, Outcome: outcome, Detail: detail,
	}
}

// ended gives the entry about the end that an operation has come to; false when
// it has not.
func (u *unit) ended() (jobs.AuditEntry, bool, error) {
	state := jobs.OperationState(u.after.operation.State)
	if !state.Final() || u.after.operation.State == u.before.operation.State {
		return jobs.AuditEntry{}, false, nil
	}
	o, err := operationOf(u.after.operation)
	if err != nil {
		return jobs.AuditEntry{}, false, err
	}
	detail := ""
	switch {
	case o.State == jobs.OperationCancelled && o.Undo != "":
		detail = "undone by " + string(o.Undo)
	case o.State == jobs.OperationFailed && o.Error != nil:
		detail = o.Error.Error()
	}
	return auditOf(o, jobs.Outcome(o.State), detail), true, nil
}
