package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// localHost is the Engine of a single machine.
const localHost = "local"

// Admit persists a request as an operation in one transaction: the operation
// (queued), its steps (pending), for NewCluster the cluster (creating), the
// audit row, operation.accepted. For a control request it applies Control to
// its target in the same transaction, and the control operation is succeeded at
// once (see control.go). A refusal is a *jobs.Error (request_id_conflict,
// name_taken, quota_exceeded, unknown_cluster, unknown_operation, not_failed, or what Control
// returned) and changes nothing.
func (s *Store) Admit(ctx context.Context, a jobs.Admission) (jobs.Admitted, error) {
	var admitted jobs.Admitted
	a.Request = cleaned(a.Request)
	doing := fmt.Sprintf("admit request %q of tenant %q", a.Request.ID, a.Request.Tenant)
	err := s.transact(ctx, doing, func(ctx context.Context, q *dbsqlc.Queries) error {
		admitted = jobs.Admitted{}
		// The same request may arrive twice at once; one of them waits here
		// until the other is committed, and then finds it.
		if err := q.LockName(ctx, "request/"+a.Request.Tenant+"/"+a.Request.ID); err != nil {
			return err
		}
		known, operation, err := seen(ctx, q, a.Request)
		if err != nil || known {
			admitted = jobs.Admitted{Operation: operation, Duplicate: known}
			return err
		}
		switch a.Target {
		case jobs.NewCluster, jobs.ExistingCluster:
			admitted.Operation, err = s.admitWork(ctx, q, a)
		case jobs.AnotherOperation:
			admitted.Operation, err = s.admitControl(ctx, q, a)
		default:
			err = fmt.Errorf("kind %s has no target", a.Request.Kind)
		}
		return err
	})
	if err != nil {
		return jobs.Admitted{}, err
	}
	return admitted, nil
}

// Seen tells whether the request was admitted or rejected before, however long
// ago. The same id with other content is a *jobs.Error: request_id_conflict.
func (s *Store) Seen(ctx context.Context, req jobs.Request) (bool, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	known, _, err := seen(ctx, s.q, cleaned(req))
	return known, translate(fmt.Sprintf("look for request %q", req.ID), err)
}

// cleaned makes what a request says fit for columns. The body stays as it came.
func cleaned(req jobs.Request) jobs.Request {
	req.Tenant, req.ID, req.Hash, req.Kind = clean(req.Tenant), clean(req.ID), clean(req.Hash), jobs.KindName(clean(string(req.Kind)))
	req.Cluster, req.Source, req.Actor, req.Subject = clean(req.Cluster), clean(req.Source), clean(req.Actor), clean(req.Subject)
	return req
}

// seen tells whether the request was admitted or rejected before, however long
// ago: what was pruned gives no operation. The same id with other content is a
// conflict.
func seen(ctx context.Context, q *dbsqlc.Queries, req jobs.Request) (bool, jobs.Operation, error) {
	conflict := &jobs.Error{Code: jobs.CodeConflict, Message: fmt.Sprintf(
		"the request id %q was used before for a request with other content; send this one under an id of its own", req.ID)}
	row, err := q.OperationByRequest(ctx, dbsqlc.OperationByRequestParams{Tenant: req.Tenant, RequestID: req.ID})
	switch {
	case err == nil && row.RequestHash != req.Hash:
		return false, jobs.Operation{}, conflict
	case err == nil:
		o, err := operationOf(row)
		return true, o, err
	case !errors.Is(err, pgx.ErrNoRows):
		return false, jobs.Operation{}, err
	}
	hashes, err := q.PastRequestHashes(ctx, dbsqlc.PastRequestHashesParams{Tenant: req.Tenant, RequestID: req.ID})
	switch {
	case err != nil:
		return false, jobs.Operation{}, err
	case slices.Contains(hashes, req.Hash):
		return true, jobs.Operation{}, nil
	case len(hashes) > 0:
		return false, jobs.Operation{}, conflict
	default:
		return false, jobs.Operation{}, nil
	}
}

