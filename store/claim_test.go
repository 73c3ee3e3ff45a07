package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store"
)

func TestManyClaimersGetEachStepOnce(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	for i := range 20 {
		admit(t, db.Store, creation("acme", name("r", i), name("c", i)))
	}
	require.Equal(t, 20, startAll(t, db.Store))
	var mu sync.Mutex
	got := map[int64]int{}
	none(t, atOnce(8, func(i int) error {
		for {
			claimed, err := db.Claim(ctx, name("w", i), 3, steps, lease)
			if err != nil || len(claimed) == 0 {
				return err
			}
			mu.Lock()
			for _, c := range claimed {
				got[c.Lease.StepID]++
			}
			mu.Unlock()
		}
	}))
	// A claimer passes over rows that another one is about to take, so the last
	// ones may have been left.
	claimed, err := db.Claim(ctx, "w", 100, steps, lease)
	require.NoError(t, err)
	for _, c := range claimed {
		got[c.Lease.StepID]++
	}
	require.Len(t, got, 40)
	for id, n := range got {
		require.Equal(t, 1, n, "step %d", id)
	}
}

func TestClaimCarriesAllThatARunNeeds(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o, claimed := running(t, db.Store, "orders")
	first := claimed[0]
	require.Equal(t, jobs.Lease{OperationID: o.ID, StepID: first.Step.ID, Owner: "w1", Attempt: 1}, first.Lease)
	require.Equal(t, jobs.StepRunning, first.Step.State)
	require.NotNil(t, first.Step.StartedAt)
	require.Equal(t, "orders", first.Cluster.Name)
	require.Empty(t, first.Outputs)
	for _, c := range claimed {
		require.NoError(t, db.Update(ctx, o.ID, &c.Lease, succeed(c.Step.ID)))
	}
	require.NoError(t, db.Update(ctx, o.ID, nil, func(s *jobs.Snapshot) error {
		s.Operation.Stage, s.Steps[2].State, s.Steps[2].ReadyAt = 1, jobs.StepReady, s.Now
		return nil
	}))
	none1, err := db.Claim(ctx, "w1", 10, []string{"three.do"}, lease)
	require.NoError(t, err)
	require.Empty(t, none1, "a worker claims only what it knows")
	second, err := db.Claim(ctx, "w2", 10, steps, lease)
	require.NoError(t, err)
	require.Len(t, second, 1)
	require.Equal(t, map[string]json.RawMessage{
		"one.do a": json.RawMessage(`{"by":"one.do a"}`), "one.do b": json.RawMessage(`{"by":"one.do b"}`),
	}, second[0].Outputs)
	require.Equal(t, 20, second[0].Operation.Percent)
}

func TestAnAttemptThatLostItsLeaseChangesNothing(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o, claimed := running(t, db.Store, "orders")
	old := claimed[0].Lease
	db.Exec(t, "UPDATE steps SET lease_until = now() - interval '1 s' WHERE id = $1", old.StepID)
	taken, err := db.Claim(ctx, "w2", 10, steps, lease)
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.Equal(t, 2, taken[0].Lease.Attempt)
	before := outbox(t, db.Store, "")

	require.ErrorIs(t, db.Update(ctx, o.ID, &old, succeed(old.StepID)), jobs.ErrLeaseLost)
	held, err := db.Renew(ctx, "w1", []jobs.Lease{old, claimed[1].Lease}, lease)
	require.NoError(t, err)
	require.Len(t, held, 1)
	require.Equal(t, claimed[1].Lease, held[0].Lease)
	require.NoError(t, db.Release(ctx, []jobs.Lease{old}))
	_, list, err := db.Operation(ctx, "acme", o.ID)
	require.NoError(t, err)
	require.Equal(t, jobs.StepRunning, list[0].State)
	require.Equal(t, "w2", list[0].Owner)
	require.Equal(t, before, outbox(t, db.Store, ""))

	require.NoError(t, db.Update(ctx, o.ID, &taken[0].Lease, succeed(old.StepID)))
	require.ErrorIs(t, db.Update(ctx, o.ID, &taken[0].Lease, succeed(old.StepID)), jobs.ErrLeaseLost, "a result counts once")
}

// A worker that lost its lease and claimed the step again is its owner still: only
// the attempt tells the old result from the new one.
func TestAnOldAttemptOfTheSameWorkerChangesNothing(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o, claimed := running(t, db.Store, "orders")
	old := claimed[0].Lease
	db.Exec(t, "UPDATE steps SET lease_until = now() - interval '1 s' WHERE id = $1", old.StepID)
	taken, err := db.Claim(ctx, old.Owner, 10, steps, lease)
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.ErrorIs(t, db.Update(ctx, o.ID, &old, succeed(old.StepID)), jobs.ErrLeaseLost)
	require.NoError(t, db.Update(ctx, o.ID, &taken[0].Lease, succeed(old.StepID)))
}

