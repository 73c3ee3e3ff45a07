package cluster

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/etcd"
)

// realBench is a bench on the real Engine, under an instance of its own; what it
// made is removed at the test's end, whatever happened.
func realBench(t *testing.T, change func(*jobs.ClusterSpec)) (*docker.Engine, *world, *bench) {
	t.Helper()
	id := uuid.Must(uuid.NewV7()).String()
	log := zerolog.New(zerolog.NewTestWriter(t)).With().Timestamp().Logger()
	engine, err := docker.Open(docker.Options{Instance: "cluster-test-" + id, Log: log})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, engine.Close()) })
	require.NoError(t, engine.BuildImages(t.Context(), nil))

	state := newWorld()
	cluster := newCluster("orders", change)
	cluster.ID = id
	state.clusters[id] = cluster
	c, err := New(Deps{Engine: engine, State: state, Log: log})
	require.NoError(t, err)
	c.probe = &spy{probe: c.probe}
	b := newBench(t, c, cluster)
	b.timeout = 5 * time.Minute
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if t.Failed() {
			showLogs(ctx, t, engine)
		}
		inv, err := engine.Inventory(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, engine.Remove(ctx, inv))
	})
	return engine, state, b
}

// spy counts the leader keys that were taken.
type spy struct {
	probe
	revoked atomic.Int32
}

func (p *spy) revoke(ctx context.Context, s site, k keys, seen etcd.Leader) (bool, error) {
	done, err := p.probe.revoke(ctx, s, k, seen)
	if done {
		p.revoked.Add(1)
	}
	return done, err
}

func showLogs(ctx context.Context, t *testing.T, engine *docker.Engine) {
	boxes, err := engine.Containers(ctx, nil)
	if err != nil {
		t.Logf("no logs: %v", err)
	}
	for _, box := range boxes {
		lines, _ := engine.Logs(ctx, box.Name, 100)
		t.Logf("%s, %s:\n%s", box.Name, box.State, lines)
	}
}

// together runs a plan as the engine does: the steps of a stage at once.
func (b *bench) together(kind jobs.Kind) {
	b.t.Helper()
	begin := time.Now()
	for _, stage := range planOf(b.t, kind, b.cluster) {
		var all sync.WaitGroup
		errs := make([]error, len(stage.Steps))
		results := make([]jobs.Result, len(stage.Steps))
		took := make([]string, len(stage.Steps))
		for i, step := range stage.Steps {
			all.Go(func() {
				at := time.Now()
				ctx, cancel := context.WithTimeout(b.t.Context(), b.timeout)
				defer cancel()
				attempt := &jobs.Attempt{Cluster: b.cluster, Step: step, Number: 1}
				results[i], errs[i] = b.steps[step.Name].Run(ctx, attempt)
				took[i] = fmt.Sprintf("%s %d ms", step, time.Since(at).Milliseconds())
			})
		}
		all.Wait()
		b.t.Logf("%6d ms %s: %s", time.Since(begin).Milliseconds(), stage.Title, strings.Join(took, ", "))
		for i, err := range errs {
			require.NoError(b.t, err, stage.Steps[i])
			b.facts = append(b.facts, results[i].Facts...)
			if change := results[i].Cluster; change != nil {
				b.cluster.State = change.State
				if change.Endpoints != nil {
					b.cluster.Endpoints = *change.Endpoints
				}
			}
		}
	}
}

// eventually waits for a condition; it says what it saw when it gives up.
func eventually(t *testing.T, d time.Duration, what string, see func() (bool, string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, seen := see()
		if ok {
			return
		}
		select {
		case <-ctx.Done():
			require.FailNow(t, "gave up waiting", "for %s; last seen: %s", what, seen)
		case <-tick.C:
		}
	}
}

// TestRealCluster makes a cluster on the real Engine, kills its leader under a
// keeper's eyes, and deletes it.
func TestRealCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Docker and a minute")
	}
	nodes := 2
	if os.Getenv("PGFOREMAN_TEST_WIDE") != "" {
		nodes = 3
	}
	engine, state, b := realBench(t, func(s *jobs.ClusterSpec) {
		s.Nodes, s.EtcdMembers = nodes, 1
		if nodes == 3 {
			s.EtcdMembers = 3
		}
		s.Databases = []jobs.DatabaseSpec{{Name: "sales"}}
	})
	b.together(createKind())
	require.Equal(t, jobs.ClusterReady, b.cluster.State)
	require.Equal(t, jobs.ClusterReadyEv, b.facts[len(b.facts)-1].Type)
	b.run(jobs.Step{Name: stepVerify}) // again, on a cluster that is ready
	for _, r := range state.nodes {
		require.True(t, atWork(r.State), "%+v", r)
	}
	state.beCluster(b.cluster, b.cluster.State)

	status, err := b.c.Status(t.Context(), b.cluster)
	require.NoError(t, err)
	require.Empty(t, status.Trouble)
	require.Len(t, status.Nodes, nodes)
	require.Equal(t, "streaming", status.Parts[len(status.Parts)-2].Receiver)

	ctx, stop := context.WithCancel(t.Context())
	kept := make(chan error, 1)
	go func() { kept <- b.c.Keeper(ctx) }()
	failover(t, engine, state, b)
	stop()
	require.NoError(t, <-kept)

	b.together(deleteKind())
	require.Equal(t, jobs.ClusterDeleted, b.cluster.State)
	inv, err := engine.Inventory(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, inv.Empty(), "left: %s", inv)
}

// failover kills the leader's container and waits until writing goes on, then
// until the keeper says that all is as before.
func failover(t *testing.T, engine *docker.Engine, state *world, b *bench) {
	t.Helper()
	s, err := siteOf(b.cluster)
	require.NoError(t, err)
	k := keys(state.secrets)
	d := newDialer(engine, nil)
	defer func() {
		for name := range d.kept {
			d.drop(name)
		}
	}()
	ports, err := b.c.hostPorts(t.Context(), s)
	require.NoError(t, err)
	leader, err := d.leader(t.Context(), s, k)
	require.NoError(t, err)
	eventually(t, 30*time.Second, "the keeper to look after the cluster", func() (bool, string) {
		state.mu.Lock()
		defer state.mu.Unlock()
		return len(state.nodes) > 0, "no nodes"
	})

	at := time.Now()
	require.NoError(t, engine.KillContainer(t.Context(), s.container(leader.Node), "KILL"))
	eventually(t, 60*time.Second, "writes after the leader's death", func() (bool, string) {
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := d.write(short, s, k, ports[primaryPurpose], "after-failover")
		return err == nil, fmt.Sprint(err)
	})
	t.Logf("no writes for %d ms", time.Since(at).Milliseconds())
	require.Equal(t, int32(1), b.c.probe.(*spy).revoked.Load(), "leader keys taken: else it takes the lease's 20 s")

	eventually(t, 2*time.Minute, "recovery", func() (bool, string) {
		facts := state.facts()
		return slices.Contains(facts, "cluster.recovered"), strings.Join(facts, ", ")
	})
	t.Logf("recovered after %d ms", time.Since(at).Milliseconds())
	facts := state.facts()
	require.Contains(t, facts, "node.down "+leader.Node)
	require.Contains(t, facts, "node.joined "+leader.Node)
	require.Contains(t, strings.Join(facts, ","), "cluster.leader_changed ")
}
