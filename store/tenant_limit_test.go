package store_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store"
)

// TestATenantsLimitIsHard has ten workers start the 500 queued operations of one
// tenant at once, round after round, while others end, are turned round, or come
// back to the queue: the tenant never has more active ones than its limit, and
// always as many when it has work, and whatever isolation the server prefers. A
// small tenant is served in the first round.
func TestATenantsLimitIsHard(t *testing.T) {
	const workers, queued, limit, rounds = 10, 500, 8, 6
	db, ctx := newDB(t), context.Background()
	none(t, atOnce(5, func(part int) error {
		for i := part; i < queued; i += 5 {
			if _, err := db.Admit(ctx, creation("large", name("r", i), name("c", i))); err != nil {
				return err
			}
		}
		return nil
	}))
	admit(t, db.Store, creation("small", "r", "c"))
	db.Exec(t, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); END $$`)
	stores := make([]*store.Store, workers)
	for i := range stores {
		stores[i] = db.Open(t, store.Options{MaxConns: 4})
	}
	active := func() (n int) {
		db.Scan(t, "SELECT count(*) FROM operations WHERE tenant = 'large' AND state IN ('running', 'undoing')", &n)
		return n
	}
	startAtOnce := func() {
		none(t, atOnce(workers, func(i int) error {
			_, err := stores[i].StartQueued(ctx, 32, limit, start)
			return err
		}))
	}
	for round := range rounds {
		startAtOnce()
		require.Equal(t, limit, active(), "round %d", round)
		require.Equal(t, []string{"r"}, states(t, db.Store, "small", jobs.OperationRunning))

		// Six leave by the ways that there are, one of them to the queue again,
		// while all ten start what they can.
		running, err := db.Operations(ctx, "large", jobs.OperationFilter{State: jobs.OperationRunning})
		require.NoError(t, err)
		leave := []jobs.Rule{
			end(jobs.OperationSucceeded), end(jobs.OperationSucceeded), end(jobs.OperationCancelled),
			failed, backToTheQueue, turnedRound,
		}
		require.GreaterOrEqual(t, len(running), len(leave))
		none(t, atOnce(workers+len(leave), func(i int) error {
			if i < len(leave) {
				return db.Update(ctx, running[i].ID, nil, leave[i])
			}
			_, err := stores[i-len(leave)].StartQueued(ctx, 32, limit, start)
			return err
		}))
		require.LessOrEqual(t, active(), limit, "round %d", round)
		turned, err := db.Operations(ctx, "large", jobs.OperationFilter{State: "undoing"})
		require.NoError(t, err)
		for _, o := range turned {
			require.NoError(t, db.Update(ctx, o.ID, nil, end(jobs.OperationCancelled)))
		}
	}
	started := slices.Concat(
		states(t, db.Store, "large", jobs.OperationSucceeded), states(t, db.Store, "large", jobs.OperationCancelled))
	require.Len(t, started, 4*rounds, "what was to end has ended")
}

func failed(s *jobs.Snapshot) error {
	s.Dead = &jobs.DeadLetter{Reason: "failed", Error: &jobs.Error{}}
	return end(jobs.OperationFailed)(s)
}

// backToTheQueue is what a replay does to an operation in the end.
func backToTheQueue(s *jobs.Snapshot) error {
	if !s.Operation.State.Active() {
		return fmt.Errorf("operation is %s", s.Operation.State)
	}
	s.Operation.State = jobs.OperationQueued
	for _, st := range s.Steps {
		st.State = jobs.StepPending
	}
	return nil
}

// turnedRound is what a cancel does to an operation that runs.
func turnedRound(s *jobs.Snapshot) error {
	s.Operation.State, s.Operation.Undo = jobs.OperationUndoing, jobs.UndoCancel
	return nil
}

// TestAReplayBesideAStartKeepsTheLimit has one worker in the middle of starting
// an operation when an older one returns to the queue, and another worker finds
// that: they see different candidates and one free place, and only one of them
// may take it.
func TestAReplayBesideAStartKeepsTheLimit(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	older := admit(t, db.Store, creation("acme", "older", "c1"))
	require.Equal(t, 1, startAll(t, db.Store))
	require.NoError(t, db.Update(ctx, older.ID, nil, failed))
	admit(t, db.Store, creation("acme", "younger", "c2"))

	within, goOn, done := make(chan struct{}, 10), make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := db.StartQueued(ctx, 10, 1, func(s *jobs.Snapshot) error {
			within <- struct{}{}
			<-goOn
			return start(s)
		})
		done <- err
	}()
	<-within
	require.NoError(t, db.Update(ctx, older.ID, nil, func(s *jobs.Snapshot) error {
		s.Operation.State, s.Operation.FinishedAt = jobs.OperationQueued, nil
		return nil
	}))
	second := make(chan error, 1)
	other := db.Open(t, store.Options{})
	go func() {
		_, err := other.StartQueued(ctx, 10, 1, start)
		second <- err
	}()
	waits := false
	require.Eventually(t, func() bool {
		db.Scan(t, `SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
			WHERE locktype = 'advisory' AND NOT granted AND datname = current_database())`, &waits)
		return waits || len(second) > 0
	}, 8*time.Second, 5*time.Millisecond, "the second worker neither waits nor ends")
	close(goOn)
	require.NoError(t, <-done)
	require.NoError(t, <-second)
	require.Equal(t, []string{"younger"}, states(t, db.Store, "acme", jobs.OperationRunning))
}
