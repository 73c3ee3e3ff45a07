package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

const day = 24 * time.Hour

func TestUrgency(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	life := term{from, from.Add(360 * day)}
	for left, want := range map[time.Duration]int{
		360 * day: 0, 121 * day: 0, 120 * day: 0, 119 * day: 1, 61 * day: 1, 59 * day: 2, 29 * day: 3, day: 7, 0: mostUrgent, -day: mostUrgent,
	} {
		require.Equal(t, want, life.urgency(life.to.Add(-left)), "%s before the end", left)
	}
}

// later is a keeper's cluster, and a clock that can be put forward.
func later(t *testing.T) (w *world, b *bench, forward func(time.Duration)) {
	t.Helper()
	w = newWorld()
	cluster := newCluster("orders", nil)
	w.clusters[cluster.ID] = cluster
	var offset time.Duration
	clock := func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return time.Now().Add(offset)
	}
	c, err := New(Deps{Engine: w, State: w, Log: zerolog.Nop(), probe: newAnswers(w), now: clock, wall: clock})
	require.NoError(t, err)
	b = newBench(t, c, cluster)
	b.all(createKind())
	w.beCluster(b.cluster, jobs.ClusterReady)
	return w, b, func(d time.Duration) {
		w.mu.Lock()
		offset += d
		w.mu.Unlock()
	}
}

// asked are the requests admitted so far.
func (w *world) asked() []jobs.Operation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]jobs.Operation{}, w.admitted...)
}

// ended puts the newest operation into a state.
func (w *world) ended(state jobs.OperationState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.admitted[0].State = state
}

func TestKeeperRenewsCertificatesBeforeTheyEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b, forward := later(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 2)
		for range 2 { // two workers may both believe that they hold the duty
			go func() { done <- b.c.Keeper(ctx) }()
		}
		defer func() {
			cancel()
			require.NoError(t, <-done)
			require.NoError(t, <-done)
		}()
		pass(t, time.Minute)
		require.Empty(t, w.asked(), "new certificates")
		forward(240 * day)
		pass(t, time.Minute)
		require.Empty(t, w.asked(), "a third of their life is left, and three days more")
		forward(4 * day)
		pass(t, time.Minute)
		require.Len(t, w.asked(), 1, "one operation, whoever asks")
		o := w.asked()[0]
		require.Equal(t, jobs.ClusterRotate, o.Kind)
		require.Equal(t, "orders", o.Cluster)
		require.Equal(t, "pgforeman", o.Source)
		require.JSONEq(t, `{"name": "orders", "certificates": true}`, string(o.Spec))

		w.ended(jobs.OperationFailed)
		pass(t, 2*keysEvery)
		require.Len(t, w.asked(), 1, "one that failed is for a person, not for another try at once")
		w.ended(jobs.OperationQueued) // it is replayed
		forward(70 * day)
		pass(t, time.Minute)
		require.Len(t, w.asked(), 1, "never beside another operation")
		w.ended(jobs.OperationFailed)
		pass(t, 2*keysEvery)
		require.Len(t, w.asked(), 2, "half of what was left has passed, and it has not worked out")
		pass(t, 2*keysEvery)
		require.Len(t, w.asked(), 2)
		w.ended(jobs.OperationSucceeded)
		for _, stage := range planOf(t, rotateKind(), b.cluster) {
			for _, step := range stage.Steps {
				b.run(step)
			}
		}
		pass(t, 2*keysEvery)
		require.Len(t, w.asked(), 2, "they are new now")
	})
}

func TestKeeperRenewsOnlyWhatItKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b, forward := later(t)
		w.beCluster(b.cluster, jobs.ClusterDeleting)
		forward(300 * day)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.c.Keeper(ctx) }()
		pass(t, time.Hour)
		require.Empty(t, w.asked())
		cancel()
		require.NoError(t, <-done)
	})
}

func TestWhatEndsWithItsAuthorityIsNotRenewed(t *testing.T) {
	t.Parallel()
	w, b, forward := later(t)
	s, err := siteOf(b.cluster)
	require.NoError(t, err)
	forward(9*365*day + 300*day)
	for _, stage := range planOf(t, rotateKind(), b.cluster) {
		for _, step := range stage.Steps {
			b.run(step)
		}
	}
	forward(60 * day)
	require.NoError(t, b.c.renew(t.Context(), s, w.secrets))
	require.Empty(t, w.asked(), "a new one would end at the same time")
}
