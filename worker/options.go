package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// Options are what a worker is made of.
type Options struct {
	// Name is unique among the workers: it owns leases and duties.
	Name string
	// Instance marks whom the worker works for; "default" when empty.
	Instance string
	// Concurrency is how many steps run at the same time; 16 when 0.
	Concurrency int
	// PerTenant is how many operations of a tenant are active at the same
	// time; 8 when 0.
	PerTenant int
	// Kinds and Steps are the catalogue. The engine adds operation.cancel,
	// operation.replay and operation.discard.
	Kinds []jobs.Kind
	Steps []jobs.StepType
	Store Store
	// NATS should reconnect for ever (nats.MaxReconnects(-1)).
	NATS *nats.Conn
	// Replicas of streams that the worker makes; 1 when 0.
	Replicas int
	Log      zerolog.Logger
	// Probes watch what the steps need, for Ready and the log; while one of
	// them says that it is away, failures spend no attempts.
	Probes []*Probe
	// Chores run beside the engine's own on the worker that is the foreman.
	Chores []Chore
	// Retention is how long finished operations are kept; 0 keeps them.
	Retention time.Duration
	// StallLimit, when set, is every step's timeout in place of its own.
	StallLimit time.Duration
	// Grace is how long steps may go on when the worker is told to stop; 20 s
	// when 0.
	Grace time.Duration
	// Timing is for tests; zero fields have the values that the design says.
	Timing Timing
}

// Timing is the engine's clockwork. Fence must be shorter than Lease.
type Timing struct {
	Lease     time.Duration // of a step, and of the duty: 6 s
	Heartbeat time.Duration // 2 s
	Fence     time.Duration // without renewal the attempt ends: 5 s
	Duty      time.Duration // between looks at the foreman's duty: 2 s
	Poll      time.Duration // of an idle pool: 2 s
	RelayPoll time.Duration // of an idle relay: 5 s
	Sweep     time.Duration // between sweeps: 10 s
	Pull      time.Duration // one pull of the intake: 20 s
	Unknown   time.Duration // before a message of an unknown kind comes again: 2 s
	Announce  time.Duration // a step that takes longer is told to have started: 200 ms
	Throttle  time.Duration // between two step.progressed of a step: 1 s
	Abandon   time.Duration // for a step to return when its context has ended: 10 s
	Statement time.Duration // limit of one call of the store: 3 s
	Ack       time.Duration // limit of one call of JetStream: 5 s
	Patience  time.Duration // to save a result while the database is away: 30 s
	// A probe asks after so long without an answered call (5 s); while it gets
	// no answer (1 s); and waits so long for one (5 s).
	Probe, ProbeAway, ProbeLimit time.Duration
	// Away is how long a step waits that failed while a probe says that
	// something is away: 2 s.
	Away time.Duration
}

// defaultTiming is the design's.
func defaultTiming() Timing {
	return Timing{
		Lease: 6 * time.Second, Heartbeat: 2 * time.Second, Fence: 5 * time.Second, Duty: 2 * time.Second,
		Poll: 2 * time.Second, RelayPoll: 5 * time.Second, Sweep: 10 * time.Second, Pull: 20 * time.Second,
		Unknown: 2 * time.Second, Announce: 200 * time.Millisecond, Throttle: time.Second,
		Abandon: 10 * time.Second, Statement: 3 * time.Second, Ack: 5 * time.Second, Patience: 30 * time.Second,
		Probe: 5 * time.Second, ProbeAway: time.Second, ProbeLimit: 5 * time.Second, Away: 2 * time.Second,
	}
}

