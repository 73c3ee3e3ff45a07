package store_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func TestAdmitPersistsTheWholeOperation(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	a := creation("acme", "r1", "orders")
	a.OperationTimeout = time.Hour
	o := admit(t, db.Store, a)
	require.Equal(t, jobs.OperationQueued, o.State)
	require.Equal(t, []string{"first", "second"}, o.Stages)
	require.WithinDuration(t, o.AcceptedAt.Add(time.Hour), *o.Deadline, 0)

	got, steps, err := db.Operation(ctx, "acme", "r1")
	require.NoError(t, err)
	require.Equal(t, o, got)
	require.Len(t, steps, 3)
	require.Equal(t, "one.do a", steps[0].String())
	require.Equal(t, 1, steps[2].Stage)
	for _, s := range steps {
		require.Equal(t, jobs.StepPending, s.State)
		require.Equal(t, 2, s.Weight)
	}
	c, err := db.ClusterByName(ctx, "acme", "orders")
	require.NoError(t, err)
	require.Equal(t, jobs.ClusterCreating, c.State)
	require.JSONEq(t, `{"name":"orders"}`, string(c.Spec))
	require.Equal(t, o.ClusterID, c.ID)

	events := outbox(t, db.Store, o.ID)
	require.Equal(t, []string{"operation.accepted"}, types(events))
	gapless(t, events)
	require.Equal(t, "pgforeman/test", events[0].Source)
	require.Equal(t, "orders", events[0].Subject)
	out, err := db.Outbox(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, "pgforeman.v1.event.acme.orders.operation.accepted", out[0].Subject)

	entries, err := db.AuditTrail(ctx, "acme", "", 10)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, "cluster.create", entries[0].Action)
	require.Equal(t, "tester", entries[0].Actor)
}

func TestTheSameRequestTenTimesAtOnceIsOneOperation(t *testing.T) {
	db := newDB(t)
	fresh := make([]bool, 10)
	ids := make([]string, 10)
	none(t, atOnce(10, func(i int) error {
		got, err := db.Admit(context.Background(), creation("acme", "r1", "orders"))
		fresh[i], ids[i] = !got.Duplicate, got.Operation.ID
		return err
	}))
	admitted := 0
	for i := range fresh {
		require.Equal(t, ids[0], ids[i])
		if fresh[i] {
			admitted++
		}
	}
	require.Equal(t, 1, admitted)
	require.Len(t, outbox(t, db.Store, ""), 1)
}

func TestTenRequestsForOneNameMakeOneCluster(t *testing.T) {
	db := newDB(t)
	errs := atOnce(10, func(i int) error {
		_, err := db.Admit(context.Background(), creation("acme", name("r", i), "orders"))
		return err
	})
	taken := 0
	for _, err := range errs {
		if err != nil {
			refused(t, err, jobs.CodeNameTaken)
			taken++
		}
	}
	require.Equal(t, 9, taken)
}

func TestAdmitRefuses(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	admit(t, db.Store, creation("acme", "r1", "orders"))
	before := outbox(t, db.Store, "")

	other := creation("acme", "r1", "orders")
	other.Request.Hash = "another"
	_, err := db.Admit(ctx, other)
	refused(t, err, jobs.CodeConflict)

	_, err = db.Admit(ctx, creation("acme", "r2", "orders"))
	refused(t, err, jobs.CodeNameTaken)

	_, err = db.Admit(ctx, deletion("acme", "r3", "nothing"))
	refused(t, err, jobs.CodeUnknownCluster)

	_, err = db.Admit(ctx, deletion("globex", "r4", "orders"))
	refused(t, err, jobs.CodeUnknownCluster)

	unplanned := creation("acme", "r5", "billing")
	unplanned.Plan = func(jobs.PlanInput) (jobs.Plan, error) { return nil, jobs.Faults{{Field: "nodes", Message: "no"}} }
	_, err = db.Admit(ctx, unplanned)
	var faults jobs.Faults
	require.ErrorAs(t, err, &faults)

	for _, target := range []string{unknownID(), "r1-not", "", "'; --", "\x00"} {
		c := control("acme", "c", jobs.OperationCancel, end(jobs.OperationCancelled))
		c.TargetOperation = target
		_, err = db.Admit(ctx, c)
		refused(t, err, jobs.CodeUnknownOperation)
	}
	require.Equal(t, before, outbox(t, db.Store, ""), "a refusal tells nothing")
	_, err = db.ClusterByName(ctx, "acme", "billing")
	require.ErrorIs(t, err, jobs.ErrNotFound, "a refusal leaves no cluster")

	// Another tenant has names and ids of its own.
	admit(t, db.Store, creation("globex", "r1", "orders"))
}