// The lease is taken over after the rule has seen it and before its result is
// written: only the guard of the UPDATE can tell.
func TestALeaseTakenOverDuringTheRuleVoidsItsResult(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o, claimed := running(t, db.Store, "orders")
	l := claimed[0].Lease
	runs := 0
	err := db.Update(ctx, o.ID, &l, func(s *jobs.Snapshot) error {
		runs++
		db.Exec(t, "UPDATE steps SET attempt = attempt + 1, owner = 'w2' WHERE id = $1", l.StepID)
		return succeed(l.StepID)(s)
	})
	require.ErrorIs(t, err, jobs.ErrLeaseLost)
	require.Equal(t, 1, runs, "the second look finds the lease gone")

	// The same for a rule that leaves the leased step as it is.
	l = claimed[1].Lease
	err = db.Update(ctx, o.ID, &l, func(s *jobs.Snapshot) error {
		db.Exec(t, "UPDATE steps SET attempt = attempt + 1, owner = 'w2' WHERE id = $1", l.StepID)
		s.Tell(jobs.EventDraft{Type: jobs.StepProgressed, Message: "half"})
		return nil
	})
	require.ErrorIs(t, err, jobs.ErrLeaseLost)
	require.Equal(t, []string{"operation.accepted", "operation.started"}, types(outbox(t, db.Store, o.ID)))
}

func TestAWriteKeepsALeaseThatIsRenewedMeanwhile(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o, claimed := running(t, db.Store, "orders")
	l := claimed[0].Lease
	require.NoError(t, db.Update(ctx, o.ID, &l, func(s *jobs.Snapshot) error {
		held, err := db.Renew(ctx, l.Owner, []jobs.Lease{l}, time.Hour)
		require.NoError(t, err)
		require.Len(t, held, 1)
		for _, st := range s.Steps {
			if st.ID == l.StepID {
				st.Observation = &jobs.Observation{Message: "half"}
			}
		}
		return nil
	}))
	var kept bool
	db.Scan(t, fmt.Sprintf("SELECT lease_until > now() + interval '30 min' AND observation IS NOT NULL FROM steps WHERE id = %d", l.StepID), &kept)
	require.True(t, kept, "the write put back the lease that it had read")
	require.NoError(t, db.Update(ctx, o.ID, &l, succeed(l.StepID)))
	db.Scan(t, fmt.Sprintf("SELECT lease_until IS NULL FROM steps WHERE id = %d", l.StepID), &kept)
	require.True(t, kept, "who has ended holds nothing")
}

func TestAStepClaimedDuringARuleWithoutALeaseIsSeenByItsSecondRun(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o := admit(t, db.Store, creation("acme", "r1", "orders"))
	startAll(t, db.Store)
	var seen []jobs.StepState
	require.NoError(t, db.Update(ctx, o.ID, nil, func(s *jobs.Snapshot) error {
		seen = append(seen, s.Steps[0].State)
		if len(seen) == 1 {
			_, err := db.Claim(ctx, "w1", 1, steps, lease)
			require.NoError(t, err)
		}
		if s.Steps[0].State == jobs.StepReady {
			s.Steps[0].State = jobs.StepSkipped
		}
		return nil
	}))
	require.Equal(t, []jobs.StepState{jobs.StepReady, jobs.StepRunning}, seen)
}

func TestRenewTellsInterrupt(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o, claimed := running(t, db.Store, "orders")
	leases := []jobs.Lease{claimed[0].Lease, claimed[1].Lease}
	held, err := db.Renew(ctx, "w1", leases, lease)
	require.NoError(t, err)
	require.Len(t, held, 2)
	require.False(t, held[0].Interrupt || held[1].Interrupt)
	require.NoError(t, db.Update(ctx, o.ID, nil, func(s *jobs.Snapshot) error {
		s.Operation.State, s.Operation.Undo = jobs.OperationUndoing, jobs.UndoCancel
		s.Step(leases[1].StepID).Undoing = true
		return nil
	}))
	held, err = db.Renew(ctx, "w1", leases, lease)
	require.NoError(t, err)
	for _, h := range held {
		require.Equal(t, h.Lease == leases[0], h.Interrupt)
	}
	other, err := db.Renew(ctx, "w2", leases, lease)
	require.NoError(t, err)
	require.Empty(t, other)
}

