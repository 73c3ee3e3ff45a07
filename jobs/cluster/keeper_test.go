package cluster

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// keep runs a keeper over a cluster that is ready until the test's end.
func keep(t *testing.T, change func(*jobs.ClusterSpec)) (*world, *answers, *bench) {
	t.Helper()
	w, p, b := fixture(t, change)
	b.all(createKind())
	w.beCluster(b.cluster, b.cluster.State)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.c.Keeper(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	pass(t, 10*time.Second)
	require.Empty(t, w.facts(), "nothing has changed since the cluster is ready")
	return w, p, b
}

// pass lets time go by; in a synctest bubble that takes none.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	<-time.After(d)
	synctest.Wait()
}

func TestKeeperReplacesADeadLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p, b := keep(t, nil)
		s, err := siteOf(b.cluster)
		require.NoError(t, err)
		w.kill(s.container("orders-1"))
		pass(t, 50*time.Millisecond)
		require.Equal(t, []string{"orders-1"}, p.taken(), "the key is taken at once, not at the next look")
		pass(t, 30*time.Second)
		require.Equal(t, []string{s.container("orders-1")}, w.started())
		require.Equal(t, []string{
			"node.down orders-1", "cluster.leader_changed orders-2", "cluster.degraded", "node.joined orders-1", "cluster.recovered",
		}, w.facts())
		now, err := w.Cluster(t.Context(), b.cluster.ID)
		require.NoError(t, err)
		require.Equal(t, jobs.ClusterReady, now.State)
	})
}

func TestKeeperLeavesTheKeyOfALivingLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p, b := keep(t, nil)
		s, err := siteOf(b.cluster)
		require.NoError(t, err)
		for _, state := range []docker.State{docker.StatePaused, docker.StateRunning, docker.StateRestarting} {
			w.be(s.container("orders-1"), state)
			require.NoError(t, b.c.revokeDead(t.Context(), s, w.secrets, "orders-1"))
		}
		w.kill(s.container("orders-3"))
		pass(t, 20*time.Second)
		require.Empty(t, p.taken())
		require.Equal(t, []string{s.container("orders-3")}, w.started())
	})
}

func TestKeeperKeepsItsHandsOffAClusterInWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p, b := keep(t, nil)
		s, err := siteOf(b.cluster)
		require.NoError(t, err)
		pass(t, time.Second) // the keeper has just listed: what it knows is old
		w.beCluster(b.cluster, jobs.ClusterDeleting)
		w.kill(s.container("orders-1"))
		pass(t, time.Minute)
		require.Empty(t, w.started())
		require.Empty(t, p.taken())
		require.Empty(t, w.facts())
	})
}

func TestKeeperStartsWhatKeepsDyingEverMoreSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, b := keep(t, nil)
		s, err := siteOf(b.cluster)
		require.NoError(t, err)
		name := s.container("orders-proxy-1")
		for range 300 {
			if box, err := w.Container(t.Context(), name); err == nil && box.Running() {
				w.kill(name)
			}
			pass(t, time.Second)
		}
		require.Less(t, len(w.started()), 15, "in five minutes")
		require.Greater(t, len(w.started()), 5)
		require.Equal(t, 1, strings.Count(strings.Join(w.facts(), " "), "cluster.degraded"))
	})
}

func TestReaperRemovesOnlyWhatDeletedClustersLeft(t *testing.T) {
	w, _, b := fixture(t, nil)
	b.all(createKind())
	unknown := map[string]bool{}
	require.NoError(t, b.c.reap(t.Context(), unknown))
	require.Len(t, w.containers, 7, "a live cluster is left alone")

	known := w.clusters
	w.clusters = map[string]jobs.Cluster{}
	require.NoError(t, b.c.reap(t.Context(), unknown))
	require.Len(t, w.containers, 7, "an unknown cluster is left alone")

	w.clusters = known
	c := b.cluster
	c.State = jobs.ClusterDeleted
	w.clusters[c.ID] = c
	require.NoError(t, b.c.reap(t.Context(), unknown))
	require.Empty(t, w.containers)
	require.Empty(t, w.volumes)
	require.Empty(t, w.networks)
}
