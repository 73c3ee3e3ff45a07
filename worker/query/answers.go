package query

import (
	"context"
	"errors"
	"fmt"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// cluster finds the cluster that a question names.
func (s *Service) cluster(ctx context.Context, q question) (jobs.Cluster, error) {
	if q.Name == "" {
		return jobs.Cluster{}, jobs.Faults{{Field: "name", Message: "is missing: name the cluster"}}
	}
	c, err := s.opt.Store.ClusterByName(ctx, q.tenant, q.Name)
	if errors.Is(err, jobs.ErrNotFound) {
		return c, &jobs.Error{Code: jobs.CodeUnknownCluster, Message: fmt.Sprintf("there is no cluster %q; the list of clusters shows their names", q.Name)}
	}
	return c, err
}

func (s *Service) clusterGet(ctx context.Context, q question) (any, error) {
	c, err := s.cluster(ctx, q)
	if err != nil {
		return nil, err
	}
	return s.clusterView(ctx, c)
}

// clusterView is a cluster with its nodes and what works on it.
func (s *Service) clusterView(ctx context.Context, c jobs.Cluster) (jobs.ClusterView, error) {
	view, err := bareCluster(c)
	if err != nil {
		return view, err
	}
	nodes, err := s.opt.Store.Nodes(ctx, c.ID)
	if err != nil {
		return view, err
	}
	for _, n := range nodes {
		if n.Part == "node" {
			view.Nodes = append(view.Nodes, jobs.NodeView{
				Name: n.Name, Role: n.Role, State: n.State, Timeline: n.Timeline, LagBytes: n.LagBytes,
			})
		}
	}
	view.Operation, err = s.working(ctx, c)
	return view, err
}

// working is the id of the operation that works on a cluster; "" for none.
func (s *Service) working(ctx context.Context, c jobs.Cluster) (string, error) {
	for _, state := range []jobs.OperationState{jobs.OperationRunning, jobs.OperationUndoing} {
		ops, err := s.opt.Store.Operations(ctx, c.Tenant, jobs.OperationFilter{Cluster: c.Name, State: state, Limit: 1})
		if err != nil {
			return "", err
		}
		if len(ops) > 0 {
			return ops[0].ID, nil
		}
	}
	return "", nil
}

func (s *Service) clusterList(ctx context.Context, q question) (any, error) {
	clusters, err := s.opt.Store.Clusters(ctx, q.tenant, q.All, limit(q.Limit))
	if err != nil {
		return nil, err
	}
	views := make([]jobs.ClusterView, len(clusters))
	for i, c := range clusters {
		if views[i], err = bareCluster(c); err != nil {
			return nil, err
		}
	}
	return views, nil
}

func (s *Service) status(ctx context.Context, q question) (any, error) {
	c, err := s.cluster(ctx, q)
	if err != nil {
		return nil, err
	}
	view, err := s.opt.Inspector.Status(ctx, c)
	if err != nil {
		return nil, err
	}
	view.Operation, err = s.working(ctx, c)
	return view, err
}

// credentials leaves a trace before it tells anything: no trace, no answer.
func (s *Service) credentials(ctx context.Context, q question) (any, error) {
	c, err := s.cluster(ctx, q)
	if err != nil {
		return nil, err
	}
	creds, err := s.opt.Vault.Credentials(ctx, c, q.User)
	if err != nil {
		return nil, err
	}
	detail := fmt.Sprintf("credentials of user %s", creds.Username)
	if q.seal != "" {
		detail += ", sealed"
	}
	if q.claim != "" {
		detail += "; asked by " + q.claim
	}
	err = s.opt.Store.Audit(ctx, jobs.AuditEntry{
		Tenant: q.tenant, Actor: q.actor, Action: jobs.QueryCredentials, Cluster: c.Name,
		Outcome: jobs.OutcomeAnswered, Detail: detail,
	})
	return creds, err
}

func (s *Service) operationGet(ctx context.Context, q question) (any, error) {
	if q.ID == "" {
		return nil, jobs.Faults{{Field: "id", Message: "is missing: the operation's id, or its request's"}}
	}
	op, steps, err := s.opt.Store.Operation(ctx, q.tenant, q.ID)
	if errors.Is(err, jobs.ErrNotFound) {
		return nil, &jobs.Error{Code: jobs.CodeUnknownOperation, Message: fmt.Sprintf("there is no operation %q; the list of operations shows their ids", q.ID)}
	}
	if err != nil {
		return nil, err
	}
	view := operationView(op)
	view.Stages = op.Stages
	for _, st := range steps {
		view.Steps = append(view.Steps, s.stepView(st))
	}
	return view, nil
}

func (s *Service) operationList(ctx context.Context, q question) (any, error) {
	ops, err := s.opt.Store.Operations(ctx, q.tenant, jobs.OperationFilter{
		Cluster: q.Cluster, State: jobs.OperationState(q.State), Limit: limit(q.Limit),
	})
	if err != nil {
		return nil, err
	}
	views := make([]jobs.OperationView, len(ops))
	for i, op := range ops {
		views[i] = operationView(op)
	}
	return views, nil
}

func (s *Service) deadList(ctx context.Context, q question) (any, error) {
	letters, err := s.opt.Store.DeadLetters(ctx, q.tenant, q.All, limit(q.Limit))
	if err != nil {
		return nil, err
	}
	views := make([]jobs.DeadLetterView, len(letters))
	for i, d := range letters {
		views[i] = jobs.DeadLetterView{
			ID: d.ID, OperationID: d.OperationID, Kind: d.Kind, Cluster: d.Cluster,
			Reason: d.Reason, State: string(d.State), CreatedAt: d.CreatedAt,
		}
	}
	return views, nil
}

// deadGet finds a dead letter by its id, or the newest one of an operation.
func (s *Service) deadGet(ctx context.Context, q question) (any, error) {
	if q.ID == "" {
		return nil, jobs.Faults{{Field: "id", Message: "is missing: the dead letter's id, or its operation's"}}
	}
	d, err := s.opt.Store.DeadLetter(ctx, q.tenant, q.ID)
	if !errors.Is(err, jobs.ErrNotFound) {
		return partOf(d, q.Offset), err
	}
	letters, err := s.opt.Store.DeadLetters(ctx, q.tenant, true, maxLimit)
	if err != nil {
		return nil, err
	}
	for _, d := range letters {
		if d.OperationID == q.ID {
			d, err := s.opt.Store.DeadLetter(ctx, q.tenant, d.ID)
			return partOf(d, q.Offset), err
		}
	}
	return nil, &jobs.Error{Code: jobs.CodeUnknownOperation, Message: fmt.Sprintf("there is no dead letter %q; the list of dead letters shows their ids", q.ID)}
}

// partOf leaves as much of the original as an answer holds.
func partOf(d jobs.DeadLetter, offset int) jobs.DeadLetter {
	d.OriginalSize = len(d.Original)
	from := min(max(offset, 0), len(d.Original))
	d.Original = d.Original[from:min(from+jobs.MaxOriginalPart, len(d.Original))]
	return d
}

const maxLimit = 1000

// limit is how many rows a list has at most.
func limit(asked int) int {
	if asked <= 0 {
		return 100
	}
	return min(asked, maxLimit)
}