// A step that failed for good ends its operation: what still runs of it, on
// whatever worker, is no longer wanted.
func TestRenewInterruptsWhatRunsBesideAFailedStep(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o, claimed := running(t, db.Store, "orders")
	require.NoError(t, db.Update(ctx, o.ID, nil, func(s *jobs.Snapshot) error {
		s.Operation.Error = &jobs.Error{Code: jobs.CodeStepFailed, Message: "another step failed"}
		return nil
	}))
	held, err := db.Renew(ctx, "w1", []jobs.Lease{claimed[0].Lease}, lease)
	require.NoError(t, err)
	require.Len(t, held, 1)
	require.True(t, held[0].Interrupt)
}

func TestReleaseMakesReadyAtOnce(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	_, claimed := running(t, db.Store, "orders")
	require.NoError(t, db.Release(ctx, []jobs.Lease{claimed[0].Lease, claimed[1].Lease}))
	again, err := db.Claim(ctx, "w2", 10, steps, lease)
	require.NoError(t, err)
	require.Len(t, again, 2)
	require.Equal(t, 2, again[0].Lease.Attempt)
}

func TestNextWake(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	wake := func() time.Duration {
		d, err := db.NextWake(ctx, time.Minute)
		require.NoError(t, err)
		return d
	}
	require.Equal(t, time.Minute, wake())
	o := admit(t, db.Store, creation("acme", "r1", "orders"))
	startAll(t, db.Store)
	at := func(d time.Duration) {
		require.NoError(t, db.Update(ctx, o.ID, nil, func(s *jobs.Snapshot) error {
			s.Steps[0].State, s.Steps[0].ReadyAt = jobs.StepReady, s.Now.Add(d)
			s.Steps[1].State = jobs.StepPending
			return nil
		}))
	}
	at(30 * time.Second)
	require.InDelta(t, 30, wake().Seconds(), 20)
	at(-time.Hour)
	require.Equal(t, time.Minute, wake(), "a step that nobody here can carry out does not wake")
	at(0)
	claimed, err := db.Claim(ctx, "w1", 1, steps, 20*time.Second)
	require.NoError(t, err)
	require.Len(t, claimed, 1)
	require.Less(t, wake(), 21*time.Second, "a lease runs out")
}

func TestEventsStayGaplessUnderContention(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	second := db.Open(t, store.Options{})
	o, _ := running(t, db.Store, "orders")
	p, _ := running(t, db.Store, "billing")
	errs := atOnce(40, func(i int) error {
		s, id := db.Store, o.ID
		if i%2 == 0 {
			s = second
		}
		if i%3 == 0 {
			id = p.ID
		}
		return s.Update(ctx, id, nil, func(s *jobs.Snapshot) error {
			s.Operation.Percent = min(100, s.Operation.Percent+1)
			s.Tell(jobs.EventDraft{Type: jobs.StepProgressed, Message: fmt.Sprint(i)})
			if i%10 == 9 {
				return errors.New("no")
			}
			return nil
		})
	})
	for i, err := range errs {
		if i%10 == 9 {
			require.EqualError(t, err, "no")
		} else {
			require.NoError(t, err)
		}
	}
	total := 0
	for _, id := range []string{o.ID, p.ID} {
		events := outbox(t, db.Store, id)
		gapless(t, events)
		total += len(events)
		percent := 0
		for _, e := range events {
			require.GreaterOrEqual(t, e.Data.Percent, percent)
			percent = e.Data.Percent
		}
	}
	require.Equal(t, 2*2+36, total)
}

func TestUpdateRefusesWhatCannotBe(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o, _ := running(t, db.Store, "orders")
	require.ErrorIs(t, db.Update(ctx, unknownID(), nil, start), jobs.ErrNotFound)
	require.ErrorIs(t, db.Update(ctx, "nonsense", nil, start), jobs.ErrNotFound)
	for title, rule := range map[string]jobs.Rule{
		"finished without a time": func(s *jobs.Snapshot) error { s.Operation.State = jobs.OperationFailed; return nil },
		"percent above 100":       func(s *jobs.Snapshot) error { s.Operation.Percent = 101; return nil },
		"undoing for no reason":   func(s *jobs.Snapshot) error { s.Operation.State = jobs.OperationUndoing; return nil },
		"running without a lease": func(s *jobs.Snapshot) error { s.Steps[2].State = jobs.StepRunning; return nil },
		"an unknown state":        func(s *jobs.Snapshot) error { s.Cluster.State = "strange"; return nil },
	} {
		require.Error(t, db.Update(ctx, o.ID, nil, rule), title)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	err := db.Update(canceled, o.ID, nil, start)
	if err != nil { // it may have been taken at once
		require.ErrorIs(t, err, context.Canceled)
	}
}
