package worker

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func (m *memStore) StartQueued(ctx context.Context, limit, perTenant int, start Rule) (int, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	started := 0
	busy, active := map[string]bool{}, map[string]int{}
	for _, o := range m.ops {
		if o.op.State.Active() {
			busy[o.op.ClusterID] = true
			active[o.op.Tenant]++
		}
	}
	for _, o := range m.ops {
		if o.op.State != jobs.OperationQueued || started == limit {
			continue
		}
		waits := busy[o.op.ClusterID] || active[o.op.Tenant] >= perTenant
		busy[o.op.ClusterID] = true
		if waits {
			continue
		}
		if err := m.apply(o, nil, start); err != nil {
			return started, err
		}
		active[o.op.Tenant]++
		started++
	}
	return started, nil
}

func (m *memStore) Claim(ctx context.Context, worker string, limit int, names []string, lease time.Duration) ([]jobs.Claimed, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	now := time.Now()
	var claimed []jobs.Claimed
	for _, o := range m.ops {
		for _, st := range o.steps {
			ready := st.State == jobs.StepReady && !st.ReadyAt.After(now)
			left := st.State == jobs.StepRunning && st.LeaseUntil.Before(now)
			if len(claimed) == limit || !ready && !left || !slices.Contains(names, st.Name) || !o.op.State.Active() {
				continue
			}
			until := now.Add(lease)
			st.State, st.Owner, st.LeaseUntil = jobs.StepRunning, worker, &until
			st.Attempt++
			if st.StartedAt == nil {
				st.StartedAt = &now
			}
			claimed = append(claimed, m.claimed(o, st))
		}
	}
	return claimed, nil
}

func (m *memStore) claimed(o *memOp, st *jobs.StepRecord) jobs.Claimed {
	c := jobs.Claimed{
		Lease:     jobs.Lease{OperationID: o.op.ID, StepID: st.ID, Owner: st.Owner, Attempt: st.Attempt},
		Operation: o.op, Step: *st, Outputs: map[string]json.RawMessage{},
		Cluster: *m.cluster(func(c *jobs.Cluster) bool { return c.ID == o.op.ClusterID }),
	}
	for _, other := range o.steps {
		if other.ID != st.ID && other.Output != nil {
			c.Outputs[other.String()] = other.Output
		}
	}
	return c
}

func (m *memStore) step(l jobs.Lease) (*memOp, *jobs.StepRecord) {
	if o := m.op(l.OperationID); o != nil {
		for _, st := range o.steps {
			if st.ID == l.StepID && st.State == jobs.StepRunning && st.Owner == l.Owner && st.Attempt == l.Attempt {
				return o, st
			}
		}
	}
	return nil, nil
}

func (m *memStore) Renew(ctx context.Context, worker string, leases []jobs.Lease, lease time.Duration) ([]Held, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var held []Held
	for _, l := range leases {
		if o, st := m.step(l); st != nil && st.Owner == worker {
			until := time.Now().Add(lease)
			st.LeaseUntil = &until
			held = append(held, Held{Lease: l, Interrupt: o.op.State == jobs.OperationUndoing && !st.Undoing ||
				o.op.State == jobs.OperationRunning && o.op.Error != nil})
		}
	}
	return held, nil
}

func (m *memStore) Release(ctx context.Context, leases []jobs.Lease) error {
	leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for _, l := range leases {
		if _, st := m.step(l); st != nil {
			st.State, st.ReadyAt, st.LeaseUntil = jobs.StepReady, time.Now(), nil
		}
	}
	return nil
}

func (m *memStore) Update(ctx context.Context, id string, lease *jobs.Lease, rule Rule) error {
	leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	o := m.op(id)
	if o == nil {
		return jobs.ErrNotFound
	}
	return m.apply(o, lease, rule)
}

func (m *memStore) Overdue(ctx context.Context, _ int) ([]string, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var late []string
	for _, o := range m.ops {
		if o.op.State.Active() && o.op.Deadline != nil && o.op.Deadline.Before(time.Now()) {
			late = append(late, o.op.ID)
		}
	}
	return late, nil
}

func (m *memStore) NextWake(ctx context.Context, most time.Duration) (time.Duration, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	next := most
	for _, o := range m.ops {
		for _, st := range o.steps {
			if st.State == jobs.StepReady {
				next = min(next, max(0, time.Until(st.ReadyAt)))
			}
			if st.State == jobs.StepRunning {
				next = min(next, max(0, time.Until(*st.LeaseUntil)))
			}
		}
	}
	return next, nil
}

func (m *memStore) Outbox(ctx context.Context, limit int) ([]jobs.Outgoing, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return slices.Clone(m.outbox[:min(limit, len(m.outbox))]), nil
}

func (m *memStore) Published(ctx context.Context, ids []int64) error {
	leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	m.outbox = slices.DeleteFunc(m.outbox, func(o jobs.Outgoing) bool { return slices.Contains(ids, o.ID) })
	return nil
}

func (m *memStore) TakeDuty(ctx context.Context, _, worker string, lease time.Duration) (bool, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	if m.duty != "" && m.duty != worker && m.dutyTill.After(time.Now()) {
		return false, nil
	}
	m.duty, m.dutyTill = worker, time.Now().Add(lease)
	return true, nil
}

func (m *memStore) GiveUpDuty(ctx context.Context, _, worker string) error {
	leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if m.duty == worker {
		m.duty = ""
	}
	return nil
}

func (m *memStore) Prune(ctx context.Context, _ time.Duration, _ int) (int, error) {
	return 0, ctx.Err()
}

func (m *memStore) Ping(ctx context.Context) error {
	leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	leave()
	return nil
}

// DeadLetters, Operation and Cluster are the store's queries, as tests use them.
func (m *memStore) DeadLetters(ctx context.Context, tenant string, all bool, _ int) ([]jobs.DeadLetter, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	var list []jobs.DeadLetter
	for _, d := range m.letters {
		if d.Tenant == tenant && (all || d.State == jobs.DeadOpen) {
			list = append(list, *d)
		}
	}
	return list, nil
}

func (m *memStore) Operation(ctx context.Context, tenant, id string) (jobs.Operation, []jobs.StepRecord, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return jobs.Operation{}, nil, err
	}
	defer leave()
	for _, o := range m.ops {
		if o.op.Tenant == tenant && (o.op.ID == id || o.op.RequestID == id) {
			var steps []jobs.StepRecord
			for _, st := range o.steps {
				steps = append(steps, *st)
			}
			return o.op, steps, nil
		}
	}
	return jobs.Operation{}, nil, jobs.ErrNotFound
}

func (m *memStore) Cluster(ctx context.Context, id string) (jobs.Cluster, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return jobs.Cluster{}, err
	}
	defer leave()
	if c := m.cluster(func(c *jobs.Cluster) bool { return c.ID == id }); c != nil {
		return *c, nil
	}
	return jobs.Cluster{}, jobs.ErrNotFound
}
