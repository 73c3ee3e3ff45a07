package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store"
)

func states(t *testing.T, s *store.Store, tenant string, state jobs.OperationState) []string {
	t.Helper()
	list, err := s.Operations(context.Background(), tenant, jobs.OperationFilter{State: state})
	require.NoError(t, err)
	ids := make([]string, len(list))
	for i, o := range list {
		ids[len(list)-1-i] = o.RequestID
	}
	return ids
}

func TestOperationsOfAClusterWaitInOrderOfArrival(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	first := admit(t, db.Store, creation("acme", "create", "orders"))
	admit(t, db.Store, deletion("acme", "delete", "orders"))
	admit(t, db.Store, deletion("acme", "delete again", "orders"))
	admit(t, db.Store, creation("acme", "other", "billing"))

	require.Equal(t, 2, startAll(t, db.Store), "another cluster does not wait")
	require.Equal(t, []string{"create", "other"}, states(t, db.Store, "acme", jobs.OperationRunning))
	require.Equal(t, 0, startAll(t, db.Store))
	require.NoError(t, db.Update(ctx, first.ID, nil, end(jobs.OperationSucceeded)))
	require.Equal(t, 1, startAll(t, db.Store))
	require.Equal(t, []string{"delete", "other"}, states(t, db.Store, "acme", jobs.OperationRunning))
}

func TestStartQueuedKeepsToItsLimits(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	for i := range 6 {
		admit(t, db.Store, creation("large", name("r", i), name("c", i)))
	}
	admit(t, db.Store, creation("small", "r", "c"))
	n, err := db.StartQueued(ctx, 3, 4, start)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Equal(t, []string{"r"}, states(t, db.Store, "small", jobs.OperationRunning), "a tenant with few comes first")
	require.Equal(t, []string{"r-0", "r-1"}, states(t, db.Store, "large", jobs.OperationRunning))

	// Many starters at once keep the tenant's limit.
	total := make([]int, 6)
	none(t, atOnce(6, func(i int) error {
		n, err := db.StartQueued(ctx, 10, 4, start)
		total[i] = n
		return err
	}))
	require.Equal(t, []string{"r-0", "r-1", "r-2", "r-3"}, states(t, db.Store, "large", jobs.OperationRunning))
	sum := 0
	for _, n := range total {
		sum += n
	}
	require.Equal(t, 2, sum, "each was started once")
}

func TestAStartThatFailsDoesNotStopTheOthers(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	admit(t, db.Store, creation("acme", "bad", "bad"))
	admit(t, db.Store, creation("acme", "good", "good"))
	n, err := db.StartQueued(ctx, 10, 0, func(s *jobs.Snapshot) error {
		if s.Operation.RequestID == "bad" {
			return errors.New("no")
		}
		return start(s)
	})
	require.ErrorContains(t, err, "no")
	require.Equal(t, 1, n)
}

// TestATenantThatIsBeingStartedDoesNotStopTheOthers: a worker that is suspended
// while it starts a tenant's operations has the tenant's lock.
func TestATenantThatIsBeingStartedDoesNotStopTheOthers(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	admit(t, db.Store, creation("acme", "r", "orders"))
	admit(t, db.Store, creation("globex", "r", "orders"))
	other, err := pgx.Connect(ctx, db.DSN)
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close(ctx)) }()
	_, err = other.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended('start/acme', 0))")
	require.NoError(t, err)
	n, err := db.StartQueued(ctx, 10, 0, start)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, []string{"r"}, states(t, db.Store, "globex", jobs.OperationRunning))
	_, err = other.Exec(ctx, "SELECT pg_advisory_unlock_all()")
	require.NoError(t, err)
	require.Equal(t, 1, startAll(t, db.Store))
}

func TestTwoActiveOperationsOfAClusterCannotBe(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	running(t, db.Store, "orders")
	second := admit(t, db.Store, deletion("acme", "delete", "orders"))
	err := db.Update(ctx, second.ID, nil, start)
	require.ErrorContains(t, err, "operations_active")
	got, _, err := db.Operation(ctx, "acme", second.ID)
	require.NoError(t, err)
	require.Equal(t, jobs.OperationQueued, got.State)
}

