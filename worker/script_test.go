package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// script says what the steps of a test do, and remembers what they did.
type script struct {
	mu   sync.Mutex
	run  map[string]stepFunc // by step's name; a step without one succeeds
	undo map[string]stepFunc
	log  []string // "alpha", "undo alpha", … in the order of their beginnings
	// policy of every step
	timeout time.Duration
	retry   jobs.Retry
}

type stepFunc func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error)

func newScript() *script {
	return &script{run: map[string]stepFunc{}, undo: map[string]stepFunc{},
		retry: jobs.Retry{Attempts: 3, Initial: time.Millisecond, Max: 5 * time.Millisecond}}
}

// on scripts a step's run, or ("undo alpha") its undo.
func (s *script) on(step string, f stepFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name, ok := strings.CutPrefix(step, "undo "); ok {
		s.undo[name] = f
		return
	}
	s.run[step] = f
}

func (s *script) did() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.log...)
}

// types are the step types: alpha, beta, gamma, delta can be undone, omega not.
func (s *script) types() []jobs.StepType {
	var types []jobs.StepType
	for _, name := range []string{"alpha", "beta", "gamma", "delta", "omega"} {
		st := jobs.StepType{Name: name, Title: "do " + name, Timeout: s.timeout, Retry: s.retry,
			Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
				return s.call(ctx, s.run, name, name, a)
			}}
		if name != "omega" {
			st.Undo = func(ctx context.Context, a *jobs.Attempt) error {
				_, err := s.call(ctx, s.undo, name, "undo "+name, a)
				return err
			}
		}
		types = append(types, st)
	}
	return types
}

func (s *script) call(ctx context.Context, from map[string]stepFunc, name, what string, a *jobs.Attempt) (jobs.Result, error) {
	s.mu.Lock()
	s.log = append(s.log, what)
	f := from[name]
	s.mu.Unlock()
	if f == nil {
		return jobs.Result{Output: map[string]any{"by": name}}, nil
	}
	return f(ctx, a)
}

// spec is the data of the tests' kinds: the stages, each a list of steps.
type spec struct {
	Name           string     `json:"name,omitempty"`
	Stages         [][]string `json:"stages"`
	OnFailure      string     `json:"on_failure,omitempty"`
	TimeoutSeconds int        `json:"timeout_seconds,omitempty"`
}

func stages(list ...string) spec {
	s := spec{}
	for _, stage := range list {
		s.Stages = append(s.Stages, strings.Fields(stage))
	}
	return s
}

func testKinds() []jobs.Kind {
	decode := func(req jobs.Request) (json.RawMessage, error) {
		var s spec
		if err := jobs.DecodeStrict(req.Data, &s).Err(); err != nil {
			return nil, err
		}
		return json.Marshal(s)
	}
	plan := func(in jobs.PlanInput) (jobs.Plan, error) {
		var s spec
		if err := json.Unmarshal(in.Spec, &s); err != nil {
			return nil, err
		}
		var p jobs.Plan
		for i, stage := range s.Stages {
			st := jobs.Stage{Title: fmt.Sprintf("stage %d", i+1)}
			for _, name := range stage {
				st.Steps = append(st.Steps, jobs.Step{Name: name})
			}
			p = append(p, st)
		}
		return p, nil
	}
	return []jobs.Kind{
		{Name: jobs.ClusterCreate, Target: jobs.NewCluster, Title: "create a cluster", Decode: decode, Plan: plan},
		{Name: jobs.ClusterDelete, Target: jobs.ExistingCluster, Title: "delete a cluster", Decode: decode, Plan: plan},
		{Name: jobs.ClusterRotate, Target: jobs.ExistingCluster, Title: "rotate", Revocable: true, Decode: decode, Plan: plan},
	}
}

// gate is a step that waits until it is opened, or its context ends.
type gate struct{ begun, open chan struct{} }

func newGate() *gate { return &gate{begun: make(chan struct{}, 100), open: make(chan struct{})} }

func (g *gate) step(ctx context.Context, _ *jobs.Attempt) (jobs.Result, error) {
	g.begun <- struct{}{}
	select {
	case <-g.open:
		return jobs.Result{}, nil
	case <-ctx.Done():
		return jobs.Result{}, ctx.Err()
	}
}

// wait waits until the step has begun.
func (g *gate) wait(t *testing.T) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-g.begun:
	case <-timer.C:
		require.Fail(t, "the step never began")
	}
}