func TestRejectTellsOnce(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	bad := request("acme", "r1", "cluster.create", "no such.name >*\x00")
	e := &jobs.Error{Code: jobs.CodeInvalid, Message: "nodes: at most 9", Faults: jobs.Faults{{Field: "nodes", Message: "at most 9"}}}
	none(t, atOnce(5, func(int) error { return db.Reject(ctx, bad, e) }))
	events := outbox(t, db.Store, "")
	require.Equal(t, []string{"operation.rejected"}, types(events))
	require.Equal(t, e.Faults, events[0].Data.Error.Faults)
	require.Equal(t, "r1", events[0].Data.RequestID)
	out, err := db.Outbox(ctx, 1)
	require.NoError(t, err)
	require.Equal(t, "pgforeman.v1.event.acme._.operation.rejected", out[0].Subject)

	again := creation("acme", "r1", "orders")
	got, err := db.Admit(ctx, again)
	require.NoError(t, err)
	require.True(t, got.Duplicate, "the same request, rejected before")
	again.Request.Hash = "mended"
	_, err = db.Admit(ctx, again)
	refused(t, err, jobs.CodeConflict)
	require.NoError(t, db.Reject(ctx, again.Request, e), "another content is another rejection")
	require.Len(t, outbox(t, db.Store, ""), 2)
}

func TestControlChangesItsTargetAndIsDone(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o := admit(t, db.Store, creation("acme", "r1", "orders"))
	c := control("acme", "c1", jobs.OperationCancel, func(s *jobs.Snapshot) error {
		require.Equal(t, o.ID, s.Operation.ID)
		require.Len(t, s.Steps, 3)
		s.Cluster.State = jobs.ClusterDeleted
		s.Tell(jobs.EventDraft{Type: jobs.OperationCancelledEv, Message: "cancelled"})
		return end(jobs.OperationCancelled)(s)
	})
	c.TargetOperation = o.ID

	foreign := c
	foreign.Request.Tenant = "globex"
	_, err := db.Admit(ctx, foreign)
	refused(t, err, jobs.CodeUnknownOperation)

	done := admit(t, db.Store, c)
	require.Equal(t, jobs.OperationSucceeded, done.State)
	require.NotNil(t, done.FinishedAt)
	require.Equal(t, int64(2), done.Seq)
	require.Equal(t, "orders", done.Cluster)
	require.Equal(t, []string{"operation.accepted", "operation.accepted", "operation.cancelled", "operation.succeeded"},
		types(outbox(t, db.Store, "")))
	gapless(t, outbox(t, db.Store, o.ID))
	gapless(t, outbox(t, db.Store, done.ID))

	target, _, err := db.Operation(ctx, "acme", o.ID)
	require.NoError(t, err)
	require.Equal(t, jobs.OperationCancelled, target.State)
	cluster, err := db.Cluster(ctx, o.ClusterID)
	require.NoError(t, err)
	require.Equal(t, jobs.ClusterDeleted, cluster.State)
	require.NotNil(t, cluster.DeletedAt)

	// What the rule refuses is told as it is; the control request leaves nothing.
	c.Request.ID = "c2"
	c.Control = func(*jobs.Snapshot) error { return &jobs.Error{Code: jobs.CodeTooLate, Message: "too late"} }
	_, err = db.Admit(ctx, c)
	refused(t, err, jobs.CodeTooLate)
	_, _, err = db.Operation(ctx, "acme", "c2")
	require.ErrorIs(t, err, jobs.ErrNotFound)

	// A control operation is no target.
	c.TargetOperation, c.Control = done.ID, end(jobs.OperationCancelled)
	// Its cluster exists, so the rule decides; here the CHECKs do.
	c.Control = func(s *jobs.Snapshot) error {
		require.Equal(t, jobs.OperationSucceeded, s.Operation.State)
		return &jobs.Error{Code: jobs.CodeTooLate, Message: "too late"}
	}
	_, err = db.Admit(ctx, c)
	refused(t, err, jobs.CodeTooLate)

	// The name is free again.
	admit(t, db.Store, creation("acme", "r2", "orders"))
}

