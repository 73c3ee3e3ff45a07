package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// admitControl carries out a control request on its target: an operation,
// named by its id, its request's id or its dead letter, or an unreadable
// message, named by its dead letter. In the latter case the snapshot that the
// rule gets holds nothing but Now and Dead, the dead letter; Settle settles it.
func (s *Store) admitControl(ctx context.Context, q *dbsqlc.Queries, a jobs.Admission) (jobs.Operation, error) {
	operationID, letterID := a.TargetOperation, ""
	if a.TargetDeadLetter != "" {
		letter, err := openLetter(ctx, q, a.Request.Tenant, a.TargetDeadLetter)
		if err != nil {
			return jobs.Operation{}, err
		}
		if letter.OperationID != nil {
			operationID = *letter.OperationID
		} else {
			letterID = letter.ID
		}
	}
	if letterID != "" {
		if err := settleUnreadable(ctx, q, a, letterID); err != nil {
			return jobs.Operation{}, err
		}
		return s.tellControl(ctx, q, a, nil, nil)
	}
	u, err := s.control(ctx, q, a, operationID)
	if err != nil {
		return jobs.Operation{}, err
	}
	return s.tellControl(ctx, q, a, u, &u.after.cluster)
}

// control applies the rule to an operation and writes the result, all but its
// events.
func (s *Store) control(ctx context.Context, q *dbsqlc.Queries, a jobs.Admission, target string) (*unit, error) {
	p := dbsqlc.OperationGetParams{Tenant: a.Request.Tenant, RequestID: clean(target)}
	if isID(target) {
		p.ID = &target
	}
	row, err := q.OperationGet(ctx, p)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, &jobs.Error{Code: jobs.CodeUnknownOperation, Message: fmt.Sprintf(
			"there is no operation %q; the list of operations shows their ids", target)}
	}
	if err != nil {
		return nil, err
	}
	if row.ClusterID == nil {
		return nil, &jobs.Error{Code: jobs.CodeTooLate, Message: fmt.Sprintf("operation %s has ended", row.ID)}
	}
	if err := s.holdQuota(ctx, q, row.Tenant); err != nil {
		return nil, err
	}
	units, err := load(ctx, q, []string{row.ID})
	if err != nil {
		return nil, err
	}
	u := units[row.ID]
	if u == nil {
		return nil, errStale // pruned meanwhile
	}
	if err := u.apply(s, nil, a.Control); err != nil {
		return nil, err
	}
	// The replay of a creation that was rolled back makes its cluster anew.
	gone := func(r rows) bool { return jobs.ClusterState(r.cluster.State) == jobs.ClusterDeleted }
	if gone(u.before) && !gone(u.after) {
		err = s.withinQuota(ctx, q, row.Tenant, u.after.cluster.Spec, false)
	}
	return u, err
}

// tellControl writes the control operation, what it changed (u, nil where it
// is an unreadable message) and the events: accepted, those of the target,
// succeeded.
func (s *Store) tellControl(ctx context.Context, q *dbsqlc.Queries, a jobs.Admission, u *unit, row *dbsqlc.Cluster) (jobs.Operation, error) {
	var cluster *jobs.Cluster
	if row != nil {
		c := clusterOf(*row)
		cluster = &c
	}
	operation, err := insertOperation(ctx, q, a, cluster, nil, 2)
	if err != nil {
		return jobs.Operation{}, err
	}
	done := operation
	done.Seq = 0 // told counts them
	begin := []jobs.EventDraft{accepted(operation)}
	end := []jobs.EventDraft{{Type: jobs.OperationSucceededEv, Message: string(operation.Kind) + " is done"}}
	before, err := s.told(operation.AcceptedAt, &done, cluster, begin)
	if err != nil {
		return jobs.Operation{}, err
	}
	after, err := s.told(operation.AcceptedAt, &done, cluster, end)
	if err != nil {
		return jobs.Operation{}, err
	}
	if err := writeMessages(ctx, q, before); err != nil {
		return jobs.Operation{}, err
	}
	if u != nil {
		if err := s.write(ctx, q, []*unit{u}); err != nil {
			return jobs.Operation{}, err
		}
	}
	return operation, writeMessages(ctx, q, after)
}

// openLetter finds a dead letter that is still open.
func openLetter(ctx context.Context, q *dbsqlc.Queries, tenant, id string) (dbsqlc.DeadLetter, error) {
	unknown := &jobs.Error{Code: jobs.CodeUnknownOperation, Message: fmt.Sprintf(
		"there is no dead letter %q; the list of dead letters shows their ids", id)}
	if !isID(id) {
		return dbsqlc.DeadLetter{}, unknown
	}
	row, err := q.DeadLetterGet(ctx, dbsqlc.DeadLetterGetParams{ID: id, Tenant: tenant})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return row, unknown
	case err == nil && jobs.DeadLetterState(row.State) != jobs.DeadOpen:
		return row, &jobs.Error{Code: jobs.CodeNotFailed, Message: fmt.Sprintf(
			"dead letter %s was %s already; nothing is left to do with it", id, row.State)}
	default:
		return row, err
	}
}

// settleUnreadable applies the rule to the dead letter of a message that never
// became an operation.
func settleUnreadable(ctx context.Context, q *dbsqlc.Queries, a jobs.Admission, id string) error {
	row, err := q.DeadLetterLock(ctx, dbsqlc.DeadLetterLockParams{ID: id, Tenant: a.Request.Tenant})
	if err != nil {
		return err
	}
	letter, err := letterOf(row.Letter, row.State, row.Original)
	if err != nil {
		return err
	}
	now, err := q.Now(ctx)
	if err != nil {
		return err
	}
	snap := &jobs.Snapshot{Now: now, Dead: &letter}
	if err := a.Control(snap); err != nil || snap.Settle == "" {
		return err
	}
	return q.DeadLetterSettle(ctx, dbsqlc.DeadLetterSettleParams{ID: id, State: string(snap.Settle)})
}