// admitWork admits a request that has steps.
func (s *Store) admitWork(ctx context.Context, q *dbsqlc.Queries, a jobs.Admission) (jobs.Operation, error) {
	cluster, err := s.targetCluster(ctx, q, a)
	if err != nil {
		return jobs.Operation{}, err
	}
	plan, err := a.Plan(jobs.PlanInput{
		Tenant: cluster.Tenant, Cluster: cluster.Name, ClusterID: cluster.ID, Spec: a.Spec, ClusterSpec: cluster.Spec,
	})
	if err != nil {
		return jobs.Operation{}, err
	}
	titles := make([]string, len(plan))
	for i, stage := range plan {
		titles[i] = stage.Title
	}
	operation, err := insertOperation(ctx, q, a, &cluster, titles, 1)
	if err != nil {
		return jobs.Operation{}, err
	}
	if err := insertSteps(ctx, q, operation.ID, plan, a.Weight); err != nil {
		return jobs.Operation{}, err
	}
	operation.Seq = 0 // told counts it
	messages, err := s.told(operation.AcceptedAt, &operation, &cluster, []jobs.EventDraft{accepted(operation)})
	if err != nil {
		return jobs.Operation{}, err
	}
	return operation, writeMessages(ctx, q, messages)
}

func accepted(o jobs.Operation) jobs.EventDraft {
	return jobs.EventDraft{Type: jobs.OperationAccepted, Message: fmt.Sprintf("%s of %s was accepted", o.Kind, o.Cluster)}
}