func TestDeadLetterOfAnOperation(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o, _ := running(t, db.Store, "orders")
	fail := func(s *jobs.Snapshot) error {
		s.Dead = &jobs.DeadLetter{Reason: "step one.do failed", Advice: "replay it", Error: &jobs.Error{Code: jobs.CodeStepFailed}}
		s.Tell(jobs.EventDraft{Type: jobs.OperationFailedEv, Message: "failed"})
		return end(jobs.OperationFailed)(s)
	}
	require.NoError(t, db.Update(ctx, o.ID, nil, fail))
	list, err := db.DeadLetters(ctx, "acme", false, 0)
	require.NoError(t, err)
	require.Len(t, list, 1)
	d, err := db.DeadLetter(ctx, "acme", list[0].ID)
	require.NoError(t, err)
	require.Equal(t, o.ID, d.OperationID)
	require.Equal(t, "create-orders", d.RequestID)
	require.Equal(t, "body of create-orders", string(d.Original))
	require.Equal(t, map[string][]string{"X": {"y"}}, d.Header)
	require.Equal(t, jobs.DeadOpen, d.State)

	out, err := db.Outbox(ctx, 100)
	require.NoError(t, err)
	last := out[len(out)-1]
	require.Equal(t, d.ID, last.MsgID)
	require.Equal(t, "pgforeman.v1.dead.acme.cluster.create", last.Subject)
	var published jobs.DeadLetter
	require.NoError(t, json.Unmarshal(last.Body, &published))
	require.Equal(t, d.Original, published.Original)

	replay := control("acme", "replay", jobs.OperationReplay, func(s *jobs.Snapshot) error {
		s.Settle = jobs.DeadReplayed
		s.Operation.State, s.Operation.FinishedAt = jobs.OperationQueued, nil
		return nil
	})
	replay.TargetDeadLetter = d.ID
	admit(t, db.Store, replay)
	list, err = db.DeadLetters(ctx, "acme", false, 0)
	require.NoError(t, err)
	require.Empty(t, list)
	replay.Request.ID = "replay again"
	_, err = db.Admit(ctx, replay)
	refused(t, err, jobs.CodeNotFailed)

	_, err = db.DeadLetter(ctx, "globex", d.ID)
	require.ErrorIs(t, err, jobs.ErrNotFound)
}

func TestBuryOnceAndDiscard(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	letter := jobs.DeadLetter{
		Tenant: "acme", Kind: "not a kind", Reason: "not JSON", Advice: "mend the sender.", StreamSeq: 7,
		Subject: "pgforeman.v1.request.acme.cluster.create", Original: []byte("\x00\xff{"),
	}
	none(t, atOnce(5, func(int) error { return db.Bury(ctx, letter) }))
	other := letter
	other.Original = []byte(strings.Repeat("\xfe", 1<<20)) // a new stream counts from one again
	require.NoError(t, db.Bury(ctx, other))

	out, err := db.Outbox(ctx, 100)
	require.NoError(t, err)
	require.Len(t, out, 2)
	require.Equal(t, "pgforeman.v1.dead.acme.unknown", out[0].Subject)
	require.Less(t, len(out[1].Body), 1<<20, "an event fits into a NATS message")
	large, err := db.DeadLetter(ctx, "acme", out[1].MsgID)
	require.NoError(t, err)
	require.Equal(t, other.Original, large.Original)

	discard := control("acme", "d1", jobs.OperationDiscard, func(s *jobs.Snapshot) error {
		require.Nil(t, s.Operation)
		require.Equal(t, "\x00\xff{", string(s.Dead.Original))
		s.Settle = jobs.DeadDiscarded
		return nil
	})
	discard.TargetDeadLetter = out[0].MsgID
	foreign := discard
	foreign.Request.Tenant = "globex"
	_, err = db.Admit(ctx, foreign)
	refused(t, err, jobs.CodeUnknownOperation)
	o := admit(t, db.Store, discard)
	require.Empty(t, o.ClusterID)
	gapless(t, outbox(t, db.Store, o.ID))
	d, err := db.DeadLetter(ctx, "acme", out[0].MsgID)
	require.NoError(t, err)
	require.Equal(t, jobs.DeadDiscarded, d.State)
}
