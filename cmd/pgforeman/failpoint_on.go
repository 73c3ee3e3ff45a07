//go:build failpoint

package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/cluster"
	"github.com/vcs-iaas/pgforeman/worker"
)

// This build has failure points, for tests alone: one before and one after
// every commit to the state database and every side effect on the Engine. They
// are counted from the process's start.
//
//	PGFOREMAN_FAILPOINT_LOG=FILE  every point passed is written there, a line each
//	PGFOREMAN_FAILPOINT_KILL=N    the process kills itself with SIGKILL at the Nth

type failpoints struct {
	passed atomic.Int64
	kill   int64
	log    *os.File
}

var points = openFailpoints()

func openFailpoints() *failpoints {
	f := &failpoints{}
	f.kill, _ = strconv.ParseInt(os.Getenv("PGFOREMAN_FAILPOINT_KILL"), 10, 64)
	if path := os.Getenv("PGFOREMAN_FAILPOINT_LOG"); path != "" {
		f.log, _ = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	}
	return f
}

func (f *failpoints) hit(when, what string) {
	n := f.passed.Add(1)
	if f.log != nil {
		fmt.Fprintf(f.log, "%d %s %s\n", n, when, what)
	}
	if n == f.kill {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}

// around passes the points before and after a call.
func around[T any](what string, call func() (T, error)) (T, error) {
	points.hit("before", what)
	v, err := call()
	points.hit("after", what)
	return v, err
}

func aroundError(what string, call func() error) error {
	_, err := around(what, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

func withFailpointsStore(s worker.Store) worker.Store      { return failStore{s} }
func withFailpointsEngine(e cluster.Engine) cluster.Engine { return failEngine{e} }
func withFailpointsState(s cluster.State) cluster.State    { return failState{s} }

type failStore struct{ worker.Store }

func (s failStore) Admit(ctx context.Context, a worker.Admission) (worker.Admitted, error) {
	return around("store.Admit", func() (worker.Admitted, error) { return s.Store.Admit(ctx, a) })
}

func (s failStore) Reject(ctx context.Context, r jobs.Request, e *jobs.Error) error {
	return aroundError("store.Reject", func() error { return s.Store.Reject(ctx, r, e) })
}

func (s failStore) Update(ctx context.Context, id string, l *jobs.Lease, rule worker.Rule) error {
	return aroundError("store.Update", func() error { return s.Store.Update(ctx, id, l, rule) })
}

func (s failStore) Claim(ctx context.Context, w string, limit int, steps []string, lease time.Duration) ([]jobs.Claimed, error) {
	claimed, err := s.Store.Claim(ctx, w, limit, steps, lease)
	if len(claimed) > 0 {
		points.hit("after", "store.Claim")
	}
	return claimed, err
}

func (s failStore) StartQueued(ctx context.Context, limit, perTenant int, start worker.Rule) (int, error) {
	n, err := s.Store.StartQueued(ctx, limit, perTenant, start)
	if n > 0 {
		points.hit("after", "store.StartQueued")
	}
	return n, err
}

func (s failStore) Published(ctx context.Context, ids []int64) error {
	return aroundError("store.Published", func() error { return s.Store.Published(ctx, ids) })
}

type failEngine struct{ cluster.Engine }

func (e failEngine) EnsureNetwork(ctx context.Context, n docker.NetworkSpec) (docker.Network, error) {
	return around("engine.EnsureNetwork", func() (docker.Network, error) { return e.Engine.EnsureNetwork(ctx, n) })
}

func (e failEngine) EnsureVolume(ctx context.Context, v docker.VolumeSpec) (docker.Volume, error) {
	return around("engine.EnsureVolume "+v.Name, func() (docker.Volume, error) { return e.Engine.EnsureVolume(ctx, v) })
}

func (e failEngine) EnsureContainer(ctx context.Context, c docker.ContainerSpec) (docker.Container, error) {
	return around("engine.EnsureContainer "+c.Name, func() (docker.Container, error) { return e.Engine.EnsureContainer(ctx, c) })
}

func (e failEngine) Remove(ctx context.Context, inv docker.Inventory) error {
	return aroundError("engine.Remove", func() error { return e.Engine.Remove(ctx, inv) })
}

type failState struct{ cluster.State }

func (s failState) PutSecretsOnce(ctx context.Context, id string, secrets map[string][]byte) (map[string][]byte, error) {
	return around("state.PutSecretsOnce", func() (map[string][]byte, error) { return s.State.PutSecretsOnce(ctx, id, secrets) })
}

func (s failState) AllocatePorts(ctx context.Context, id, host string, wants []jobs.PortWant, low, high int, avoid []int) (map[string]int, error) {
	return around("state.AllocatePorts", func() (map[string]int, error) {
		return s.State.AllocatePorts(ctx, id, host, wants, low, high, avoid)
	})
}

func (s failState) ForgetCluster(ctx context.Context, id string) error {
	return aroundError("state.ForgetCluster", func() error { return s.State.ForgetCluster(ctx, id) })
}

func (s failState) SaveNodes(ctx context.Context, id string, nodes []jobs.NodeRecord) error {
	return aroundError("state.SaveNodes", func() error { return s.State.SaveNodes(ctx, id, nodes) })
}
