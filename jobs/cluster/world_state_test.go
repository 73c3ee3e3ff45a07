package cluster

import (
	"context"
	"maps"
	"slices"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func (w *world) Cluster(_ context.Context, id string) (jobs.Cluster, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := w.clusters[id]; ok {
		return c, nil
	}
	return jobs.Cluster{}, jobs.ErrNotFound
}

func (w *world) LiveClusters(context.Context) ([]jobs.Cluster, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Values(w.clusters)), nil
}

func (w *world) ClusterStates(_ context.Context, ids []string) (map[string]jobs.ClusterState, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]jobs.ClusterState{}
	for _, id := range ids {
		if c, ok := w.clusters[id]; ok {
			out[id] = c.State
		}
	}
	return out, nil
}

func (w *world) PutSecretsOnce(_ context.Context, _ string, s map[string][]byte) (map[string][]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.secrets == nil {
		w.secrets = s
	}
	return w.secrets, nil
}

func (w *world) Secrets(context.Context, string) (map[string][]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.secrets, nil
}

func (w *world) StageSecrets(_ context.Context, _, op string, s map[string][]byte) (map[string][]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.staged[op]; !ok {
		w.staged = map[string]map[string][]byte{op: s}
	}
	return w.staged[op], nil
}

func (w *world) StagedSecrets(_ context.Context, _, op string) (map[string][]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.staged[op], nil
}

func (w *world) AdoptSecrets(_ context.Context, _, op string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets = keys(w.secrets).with(w.staged[op])
	delete(w.staged, op)
	return nil
}

func (w *world) DropStagedSecrets(_ context.Context, _, op string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.staged, op)
	return nil
}

// Admit keeps operations queued: nothing carries them out.
func (w *world) Admit(_ context.Context, a jobs.Admission) (jobs.Admitted, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.admitted {
		if o.RequestID == a.Request.ID {
			return jobs.Admitted{Operation: o, Duplicate: true}, nil
		}
	}
	o := jobs.Operation{
		ID: "op-" + a.Request.ID, RequestID: a.Request.ID, Tenant: a.Request.Tenant, Kind: a.Request.Kind, Cluster: a.Request.Cluster,
		Source: a.Request.Source, Actor: a.Request.Actor, Spec: a.Spec, State: jobs.OperationQueued,
	}
	w.admitted = append([]jobs.Operation{o}, w.admitted...)
	return jobs.Admitted{Operation: o}, nil
}

func (w *world) Operations(context.Context, string, jobs.OperationFilter) ([]jobs.Operation, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.admitted), nil
}

func (w *world) AllocatePorts(_ context.Context, _, _ string, wants []jobs.PortWant, low, _ int, _ []int) (map[string]int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ports == nil {
		w.ports = map[string]int{}
	}
	for i, want := range wants {
		if _, ok := w.ports[want.Name]; ok {
			continue
		}
		if w.ports[want.Name] = want.Port; want.Port == 0 {
			w.ports[want.Name] = low + i
		}
	}
	return maps.Clone(w.ports), nil
}

func (w *world) ReallocatePort(_ context.Context, _, _, name string, _, _, not int) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ports[name] = not + 10
	return not + 10, nil
}

func (w *world) ForgetCluster(context.Context, string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets, w.ports, w.nodes = nil, nil, nil
	return nil
}

func (w *world) SaveNodes(_ context.Context, _ string, n []jobs.NodeRecord) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes = slices.Clone(n)
	return nil
}

func (w *world) Nodes(context.Context, string) ([]jobs.NodeRecord, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.nodes), nil
}

func (w *world) TellFacts(_ context.Context, id string, facts []jobs.Fact, change *jobs.ClusterChange) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.clusters[id]
	if change != nil {
		if c.State == change.State {
			return nil
		}
		c.State = change.State
		w.clusters[id] = c
	}
	w.told = append(w.told, facts...)
	return nil
}