// targetCluster makes the cluster, within the tenant's quota, or finds and locks it.
func (s *Store) targetCluster(ctx context.Context, q *dbsqlc.Queries, a jobs.Admission) (jobs.Cluster, error) {
	req := a.Request
	if a.Target == jobs.ExistingCluster {
		p := dbsqlc.ClusterLockByNameParams{Tenant: req.Tenant, Name: req.Cluster}
		row, err := q.ClusterLockByName(ctx, p)
		if errors.Is(err, pgx.ErrNoRows) {
			return jobs.Cluster{}, &jobs.Error{Code: jobs.CodeUnknownCluster, Message: fmt.Sprintf(
				"there is no cluster %q; the list of clusters shows the names", req.Cluster)}
		}
		return clusterOf(row), err
	}
	id, err := newID()
	if err != nil {
		return jobs.Cluster{}, err
	}
	if err := s.holdQuota(ctx, q, req.Tenant); err != nil {
		return jobs.Cluster{}, err
	}
	row, err := q.ClusterInsert(ctx, dbsqlc.ClusterInsertParams{
		ID: id, Tenant: req.Tenant, Name: req.Cluster, Host: localHost, Spec: a.Spec,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return jobs.Cluster{}, &jobs.Error{Code: jobs.CodeNameTaken, Message: fmt.Sprintf(
			"a cluster %q exists already; choose another name, or delete that one first", req.Cluster)}
	}
	if err != nil {
		return jobs.Cluster{}, err
	}
	return clusterOf(row), s.withinQuota(ctx, q, req.Tenant, a.Spec, true)
}

// insertOperation writes the operation, its request and the audit. seq is
// how many events are told with it; a control request (no titles) is done at
// once. cluster is nil where there is none.
func insertOperation(ctx context.Context, q *dbsqlc.Queries, a jobs.Admission, cluster *jobs.Cluster,
	titles []string, seq int64) (jobs.Operation, error) {
	req := a.Request
	id, err := newID()
	if err != nil {
		return jobs.Operation{}, err
	}
	p := dbsqlc.OperationInsertParams{
		ID: id, Tenant: req.Tenant, RequestID: req.ID, RequestHash: req.Hash, Kind: string(req.Kind),
		Cluster: req.Cluster, Source: req.Source, Actor: req.Actor, Spec: a.Spec,
		Done: titles == nil, Stages: titles, Seq: seq, Timeout: a.OperationTimeout,
	}
	if cluster != nil {
		p.Cluster, p.ClusterID = cluster.Name, &cluster.ID
	}
	if p.Stages == nil {
		p.Stages = []string{}
	}
	if len(p.Spec) == 0 {
		p.Spec = []byte("{}")
	}
	row, err := q.OperationInsert(ctx, p)
	if err != nil {
		return jobs.Operation{}, fmt.Errorf("write the operation: %w", err)
	}
	header, err := json.Marshal(req.Header)
	if err != nil {
		return jobs.Operation{}, fmt.Errorf("write the request: %w", err)
	}
	body := req.Body
	if body == nil {
		body = []byte{}
	}
	original := dbsqlc.RequestInsertParams{OperationID: id, Subject: req.Subject, Header: header, Body: body}
	if err := q.RequestInsert(ctx, original); err != nil {
		return jobs.Operation{}, fmt.Errorf("write the request: %w", err)
	}
	o, err := operationOf(row)
	if err != nil {
		return o, err
	}
	entries := []jobs.AuditEntry{auditOf(o, jobs.OutcomeAccepted, "asked by "+req.Source)}
	if o.State.Final() {
		entries = append(entries, auditOf(o, jobs.Outcome(o.State), ""))
	}
	return o, writeAudit(ctx, q, entries)
}

func insertSteps(ctx context.Context, q *dbsqlc.Queries, operationID string, plan jobs.Plan, weight func(string) int) error {
	p := dbsqlc.StepInsertParams{OperationID: operationID}
	for i, stage := range plan {
		for _, step := range stage.Steps {
			w := 1
			if weight != nil {
				w = max(1, weight(step.Name))
			}
			p.Stages, p.Names = append(p.Stages, int32(i)), append(p.Names, step.Name)
			p.Nodes, p.Weights = append(p.Nodes, step.Node), append(p.Weights, int32(w))
		}
	}
	if len(p.Names) == 0 {
		return nil
	}
	if err := q.StepInsert(ctx, p); err != nil {
		return fmt.Errorf("write the steps: %w", err)
	}
	return nil
}

// Reject records a rejected request and tells operation.rejected; doing it
// again for the same (tenant, id, hash) changes nothing, nor does rejecting what
// was admitted, however long ago: a worker that was suspended after a refusal may wake when another
// one has admitted the same message.
func (s *Store) Reject(ctx context.Context, req jobs.Request, e *jobs.Error) error {
	req = cleaned(req)
	return s.transact(ctx, fmt.Sprintf("reject request %q", req.ID), func(ctx context.Context, q *dbsqlc.Queries) error {
		if err := q.LockName(ctx, "request/"+req.Tenant+"/"+req.ID); err != nil {
			return err
		}
		row, err := q.OperationByRequest(ctx, dbsqlc.OperationByRequestParams{Tenant: req.Tenant, RequestID: req.ID})
		if err == nil && row.RequestHash == req.Hash || err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		past, err := q.PastRequestHashes(ctx, dbsqlc.PastRequestHashesParams{Tenant: req.Tenant, RequestID: req.ID})
		if err != nil || slices.Contains(past, req.Hash) {
			return err
		}
		raw, err := encode(e)
		if err != nil {
			return err
		}
		n, err := q.RejectionInsert(ctx, dbsqlc.RejectionInsertParams{
			Tenant: req.Tenant, RequestID: req.ID, RequestHash: req.Hash, Kind: string(req.Kind), Cluster: req.Cluster,
			Error: raw,
		})
		if err != nil || n == 0 {
			return err
		}
		now, err := q.Now(ctx)
		if err != nil {
			return err
		}
		m, err := s.event(now, req.Tenant, jobs.OperationRejected, jobs.EventData{
			RequestID: req.ID, Kind: req.Kind, Cluster: req.Cluster, Error: e, Message: "the request was rejected: " + e.Message,
		})
		if err != nil {
			return err
		}
		rejected := jobs.AuditEntry{
			Tenant: req.Tenant, Actor: req.Actor, Action: string(req.Kind), Cluster: req.Cluster, RequestID: req.ID,
			Outcome: jobs.OutcomeRejected, Detail: e.Error(),
		}
		if err := writeAudit(ctx, q, []jobs.AuditEntry{rejected}); err != nil {
			return err
		}
		return writeMessages(ctx, q, []message{m})
	})
}