func (o Options) withDefaults() Options {
	o.Instance = or(o.Instance, "default")
	o.Concurrency = or(o.Concurrency, 16)
	o.PerTenant = or(o.PerTenant, 8)
	o.Grace = or(o.Grace, 20*time.Second)
	t, d := &o.Timing, defaultTiming()
	t.Lease, t.Heartbeat, t.Fence = or(t.Lease, d.Lease), or(t.Heartbeat, d.Heartbeat), or(t.Fence, d.Fence)
	t.Duty, t.Poll, t.RelayPoll = or(t.Duty, d.Duty), or(t.Poll, d.Poll), or(t.RelayPoll, d.RelayPoll)
	t.Sweep, t.Pull, t.Unknown = or(t.Sweep, d.Sweep), or(t.Pull, d.Pull), or(t.Unknown, d.Unknown)
	t.Announce, t.Throttle, t.Abandon = or(t.Announce, d.Announce), or(t.Throttle, d.Throttle), or(t.Abandon, d.Abandon)
	t.Statement, t.Ack, t.Patience = or(t.Statement, d.Statement), or(t.Ack, d.Ack), or(t.Patience, d.Patience)
	t.Probe, t.ProbeAway, t.ProbeLimit = or(t.Probe, d.Probe), or(t.ProbeAway, d.ProbeAway), or(t.ProbeLimit, d.ProbeLimit)
	t.Away = or(t.Away, d.Away)
	return o
}

// or is v, or d when v is zero.
func or[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

func (o Options) check() error {
	var faults []error
	need := func(ok bool, message string) {
		if !ok {
			faults = append(faults, errors.New(message))
		}
	}
	need(o.Name != "", "the worker needs a name")
	need(o.Store != nil, "the worker needs a store")
	need(o.NATS != nil, "the worker needs a NATS connection")
	need(o.Concurrency > 0, "the concurrency must be positive")
	need(o.PerTenant > 0, "the limit per tenant must be positive")
	need(o.Timing.Fence < o.Timing.Lease, "the fence must be shorter than the lease")
	return errors.Join(faults...)
}

// newRules makes the catalogue and checks that its names are unique and that
// every plan's steps are known.
func newRules(o Options) (*rules, error) {
	r := &rules{kinds: map[jobs.KindName]jobs.Kind{}, steps: map[string]jobs.StepType{}}
	var faults []error
	for _, st := range o.Steps {
		if _, twice := r.steps[st.Name]; twice || st.Name == "" || st.Run == nil {
			faults = append(faults, fmt.Errorf("step %q: its name is taken or empty, or it has no Run", st.Name))
		}
		r.steps[st.Name] = st
	}
	for _, k := range append(controlKinds(), o.Kinds...) {
		if _, twice := r.kinds[k.Name]; twice || k.Name == "" || k.Decode == nil {
			faults = append(faults, fmt.Errorf("kind %q: its name is taken or empty, or it has no Decode", k.Name))
		}
		r.kinds[k.Name] = k
		if k.Target != jobs.AnotherOperation {
			faults = append(faults, r.tryPlan(k))
		}
	}
	return r, errors.Join(faults...)
}

// tryPlan plans a kind's simplest request, where it has one without data.
func (r *rules) tryPlan(k jobs.Kind) error {
	if k.Plan == nil || k.Decode == nil {
		return fmt.Errorf("kind %q has no plan", k.Name)
	}
	spec, err := k.Decode(jobs.Request{Tenant: "check", ID: "check", Kind: k.Name, Cluster: "check", Data: json.RawMessage("{}")})
	if err != nil {
		return nil // it cannot do without data; each of its plans is checked when it is made
	}
	plan, err := k.Plan(jobs.PlanInput{Tenant: "check", Cluster: "check", ClusterID: "check", Spec: spec, ClusterSpec: spec})
	if err != nil {
		return nil
	}
	return r.checkPlan(k, plan)
}

// checkPlan says which steps of a plan nobody can carry out.
func (r *rules) checkPlan(k jobs.Kind, plan jobs.Plan) error {
	var faults []error
	for _, stage := range plan {
		for _, st := range stage.Steps {
			if _, known := r.steps[st.Name]; !known {
				faults = append(faults, fmt.Errorf("the plan of kind %q has the unknown step %q", k.Name, st.Name))
			}
		}
	}
	return errors.Join(faults...)
}

// planOf is a kind's plan, checked.
func (w *Worker) planOf(k jobs.Kind) func(jobs.PlanInput) (jobs.Plan, error) {
	if k.Plan == nil {
		return nil
	}
	return func(in jobs.PlanInput) (jobs.Plan, error) {
		plan, err := k.Plan(in)
		if err != nil {
			return nil, err
		}
		return plan, w.rules.checkPlan(k, plan)
	}
}

// weight is a step type's share of the percent.
func (w *Worker) weight(step string) int { return max(w.rules.steps[step].Weight, 1) }
