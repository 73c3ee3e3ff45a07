//go:build failpoint

package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/cluster"
	"github.com/vcs-iaas/pgforeman/worker"
	"github.com/vcs-iaas/pgforeman/worker/query"
)

func withFailpointsStore(s worker.Store) worker.Store   { return failStore{s, &claimedSteps{}} }
func withFailpointsState(s cluster.State) cluster.State { return failState{s} }
func withFailpointsQuery(s query.Store) query.Store     { return failQuery{s} }

// failStore has a point before and after every commit of the engine.
type failStore struct {
	worker.Store
	claimed *claimedSteps
}

// claimedSteps knows the steps that this process has claimed, by their ids.
type claimedSteps struct{ names sync.Map }

func (s failStore) Admit(ctx context.Context, a worker.Admission) (worker.Admitted, error) {
	return around("store.Admit "+string(a.Request.Kind), func() (worker.Admitted, error) { return s.Store.Admit(ctx, a) })
}

func (s failStore) Reject(ctx context.Context, r jobs.Request, e *jobs.Error) error {
	return aroundError("store.Reject "+string(r.Kind), func() error { return s.Store.Reject(ctx, r, e) })
}

func (s failStore) Bury(ctx context.Context, d jobs.DeadLetter) error {
	return aroundError("store.Bury", func() error { return s.Store.Bury(ctx, d) })
}

// Update passes its first point inside the transaction, when it is known what
// would be committed.
func (s failStore) Update(ctx context.Context, id string, l *jobs.Lease, rule worker.Rule) error {
	what := ""
	err := s.Store.Update(ctx, id, l, s.announced("store.Update", l, rule, &what))
	if what != "" && err == nil {
		points.hit("after", what)
	}
	return err
}

func (s failStore) StartQueued(ctx context.Context, limit, perTenant int, start worker.Rule) (int, error) {
	what := ""
	n, err := s.Store.StartQueued(ctx, limit, perTenant, s.announced("store.StartQueued", nil, start, &what))
	if what != "" && err == nil {
		points.hit("after", what)
	}
	return n, err
}

// announced passes the point before a commit at the end of its rule.
func (s failStore) announced(method string, l *jobs.Lease, rule worker.Rule, what *string) worker.Rule {
	return func(sn *jobs.Snapshot) error {
		if err := rule(sn); err != nil {
			return err
		}
		if *what == "" { // once, however often the transaction is tried
			*what = strings.Join([]string{method, string(sn.Operation.Kind), s.stepOf(l), eventsOf(sn)}, " ")
			*what = strings.Join(strings.Fields(*what), " ")
			points.hit("before", *what)
		}
		return nil
	}
}

func (s failStore) stepOf(l *jobs.Lease) string {
	if l == nil {
		return ""
	}
	name, _ := s.claimed.names.Load(l.StepID)
	text, _ := name.(string)
	return text
}

// eventsOf are the types of the events of a commit. That a step was started is
// told together with its end, or before, as it takes long or not: it is a name of
// its own only where nothing else is told.
func eventsOf(sn *jobs.Snapshot) string {
	var types []string
	for _, e := range sn.Events {
		if e.Type != jobs.StepStarted || len(sn.Events) == 1 {
			types = append(types, string(e.Type))
		}
	}
	return strings.Join(types, "+")
}

func (s failStore) Claim(ctx context.Context, w string, limit int, steps []string, lease time.Duration) ([]jobs.Claimed, error) {
	claimed, err := s.Store.Claim(ctx, w, limit, steps, lease)
	var names []string
	for _, c := range claimed {
		name := c.Step.Step.String()
		if c.Step.Undoing {
			name = "undo " + name
		}
		s.claimed.names.Store(c.Lease.StepID, name)
		names = append(names, name)
	}
	if len(names) > 0 { // what is committed is known only afterwards
		points.hit("after", "store.Claim "+strings.Join(names, "+"))
	}
	return claimed, err
}

