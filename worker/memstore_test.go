package worker

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// memStore is a Store in memory with the same promises: one lock is its
// transaction.
type memStore struct {
	mu       sync.Mutex
	queries  int      // calls so far
	ops      []*memOp // in order of arrival
	clusters []*jobs.Cluster
	rejected map[string]*jobs.Error
	letters  []*jobs.DeadLetter
	outbox   []jobs.Outgoing
	outSeq   int64
	stepSeq  int64
	duty     string
	dutyTill time.Time
}

type memOp struct {
	op    jobs.Operation
	hash  string
	req   jobs.Request
	steps []*jobs.StepRecord
}

var _ Store = (*memStore)(nil)

func newMemStore() *memStore {
	return &memStore{rejected: map[string]*jobs.Error{}}
}

// enter begins a transaction; leave ends it.
func (m *memStore) enter(ctx context.Context) (leave func(), err error) {
	m.mu.Lock()
	m.queries++
	if err := ctx.Err(); err != nil {
		m.mu.Unlock()
		return nil, err
	}
	return m.mu.Unlock, nil
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

func (m *memStore) Admit(ctx context.Context, a Admission) (Admitted, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return Admitted{}, err
	}
	defer leave()
	req := a.Request
	if op, known, err := m.seen(req); known || err != nil {
		return Admitted{Operation: op, Duplicate: known}, err
	}
	o := &memOp{hash: req.Hash, req: req, op: jobs.Operation{
		ID: newID(), Arrival: int64(len(m.ops) + 1), Tenant: req.Tenant, RequestID: req.ID, Kind: req.Kind,
		Cluster: req.Cluster, Source: req.Source, Actor: req.Actor, Spec: a.Spec,
		State: jobs.OperationQueued, AcceptedAt: time.Now(),
	}}
	if a.Target == jobs.AnotherOperation {
		return m.admitControl(a, o)
	}
	c, err := m.target(a)
	if err != nil {
		return Admitted{}, err
	}
	plan, err := a.Plan(jobs.PlanInput{Tenant: req.Tenant, Cluster: c.Name, ClusterID: c.ID, Spec: a.Spec, ClusterSpec: c.Spec})
	if err != nil {
		return Admitted{}, err
	}
	if a.Target == jobs.NewCluster {
		m.clusters = append(m.clusters, c)
	}
	o.op.ClusterID = c.ID
	for i, stage := range plan {
		o.op.Stages = append(o.op.Stages, stage.Title)
		for _, st := range stage.Steps {
			m.stepSeq++
			o.steps = append(o.steps, &jobs.StepRecord{ID: m.stepSeq, Stage: i, Step: st, State: jobs.StepPending, Weight: a.Weight(st.Name)})
		}
	}
	m.ops = append(m.ops, o)
	m.told(&o.op, []jobs.EventDraft{{Type: jobs.OperationAccepted}})
	return Admitted{Operation: o.op}, nil
}

func (m *memStore) Seen(ctx context.Context, req jobs.Request) (bool, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	_, known, err := m.seen(req)
	return known, err
}

func (m *memStore) seen(req jobs.Request) (op jobs.Operation, known bool, err error) {
	for _, o := range m.ops {
		if o.op.Tenant == req.Tenant && o.op.RequestID == req.ID {
			if o.hash != req.Hash {
				return op, false, &jobs.Error{Code: jobs.CodeConflict, Message: "conflict"}
			}
			return o.op, true, nil
		}
	}
	_, known = m.rejected[req.Tenant+"/"+req.ID+"/"+req.Hash]
	return op, known, nil
}

func (m *memStore) target(a Admission) (*jobs.Cluster, error) {
	c := m.cluster(func(c *jobs.Cluster) bool {
		return c.Tenant == a.Request.Tenant && c.Name == a.Request.Cluster && c.State != jobs.ClusterDeleted
	})
	switch {
	case a.Target == jobs.NewCluster && c != nil:
		return nil, &jobs.Error{Code: jobs.CodeNameTaken, Message: "taken"}
	case a.Target == jobs.NewCluster:
		return &jobs.Cluster{ID: newID(), Tenant: a.Request.Tenant, Name: a.Request.Cluster, State: jobs.ClusterCreating, Spec: a.Spec}, nil
	case c == nil:
		return nil, &jobs.Error{Code: jobs.CodeUnknownCluster, Message: "unknown"}
	}
	return c, nil
}

func (m *memStore) admitControl(a Admission, o *memOp) (Admitted, error) {
	target := a.TargetOperation
	if a.TargetDeadLetter != "" {
		d := m.letter(a.Request.Tenant, a.TargetDeadLetter)
		if d == nil {
			return Admitted{}, &jobs.Error{Code: jobs.CodeUnknownOperation, Message: "no such dead letter"}
		}
		if d.OperationID == "" {
			snap := &jobs.Snapshot{Now: time.Now(), Dead: d}
			if err := a.Control(snap); err != nil {
				return Admitted{}, err
			}
			d.State = snap.Settle
			return m.controlDone(o), nil
		}
		target = d.OperationID
	}
	t := m.op(target)
	if t == nil || t.op.Tenant != a.Request.Tenant {
		return Admitted{}, &jobs.Error{Code: jobs.CodeUnknownOperation, Message: "no such operation"}
	}
	if err := m.apply(t, nil, a.Control); err != nil {
		return Admitted{}, err
	}
	return m.controlDone(o), nil
}