func TestOverdue(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	a := creation("acme", "r1", "orders")
	a.OperationTimeout = time.Hour
	o := admit(t, db.Store, a)
	db.Exec(t, "UPDATE operations SET deadline = now() - interval '1 s'")
	ids, err := db.Overdue(ctx, 10)
	require.NoError(t, err)
	require.Empty(t, ids, "a queued one is not active")
	startAll(t, db.Store)
	ids, err = db.Overdue(ctx, 10)
	require.NoError(t, err)
	require.Equal(t, []string{o.ID}, ids)
}

func TestOneWorkerHoldsADuty(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	got := make([]bool, 8)
	none(t, atOnce(8, func(i int) error {
		var err error
		got[i], err = db.TakeDuty(ctx, "foreman", name("w", i), time.Minute)
		return err
	}))
	holder := -1
	for i, ok := range got {
		if ok {
			require.Equal(t, -1, holder)
			holder = i
		}
	}
	require.NotEqual(t, -1, holder)
	take := func(worker string) bool {
		ok, err := db.TakeDuty(ctx, "foreman", worker, time.Minute)
		require.NoError(t, err)
		return ok
	}
	require.True(t, take(name("w", holder)), "it renews")
	require.NoError(t, db.GiveUpDuty(ctx, "foreman", "somebody else"))
	require.False(t, take("x"))
	require.NoError(t, db.GiveUpDuty(ctx, "foreman", name("w", holder)))
	require.True(t, take("x"))
	db.Exec(t, "UPDATE duties SET lease_until = now() - interval '1 s'")
	require.True(t, take("y"), "a lease that ran out is free")
	require.False(t, take("x"))
}

func TestOutboxKeepsUntilPublished(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	for i := range 5 {
		admit(t, db.Store, creation("acme", name("r", i), name("c", i)))
	}
	out, err := db.Outbox(ctx, 3)
	require.NoError(t, err)
	require.Len(t, out, 3)
	require.NoError(t, db.Published(ctx, []int64{out[0].ID, out[2].ID}))
	left, err := db.Outbox(ctx, 10)
	require.NoError(t, err)
	require.Len(t, left, 3)
	require.Equal(t, out[1], left[0])
}

func TestPruneRemovesWhatIsOverAndOld(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	for i, state := range []jobs.OperationState{jobs.OperationSucceeded, jobs.OperationFailed, jobs.OperationCancelled} {
		o, _ := running(t, db.Store, name("c", i))
		require.NoError(t, db.Update(ctx, o.ID, nil, func(s *jobs.Snapshot) error {
			if state == jobs.OperationFailed {
				s.Dead = &jobs.DeadLetter{Reason: "failed", Error: &jobs.Error{}}
			}
			if state == jobs.OperationCancelled {
				s.Cluster.State = jobs.ClusterDeleted
			}
			return end(state)(s)
		}))
	}
	live := admit(t, db.Store, creation("acme", "live", "live"))
	require.NoError(t, db.Reject(ctx, request("acme", "x", "cluster.create", "x"), &jobs.Error{Code: jobs.CodeInvalid}))
	n, err := db.Prune(ctx, time.Hour, 100)
	require.NoError(t, err)
	require.Zero(t, n, "nothing is old")

	db.Exec(t, "UPDATE operations SET finished_at = finished_at - interval '2 h'")
	db.Exec(t, "UPDATE clusters SET deleted_at = deleted_at - interval '2 h'")
	db.Exec(t, "UPDATE rejections SET rejected_at = rejected_at - interval '2 h'")
	n, err = db.Prune(ctx, time.Hour, 1)
	require.NoError(t, err)
	m, err := db.Prune(ctx, time.Hour, 1)
	require.NoError(t, err)
	require.Equal(t, 4, n+m, "two operations, a cluster, a rejection")
	require.Equal(t, []string{"create-c-1"}, states(t, db.Store, "acme", jobs.OperationFailed), "its dead letter is open")
	_, _, err = db.Operation(ctx, "acme", live.ID)
	require.NoError(t, err)
	all, err := db.Clusters(ctx, "acme", true, 0)
	require.NoError(t, err)
	require.Len(t, all, 3)
	var steps int
	db.Scan(t, "SELECT count(*) FROM steps", &steps)
	require.Equal(t, 6, steps)
}

