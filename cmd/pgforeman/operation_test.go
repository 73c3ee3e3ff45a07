package main

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

// failedOperation has steps of every sort.
func failedOperation() jobs.OperationView {
	o := operation(jobs.OperationFailed)
	o.StartedAt, o.FinishedAt, o.Replays = pointer(clock(2)), pointer(clock(77)), 1
	o.Error = &jobs.Error{Code: jobs.CodePortTaken, Message: "host port 5432 is in use"}
	o.Stages = []string{"Make the network", "Start the nodes", "Verify"}
	o.Steps = []jobs.StepView{
		{Name: "network.ensure", Stage: 1, State: "succeeded", Attempt: 1, StartedAt: pointer(clock(2)), FinishedAt: pointer(clock(4))},
		{Name: "node.start", Node: "orders-1", Stage: 2, State: "failed", Attempt: 8, StartedAt: pointer(clock(4)), FinishedAt: pointer(clock(77)),
			Error: o.Error, Observation: &jobs.Observation{Message: "port 5432"}},
		{Name: "node.start", Node: "orders-2", Stage: 2, State: "running", Attempt: 1, StartedAt: pointer(clock(4)),
			Observation: &jobs.Observation{Message: "3 of 12 MiB", Done: 3, Total: 12}},
		{Name: "cluster.verify", Stage: 3, State: "pending"},
	}
	return o
}

func TestOperationViews(t *testing.T) {
	p := &fakePortal{query: func(what string, q jobs.Query) (any, error) {
		if what == jobs.QueryOperations {
			require.Equal(t, jobs.Query{Cluster: "orders", State: "failed", Limit: 5}, q)
			return []jobs.OperationView{failedOperation()}, nil
		}
		return failedOperation(), nil
	}}
	golden(t, "operation-list", must(t, p, "operation", "list", "--cluster", "orders", "--state", "failed", "--limit", "5"))
	golden(t, "operation-show", must(t, p, "operation", "show", opID))
	var view jobs.OperationView
	require.NoError(t, json.Unmarshal([]byte(must(t, p, "operation", "show", opID, "-o", "json")), &view))
	require.Equal(t, failedOperation(), view)
	p.query = func(string, jobs.Query) (any, error) { return []jobs.OperationView{}, nil }
	require.Equal(t, "[]\n", must(t, p, "operation", "list", "-o", "json"))
}

func TestWatch(t *testing.T) {
	unknown := &jobs.Error{Code: jobs.CodeUnknownOperation, Message: "there is no operation"}
	t.Run("a known one", func(t *testing.T) {
		p := &fakePortal{query: func(string, jobs.Query) (any, error) { return operation(jobs.OperationRunning), nil }}
		p.watch = func(client.Target) ([]jobs.Event, error) { return created(), nil }
		require.Contains(t, must(t, p, "operation", "watch", "req-1"), "done")
		require.Equal(t, []client.Target{{OperationID: opID, Cluster: "orders"}}, p.watched)
	})
	t.Run("one that was rejected", func(t *testing.T) {
		p := &fakePortal{query: func(string, jobs.Query) (any, error) { return nil, unknown }}
		p.watch = func(client.Target) ([]jobs.Event, error) {
			return rejected(&jobs.Error{Code: jobs.CodeNameTaken, Message: "orders exists"}), nil
		}
		r := run(t, p, "operation", "watch", "req-1")
		require.Equal(t, exitFailed, r.code)
		require.Contains(t, r.stderr, "name_taken: orders exists")
	})
	t.Run("none at all", func(t *testing.T) {
		p := &fakePortal{query: func(string, jobs.Query) (any, error) { return nil, unknown }}
		p.watch = func(client.Target) ([]jobs.Event, error) { return nil, context.DeadlineExceeded }
		require.Equal(t, exitNotFound, run(t, p, "operation", "watch", "req-1").code)
	})
}

// world is an operation that control requests act on: before, and after they
// were carried out.
func world(before, after jobs.OperationView, end []jobs.Event) *fakePortal {
	p := &fakePortal{}
	p.query = func(what string, _ jobs.Query) (any, error) {
		switch {
		case what == jobs.QueryDeadGet:
			return deadLetter(), nil
		case len(p.published) == 0:
			return before, nil
		}
		return after, nil
	}
	p.watch = func(t client.Target) ([]jobs.Event, error) {
		if t.RequestID == "" {
			return end, nil
		}
		done := &recording{kind: p.published[0].Kind}
		return done.tell(jobs.OperationAccepted, "accepted").tell(jobs.OperationSucceededEv, "done", at(100)).events, nil
	}
	return p
}

func cancelled() []jobs.Event {
	r := &recording{kind: jobs.ClusterCreate}
	return r.tell(jobs.OperationCancelledEv, "cancelled, what was made is removed", failed(jobs.CodeCancelled, "cancelled on request")).events
}

func TestCancelWaitsForTheTarget(t *testing.T) {
	after := operation(jobs.OperationUndoing)
	after.Seq++
	p := world(operation(jobs.OperationRunning), after, cancelled())
	out := must(t, p, "operation", "cancel", "req-1", "--id", "cancel-1", "--reason", "too big")
	require.Equal(t, "operation "+opID+" is cancelled\n", out)
	require.Equal(t, jobs.ControlSpec{OperationID: opID, Reason: "too big"}, p.published[0].Data)
	require.Equal(t, []client.Target{
		{RequestID: "cancel-1", Cluster: "orders"},
		{OperationID: opID, Cluster: "orders", AfterSeq: 13},
	}, p.watched)
}

// The same request once more: there is nothing to watch, what is recorded counts.
func TestCancelAgain(t *testing.T) {
	ended := operation(jobs.OperationCancelled)
	p := world(ended, ended, nil)
	require.Equal(t, "operation "+opID+" is cancelled\n", must(t, p, "operation", "cancel", opID, "--id", "cancel-1"))
	require.Len(t, p.watched, 1)
}

func TestCancelTooLate(t *testing.T) {
	p := world(operation(jobs.OperationSucceeded), operation(jobs.OperationSucceeded), nil)
	p.watch = func(client.Target) ([]jobs.Event, error) {
		return rejected(&jobs.Error{Code: jobs.CodeTooLate, Message: "operation has already ended"}), nil
	}
	r := run(t, p, "operation", "cancel", opID)
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.stderr, "too_late: ")
	require.Contains(t, r.stderr, "pgforeman operation show "+opID)
}