func (m *memStore) controlDone(o *memOp) Admitted {
	now := time.Now()
	o.op.State, o.op.FinishedAt = jobs.OperationSucceeded, &now
	m.ops = append(m.ops, o)
	m.told(&o.op, []jobs.EventDraft{{Type: jobs.OperationAccepted}, {Type: jobs.OperationSucceededEv}})
	return Admitted{Operation: o.op}
}

func (m *memStore) cluster(is func(*jobs.Cluster) bool) *jobs.Cluster {
	for _, c := range m.clusters {
		if is(c) {
			return c
		}
	}
	return nil
}

func (m *memStore) letter(tenant, id string) *jobs.DeadLetter {
	for _, d := range m.letters {
		if d.ID == id && d.Tenant == tenant {
			return d
		}
	}
	return nil
}

func (m *memStore) op(id string) *memOp {
	for _, o := range m.ops {
		if o.op.ID == id {
			return o
		}
	}
	return nil
}

// apply runs a rule on copies and keeps them when it succeeds.
func (m *memStore) apply(o *memOp, lease *jobs.Lease, rule Rule) error {
	op, c := o.op, m.cluster(func(c *jobs.Cluster) bool { return c.ID == o.op.ClusterID })
	snap := &jobs.Snapshot{Now: time.Now(), Operation: &op}
	if c != nil {
		copied := *c
		snap.Cluster = &copied
	}
	for _, st := range o.steps {
		copied := *st
		snap.Steps = append(snap.Steps, &copied)
	}
	if lease != nil {
		st := snap.Step(lease.StepID)
		if st == nil || st.State != jobs.StepRunning || st.Owner != lease.Owner || st.Attempt != lease.Attempt {
			return jobs.ErrLeaseLost
		}
	}
	if err := rule(snap); err != nil {
		return err
	}
	o.op = op
	for i, st := range snap.Steps {
		*o.steps[i] = *st
	}
	if c != nil {
		*c = *snap.Cluster
	}
	m.told(&o.op, snap.Events)
	for _, d := range m.letters {
		if snap.Settle != "" && d.OperationID == op.ID && d.State == jobs.DeadOpen {
			d.State = snap.Settle
		}
	}
	if snap.Dead != nil {
		d := *snap.Dead
		d.Subject, d.Header, d.Original = o.req.Subject, o.req.Header, o.req.Body
		m.bury(&d)
	}
	return nil
}

func (m *memStore) bury(d *jobs.DeadLetter) {
	d.ID, d.State, d.CreatedAt = newID(), jobs.DeadOpen, time.Now()
	m.letters = append(m.letters, d)
	m.publish(d.ID, jobs.DeadSubject(d.Tenant, d.Kind), d)
}

func (m *memStore) told(op *jobs.Operation, drafts []jobs.EventDraft) {
	for _, d := range drafts {
		op.Seq++
		m.event(op.Tenant, d.Type, jobs.EventData{
			OperationID: op.ID, RequestID: op.RequestID, Kind: op.Kind, Cluster: op.Cluster, Seq: op.Seq, Percent: op.Percent,
			Step: d.Step, Node: d.Node, Progress: d.Observation, Error: d.Error, Message: d.Message,
		})
	}
}

func (m *memStore) event(tenant string, t jobs.EventType, data jobs.EventData) {
	e := jobs.Event{SpecVersion: "1.0", ID: newID(), Type: jobs.EventTypeName(t), Subject: data.Cluster, Tenant: tenant, Time: time.Now(), Data: data}
	m.publish(e.ID, jobs.EventSubject(tenant, data.Cluster, t), e)
}

func (m *memStore) publish(id, subject string, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	m.outSeq++
	m.outbox = append(m.outbox, jobs.Outgoing{ID: m.outSeq, MsgID: id, Subject: subject, Body: raw})
}

func (m *memStore) Reject(ctx context.Context, req jobs.Request, e *jobs.Error) error {
	leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	key := req.Tenant + "/" + req.ID + "/" + req.Hash
	if _, known := m.rejected[key]; known {
		return nil
	}
	m.rejected[key] = e
	m.event(req.Tenant, jobs.OperationRejected, jobs.EventData{RequestID: req.ID, Kind: req.Kind, Cluster: req.Cluster, Error: e})
	return nil
}

func (m *memStore) Bury(ctx context.Context, d jobs.DeadLetter) error {
	leave, err := m.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	for _, old := range m.letters {
		if d.StreamSeq != 0 && old.StreamSeq == d.StreamSeq {
			return nil
		}
	}
	if len(d.Original) > jobs.MaxBody { // as the store does: the letter must fit into a message
		kept := d.Original
		d.Original = nil
		m.bury(&d)
		m.letters[len(m.letters)-1].Original = kept
		return nil
	}
	m.bury(&d)
	return nil
}

func (m *memStore) DeadLetter(ctx context.Context, tenant, id string) (jobs.DeadLetter, error) {
	leave, err := m.enter(ctx)
	if err != nil {
		return jobs.DeadLetter{}, err
	}
	defer leave()
	if d := m.letter(tenant, id); d != nil {
		return *d, nil
	}
	return jobs.DeadLetter{}, jobs.ErrNotFound
}
