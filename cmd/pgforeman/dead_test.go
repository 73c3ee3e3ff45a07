package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

func deadLetter() jobs.DeadLetter {
	return jobs.DeadLetter{
		ID: letterID, OperationID: opID, RequestID: "req-1", Tenant: "default", Kind: jobs.ClusterCreate, Cluster: "orders",
		State: jobs.DeadOpen, Reason: `create a cluster "orders" failed: host port 5432 is in use`,
		Error:       &jobs.Error{Code: jobs.CodePortTaken, Message: "host port 5432 is in use"},
		Step:        &jobs.EventStep{Name: "proxy.start", Node: "orders-proxy-1", Stage: 2, Stages: 3, Attempt: 2},
		Observation: &jobs.Observation{Message: "port 5432"},
		Attempts:    []jobs.AttemptRecord{{Attempt: 1, Worker: "w1", EndedAt: clock(3), Error: "busy"}, {Attempt: 2, Worker: "w2", EndedAt: clock(5), Error: "in use", Observation: "port 5432"}},
		Advice:      "Mend the cause.", Subject: "pgforeman.v1.request.default.cluster.create",
		Original: []byte(`{"id":"req-1","data":{"name":"orders"}}`), CreatedAt: clock(9),
	}
}

func unreadable() jobs.DeadLetter {
	return jobs.DeadLetter{ID: letterID, Tenant: "default", Kind: "cluster.create", State: jobs.DeadOpen, Reason: "the message is not JSON",
		Error: &jobs.Error{Code: jobs.CodeUnreadable, Message: "not JSON"}, Advice: "Mend what publishes it.",
		Subject: "pgforeman.v1.request.default.cluster.create", Original: []byte("\xff\xfe\x1b[2J not json"), CreatedAt: clock(9)}
}

func TestDeadViews(t *testing.T) {
	p := &fakePortal{query: func(what string, _ jobs.Query) (any, error) {
		if what == jobs.QueryDeadList {
			return []jobs.DeadLetterView{{ID: letterID, OperationID: opID, Kind: jobs.ClusterCreate, Cluster: "orders", State: "open", Reason: "two\nlines", CreatedAt: clock(9)},
				{ID: opID, Kind: "_", State: "open", Reason: "not JSON", CreatedAt: clock(10)}}, nil
		}
		return deadLetter(), nil
	}}
	golden(t, "dead-list", must(t, p, "dead", "list"))
	golden(t, "dead-show", must(t, p, "dead", "show", letterID))
	var letter jobs.DeadLetter
	require.NoError(t, json.Unmarshal([]byte(must(t, p, "dead", "show", letterID, "-o", "json")), &letter))
	require.Equal(t, deadLetter(), letter)

	p.query = func(string, jobs.Query) (any, error) { return unreadable(), nil }
	golden(t, "dead-show-unreadable", must(t, p, "dead", "show", letterID))
	p.query = func(string, jobs.Query) (any, error) { return []jobs.DeadLetterView{}, nil }
	require.Equal(t, "[]\n", must(t, p, "dead", "list", "-o", "json"))
}

func TestOriginalIsCut(t *testing.T) {
	text := original([]byte(strings.Repeat("n", 900<<10)))
	require.Less(t, len(text), 5000)
	require.Contains(t, text, "900KiB in all; -o json has all of it")
}

func TestReplay(t *testing.T) {
	queued := operation(jobs.OperationQueued)
	r := &recording{kind: jobs.ClusterCreate}
	end := r.tell(jobs.OperationStarted, "goes on").tell(jobs.OperationSucceededEv, "done", at(100)).events
	p := world(failedOperation(), queued, end)
	require.Contains(t, must(t, p, "dead", "replay", letterID, "--id", "replay-1"), "has succeeded")
	require.Equal(t, jobs.ControlSpec{DeadLetterID: letterID}, p.published[0].Data)
	require.Equal(t, client.Target{OperationID: opID, Cluster: "orders", AfterSeq: 13}, p.watched[1])

	p = world(failedOperation(), queued, broken())
	again := run(t, p, "dead", "replay", letterID)
	require.Equal(t, exitFailed, again.code, "it failed again")
	require.Contains(t, again.stderr, "port_taken")
}

func TestDiscard(t *testing.T) {
	p := world(failedOperation(), operation(jobs.OperationQueued), cancelled())
	require.Equal(t, exitUsage, run(t, p, "dead", "discard", letterID).code, "a script has to say --yes")
	require.Empty(t, p.published)
	require.Contains(t, must(t, p, "dead", "discard", letterID, "--yes"), "is discarded")
	require.Equal(t, jobs.OperationDiscard, p.published[0].Kind)
}

func TestDiscardUnreadable(t *testing.T) {
	p := world(operation(jobs.OperationSucceeded), operation(jobs.OperationSucceeded), nil)
	p.query = func(what string, _ jobs.Query) (any, error) {
		require.Equal(t, jobs.QueryDeadGet, what, "there is no operation to ask for")
		return unreadable(), nil
	}
	require.Contains(t, must(t, p, "dead", "discard", letterID, "--yes"), "is discarded")
	require.Len(t, p.watched, 1, "it ends with the control operation")
}