// An id names its request for ever: long after its operation, or its rejection,
// was pruned, a copy of the message is not carried out again.
func TestAPrunedRequestIsNotDoneAgain(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o, _ := running(t, db.Store, "orders")
	require.NoError(t, db.Update(ctx, o.ID, nil, func(s *jobs.Snapshot) error {
		s.Cluster.State = jobs.ClusterDeleted
		return end(jobs.OperationSucceeded)(s)
	}))
	bad := creation("acme", "bad", "bad")
	require.NoError(t, db.Reject(ctx, bad.Request, &jobs.Error{Code: jobs.CodeInvalid}))
	db.Exec(t, "UPDATE operations SET finished_at = finished_at - interval '2 h'")
	db.Exec(t, "UPDATE rejections SET rejected_at = rejected_at - interval '2 h'")
	n, err := db.Prune(ctx, time.Hour, 100)
	require.NoError(t, err)
	require.Equal(t, 2, n)

	for _, again := range []jobs.Admission{creation("acme", o.RequestID, "orders"), bad} {
		admitted, err := db.Admit(ctx, again)
		require.NoError(t, err)
		require.True(t, admitted.Duplicate, again.Request.ID)
	}
	var before, after int
	db.Scan(t, "SELECT count(*) FROM outbox", &before)
	for _, r := range []jobs.Request{bad.Request, request("acme", o.RequestID, jobs.ClusterCreate, "orders")} {
		require.NoError(t, db.Reject(ctx, r, &jobs.Error{Code: jobs.CodeInvalid}))
	}
	db.Scan(t, "SELECT count(*) FROM outbox", &after)
	require.Equal(t, before, after, "each had its one fate")
	other := creation("acme", o.RequestID, "other")
	other.Request.Hash = "another"
	_, err = db.Admit(ctx, other)
	var refusal *jobs.Error
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, jobs.CodeConflict, refusal.Code)
	admitted, err := db.Admit(ctx, creation("rival", o.RequestID, "orders"))
	require.NoError(t, err)
	require.False(t, admitted.Duplicate, "another tenant's ids are its own")
}

func TestNothingIsReadAcrossTenants(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o, _ := running(t, db.Store, "orders")
	require.NoError(t, db.Update(ctx, o.ID, nil, func(s *jobs.Snapshot) error {
		s.Dead = &jobs.DeadLetter{Reason: "failed", Error: &jobs.Error{}}
		return end(jobs.OperationFailed)(s)
	}))
	letters, err := db.DeadLetters(ctx, "acme", true, 0)
	require.NoError(t, err)
	require.Len(t, letters, 1)
	for _, tenant := range []string{"globex", "", "acme'", "%", "acme\x00"} {
		hint := fmt.Sprintf("tenant %q", tenant)
		_, err := db.ClusterByName(ctx, tenant, "orders")
		require.ErrorIs(t, err, jobs.ErrNotFound, hint)
		clusters, err := db.Clusters(ctx, tenant, true, 0)
		require.NoError(t, err)
		require.Empty(t, clusters, hint)
		for _, id := range []string{o.ID, o.RequestID} {
			_, _, err = db.Operation(ctx, tenant, id)
			require.ErrorIs(t, err, jobs.ErrNotFound, hint)
		}
		list, err := db.Operations(ctx, tenant, jobs.OperationFilter{})
		require.NoError(t, err)
		require.Empty(t, list, hint)
		dead, err := db.DeadLetters(ctx, tenant, true, 0)
		require.NoError(t, err)
		require.Empty(t, dead, hint)
		_, err = db.DeadLetter(ctx, tenant, letters[0].ID)
		require.ErrorIs(t, err, jobs.ErrNotFound, hint)
		trail, err := db.AuditTrail(ctx, tenant, "", 0)
		require.NoError(t, err)
		require.Empty(t, trail, hint)
	}
}