func (s failStore) Renew(ctx context.Context, w string, leases []jobs.Lease, lease time.Duration) ([]worker.Held, error) {
	return around("store.Renew", func() ([]worker.Held, error) { return s.Store.Renew(ctx, w, leases, lease) })
}

func (s failStore) Release(ctx context.Context, leases []jobs.Lease) error {
	return aroundError("store.Release", func() error { return s.Store.Release(ctx, leases) })
}

func (s failStore) Published(ctx context.Context, ids []int64) error {
	return aroundError("store.Published", func() error { return s.Store.Published(ctx, ids) })
}

func (s failStore) TakeDuty(ctx context.Context, name, w string, lease time.Duration) (bool, error) {
	return around("store.TakeDuty", func() (bool, error) { return s.Store.TakeDuty(ctx, name, w, lease) })
}

func (s failStore) GiveUpDuty(ctx context.Context, name, w string) error {
	return aroundError("store.GiveUpDuty", func() error { return s.Store.GiveUpDuty(ctx, name, w) })
}

func (s failStore) Prune(ctx context.Context, age time.Duration, batch int) (int, error) {
	return around("store.Prune", func() (int, error) { return s.Store.Prune(ctx, age, batch) })
}

// failQuery has a point before and after the one commit of the query service.
type failQuery struct{ query.Store }

func (s failQuery) Audit(ctx context.Context, e jobs.AuditEntry) error {
	return aroundError("query.Audit", func() error { return s.Store.Audit(ctx, e) })
}

// failState has a point before and after every commit of the catalogue.
type failState struct{ cluster.State }

func (s failState) PutSecretsOnce(ctx context.Context, id string, secrets map[string][]byte) (map[string][]byte, error) {
	return around("state.PutSecretsOnce", func() (map[string][]byte, error) { return s.State.PutSecretsOnce(ctx, id, secrets) })
}

func (s failState) StageSecrets(ctx context.Context, id, op string, secrets map[string][]byte) (map[string][]byte, error) {
	return around("state.StageSecrets", func() (map[string][]byte, error) { return s.State.StageSecrets(ctx, id, op, secrets) })
}

func (s failState) AdoptSecrets(ctx context.Context, id, op string) error {
	return aroundError("state.AdoptSecrets", func() error { return s.State.AdoptSecrets(ctx, id, op) })
}

func (s failState) DropStagedSecrets(ctx context.Context, id, op string) error {
	return aroundError("state.DropStagedSecrets", func() error { return s.State.DropStagedSecrets(ctx, id, op) })
}

func (s failState) Admit(ctx context.Context, a jobs.Admission) (jobs.Admitted, error) {
	return around("state.Admit", func() (jobs.Admitted, error) { return s.State.Admit(ctx, a) })
}

func (s failState) AllocatePorts(ctx context.Context, id, host string, wants []jobs.PortWant, low, high int, avoid []int) (map[string]int, error) {
	return around("state.AllocatePorts", func() (map[string]int, error) {
		return s.State.AllocatePorts(ctx, id, host, wants, low, high, avoid)
	})
}

func (s failState) ReallocatePort(ctx context.Context, id, host, name string, low, high, not int) (int, error) {
	return around("state.ReallocatePort", func() (int, error) {
		return s.State.ReallocatePort(ctx, id, host, name, low, high, not)
	})
}

func (s failState) ForgetCluster(ctx context.Context, id string) error {
	return aroundError("state.ForgetCluster", func() error { return s.State.ForgetCluster(ctx, id) })
}

func (s failState) SaveNodes(ctx context.Context, id string, nodes []jobs.NodeRecord) error {
	return aroundError("state.SaveNodes", func() error { return s.State.SaveNodes(ctx, id, nodes) })
}

func (s failState) TellFacts(ctx context.Context, id string, facts []jobs.Fact, change *jobs.ClusterChange) error {
	return aroundError("state.TellFacts", func() error { return s.State.TellFacts(ctx, id, facts, change) })
}
