package store_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store"
)

// trail is a tenant's audit as lines, the oldest first.
func trail(t *testing.T, s *store.Store, tenant, cluster string) []string {
	t.Helper()
	entries, err := s.AuditTrail(context.Background(), tenant, cluster, 0)
	require.NoError(t, err)
	lines := make([]string, len(entries))
	for i, e := range entries {
		require.Equal(t, "tester", e.Actor)
		require.Equal(t, tenant, e.Tenant)
		require.NotZero(t, e.At)
		lines[len(entries)-1-i] = strings.TrimSpace(strings.Join([]string{e.Action, e.Cluster, e.RequestID, string(e.Outcome), e.Detail}, " "))
	}
	return lines
}

func TestAuditTellsEveryRequestAndEveryEnd(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	first := admit(t, db.Store, creation("acme", "r1", "orders"))
	_, err := db.Admit(ctx, creation("acme", "r1", "orders")) // the same again
	require.NoError(t, err)
	for range 2 {
		e := &jobs.Error{Code: jobs.CodeNameTaken, Message: "it exists"}
		require.NoError(t, db.Reject(ctx, request("acme", "r2", jobs.ClusterCreate, "orders"), e))
	}
	admit(t, db.Store, creation("acme", "r3", "billing"))
	require.Equal(t, 2, startAll(t, db.Store))
	require.NoError(t, db.Update(ctx, first.ID, nil, func(s *jobs.Snapshot) error {
		s.Operation.Error = &jobs.Error{Code: jobs.CodePortTaken, Message: "port 1 is in use"}
		return end(jobs.OperationFailed)(s)
	}))
	replay := control("acme", "r4", jobs.OperationReplay, func(s *jobs.Snapshot) error {
		s.Operation.State, s.Operation.FinishedAt = jobs.OperationRunning, nil
		return nil
	})
	replay.TargetOperation = first.ID
	admit(t, db.Store, replay)
	require.NoError(t, db.Update(ctx, first.ID, nil, end(jobs.OperationSucceeded)))
	require.ErrorContains(t, db.Update(ctx, first.ID, nil, func(*jobs.Snapshot) error { return context.Canceled }), "canceled")
	require.NoError(t, db.Update(ctx, first.ID, nil, func(*jobs.Snapshot) error { return nil })) // ends it not twice
	cancel := control("acme", "r5", jobs.OperationCancel, func(s *jobs.Snapshot) error {
		s.Operation.Undo = jobs.UndoCancel
		return end(jobs.OperationCancelled)(s)
	})
	cancel.TargetOperation = "r3"
	admit(t, db.Store, cancel)

	require.Equal(t, []string{
		"cluster.create orders r1 accepted asked by /test",
		"cluster.create orders r2 rejected name_taken: it exists",
		"cluster.create orders r1 failed port_taken: port 1 is in use",
		"operation.replay orders r4 accepted asked by /test",
		"operation.replay orders r4 succeeded",
		"cluster.create orders r1 succeeded",
	}, trail(t, db.Store, "acme", "orders"))
	require.Equal(t, []string{
		"cluster.create billing r3 accepted asked by /test",
		"operation.cancel billing r5 accepted asked by /test",
		"operation.cancel billing r5 succeeded",
		"cluster.create billing r3 cancelled undone by cancel",
	}, trail(t, db.Store, "acme", "billing"))
	require.Len(t, trail(t, db.Store, "acme", ""), 10)
	require.Empty(t, trail(t, db.Store, "other", ""))
}
