package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store"
	"github.com/vcs-iaas/pgforeman/store/storetest"
)

const lease = time.Minute

// step names a worker of these tests knows.
var steps = []string{"one.do", "two.do", "three.do"}

// plan has two stages: one.do on a and b, then two.do.
func plan(jobs.PlanInput) (jobs.Plan, error) {
	return jobs.Plan{
		{Title: "first", Steps: []jobs.Step{{Name: "one.do", Node: "a"}, {Name: "one.do", Node: "b"}}},
		{Title: "second", Steps: []jobs.Step{{Name: "two.do"}}},
	}, nil
}

func request(tenant, id string, kind jobs.KindName, cluster string) jobs.Request {
	return jobs.Request{
		Tenant: tenant, ID: id, Source: "/test", Actor: "tester", Kind: kind, Cluster: cluster, Hash: "hash of " + id,
		Subject: jobs.RequestSubject(tenant, kind), Header: map[string][]string{"X": {"y"}}, Body: []byte("body of " + id),
	}
}

func creation(tenant, id, cluster string) jobs.Admission {
	return jobs.Admission{
		Request: request(tenant, id, jobs.ClusterCreate, cluster), Target: jobs.NewCluster,
		Spec: json.RawMessage(`{"name":"` + cluster + `"}`), Plan: plan, Weight: func(string) int { return 2 },
	}
}

func deletion(tenant, id, cluster string) jobs.Admission {
	a := creation(tenant, id, cluster)
	a.Request.Kind, a.Target = jobs.ClusterDelete, jobs.ExistingCluster
	return a
}

func control(tenant, id string, kind jobs.KindName, rule jobs.Rule) jobs.Admission {
	return jobs.Admission{
		Request: request(tenant, id, kind, ""), Target: jobs.AnotherOperation, Spec: json.RawMessage(`{}`), Control: rule,
	}
}

// admit admits what must be admitted.
func admit(t *testing.T, s *store.Store, a jobs.Admission) jobs.Operation {
	t.Helper()
	got, err := s.Admit(context.Background(), a)
	require.NoError(t, err)
	require.False(t, got.Duplicate)
	return got.Operation
}

// start is a start rule: the first stage becomes ready.
func start(s *jobs.Snapshot) error {
	s.Operation.State, s.Operation.StartedAt = jobs.OperationRunning, &s.Now
	for _, st := range s.Steps {
		if st.Stage == s.Operation.Stage {
			st.State, st.ReadyAt = jobs.StepReady, s.Now
		}
	}
	s.Tell(jobs.EventDraft{Type: jobs.OperationStarted, Message: "started"})
	return nil
}

// end is a rule that ends the operation.
func end(state jobs.OperationState) jobs.Rule {
	return func(s *jobs.Snapshot) error {
		s.Operation.State, s.Operation.FinishedAt = state, &s.Now
		for _, st := range s.Steps {
			st.State = jobs.StepSkipped
		}
		return nil
	}
}

// succeed is a rule that completes a step.
func succeed(id int64) jobs.Rule {
	return func(s *jobs.Snapshot) error {
		st := s.Step(id)
		st.State, st.FinishedAt, st.Output = jobs.StepSucceeded, &s.Now, json.RawMessage(`{"by":"`+st.String()+`"}`)
		s.Operation.Percent = min(100, s.Operation.Percent+10)
		s.Tell(jobs.EventDraft{Type: jobs.StepSucceededEv, Message: st.String() + " is done"})
		return nil
	}
}

func startAll(t *testing.T, s *store.Store) int {
	t.Helper()
	n, err := s.StartQueued(context.Background(), 100, 0, start)
	require.NoError(t, err)
	return n
}

// running admits a creation, starts it and claims its first stage.
func running(t *testing.T, s *store.Store, cluster string) (jobs.Operation, []jobs.Claimed) {
	t.Helper()
	o := admit(t, s, creation("acme", "create-"+cluster, cluster))
	require.Equal(t, 1, startAll(t, s))
	claimed, err := s.Claim(context.Background(), "w1", 10, steps, lease)
	require.NoError(t, err)
	require.Len(t, claimed, 2)
	return o, claimed
}

// outbox gives the events in the outbox, of one operation where it is given.
func outbox(t *testing.T, s *store.Store, operation string) []jobs.Event {
	t.Helper()
	out, err := s.Outbox(context.Background(), 10000)
	require.NoError(t, err)
	var events []jobs.Event
	for i, m := range out {
		if i > 0 {
			require.Greater(t, m.ID, out[i-1].ID)
		}
		var e jobs.Event
		require.NoError(t, json.Unmarshal(m.Body, &e))
		if e.SpecVersion == "" { // a dead letter
			continue
		}
		require.Equal(t, e.ID, m.MsgID)
		if operation == "" || e.Data.OperationID == operation {
			events = append(events, e)
		}
	}
	return events
}

func types(events []jobs.Event) []string {
	list := make([]string, len(events))
	for i, e := range events {
		list[i] = e.Type[len("pgforeman.v1."):]
	}
	return list
}

// gapless requires that an operation's events are numbered 1, 2, 3, ….
func gapless(t *testing.T, events []jobs.Event) {
	t.Helper()
	for i, e := range events {
		require.Equal(t, int64(i+1), e.Data.Seq, "events: %v", types(events))
	}
}

func refused(t *testing.T, err error, code jobs.Code) {
	t.Helper()
	var e *jobs.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, code, e.Code, e.Message)
	require.NotEmpty(t, e.Message)
}

func unknownID() string { return uuid.NewString() }

// atOnce runs fn n times at the same time and gives the errors.
func atOnce(n int, fn func(i int) error) []error {
	errs, done, begin := make([]error, n), make(chan struct{}), make(chan struct{})
	for i := range n {
		go func() {
			defer func() { done <- struct{}{} }()
			<-begin
			errs[i] = fn(i)
		}()
	}
	close(begin)
	for range n {
		<-done
	}
	return errs
}

func none(t *testing.T, errs []error) {
	t.Helper()
	require.NoError(t, errors.Join(errs...))
}

func name(prefix string, i int) string { return fmt.Sprintf("%s-%d", prefix, i) }

func newDB(t *testing.T) *storetest.DB {
	t.Helper()
	t.Parallel()
	return storetest.New(t)
}
