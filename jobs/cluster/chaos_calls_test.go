package cluster

import (
	"context"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs/etcd"
	"github.com/vcs-iaas/pgforeman/jobs/patroni"
	"github.com/vcs-iaas/pgforeman/jobs/postgres"
)

// gatedEngine is one worker's way to the host.
type gatedEngine struct{ w *simWorker }

func (e gatedEngine) Info(ctx context.Context) (docker.Info, error) {
	return call(ctx, e.w, "engine.Info", e.w.sim.host.Info)
}

func (e gatedEngine) EnsureNetwork(ctx context.Context, s docker.NetworkSpec) (docker.Network, error) {
	return call(ctx, e.w, "engine.EnsureNetwork", func(ctx context.Context) (docker.Network, error) {
		defer e.w.ensured("network", s.Name)
		return e.w.sim.host.EnsureNetwork(ctx, s)
	})
}

func (e gatedEngine) EnsureVolume(ctx context.Context, s docker.VolumeSpec) (docker.Volume, error) {
	return call(ctx, e.w, "engine.EnsureVolume", func(ctx context.Context) (docker.Volume, error) {
		defer e.w.ensured("volume", s.Name)
		return e.w.sim.host.EnsureVolume(ctx, s)
	})
}

func (e gatedEngine) EnsureContainer(ctx context.Context, s docker.ContainerSpec) (docker.Container, error) {
	return call(ctx, e.w, "engine.EnsureContainer", func(ctx context.Context) (docker.Container, error) {
		defer e.w.ensured("container", s.Name)
		return e.w.sim.host.EnsureContainer(ctx, s)
	})
}

func (e gatedEngine) Container(ctx context.Context, name string) (docker.Container, error) {
	return call(ctx, e.w, "engine.Container", func(ctx context.Context) (docker.Container, error) { return e.w.sim.host.Container(ctx, name) })
}

func (e gatedEngine) Containers(ctx context.Context, l docker.Labels) ([]docker.Container, error) {
	return call(ctx, e.w, "engine.Containers", func(ctx context.Context) ([]docker.Container, error) { return e.w.sim.host.Containers(ctx, l) })
}

func (e gatedEngine) StartContainer(ctx context.Context, name string) error {
	return call0(ctx, e.w, "engine.StartContainer", func(ctx context.Context) error { return e.w.sim.host.StartContainer(ctx, name) })
}

func (e gatedEngine) PutFiles(ctx context.Context, name string, files []docker.File) error {
	return call0(ctx, e.w, "engine.PutFiles", func(ctx context.Context) error { return e.w.sim.host.PutFiles(ctx, name, files) })
}

func (e gatedEngine) Exec(ctx context.Context, name string, cmd []string, stdin []byte) (docker.ExecResult, error) {
	return call(ctx, e.w, "engine.Exec", func(ctx context.Context) (docker.ExecResult, error) {
		return e.w.sim.host.Exec(ctx, name, cmd, stdin)
	})
}

func (e gatedEngine) Inventory(ctx context.Context, l docker.Labels) (docker.Inventory, error) {
	return call(ctx, e.w, "engine.Inventory", func(ctx context.Context) (docker.Inventory, error) { return e.w.sim.host.Inventory(ctx, l) })
}

func (e gatedEngine) Remove(ctx context.Context, inv docker.Inventory) error {
	return call0(ctx, e.w, "engine.Remove", func(ctx context.Context) error {
		if ctx.Value(reaping{}) != nil {
			e.w.sim.judge(inv)
		}
		return e.w.sim.host.Remove(ctx, inv)
	})
}

func (e gatedEngine) Watch(ctx context.Context, l docker.Labels) <-chan docker.Event {
	return e.w.sim.host.Watch(ctx, l)
}

// gatedProbe is one worker's way to what runs on the host.
type gatedProbe struct{ w *simWorker }

func (g gatedProbe) etcdHealth(ctx context.Context, s site, k keys, member string) (etcd.MemberHealth, error) {
	return call(ctx, g.w, "probe.etcdHealth", func(ctx context.Context) (etcd.MemberHealth, error) {
		return g.w.sim.parts.etcdHealth(ctx, s, k, member)
	})
}

func (g gatedProbe) etcdAuth(ctx context.Context, s site, k keys) error {
	return call0(ctx, g.w, "probe.etcdAuth", func(ctx context.Context) error { return g.w.sim.parts.etcdAuth(ctx, s, k) })
}

func (g gatedProbe) leader(ctx context.Context, s site, k keys) (etcd.Leader, error) {
	return call(ctx, g.w, "probe.leader", func(ctx context.Context) (etcd.Leader, error) { return g.w.sim.parts.leader(ctx, s, k) })
}

func (g gatedProbe) revoke(ctx context.Context, s site, k keys, seen etcd.Leader) (bool, error) {
	return call(ctx, g.w, "probe.revoke", func(ctx context.Context) (bool, error) { return g.w.sim.parts.revoke(ctx, s, k, seen) })
}

func (g gatedProbe) status(ctx context.Context, s site, k keys, node string) (patroni.Status, error) {
	return call(ctx, g.w, "probe.status", func(ctx context.Context) (patroni.Status, error) { return g.w.sim.parts.status(ctx, s, k, node) })
}

func (g gatedProbe) isPrimary(ctx context.Context, s site, k keys, node string) (bool, error) {
	return call(ctx, g.w, "probe.isPrimary", func(ctx context.Context) (bool, error) { return g.w.sim.parts.isPrimary(ctx, s, k, node) })
}

func (g gatedProbe) members(ctx context.Context, s site, k keys, node string) (patroni.Cluster, error) {
	return call(ctx, g.w, "probe.members", func(ctx context.Context) (patroni.Cluster, error) { return g.w.sim.parts.members(ctx, s, k, node) })
}

func (g gatedProbe) settle(ctx context.Context, s site, k keys, node string) error {
	return call0(ctx, g.w, "probe.settle", func(ctx context.Context) error { return g.w.sim.parts.settle(ctx, s, k, node) })
}

func (g gatedProbe) install(ctx context.Context, s site, k keys, p part) error {
	return call0(ctx, g.w, "probe.install", func(ctx context.Context) error {
		defer g.w.ensured("certificate", s.ID)
		return g.w.sim.parts.install(ctx, s, k, p)
	})
}

func (g gatedProbe) served(ctx context.Context, s site, k keys, p part) ([]string, error) {
	return call(ctx, g.w, "probe.served", func(ctx context.Context) ([]string, error) { return g.w.sim.parts.served(ctx, s, k, p) })
}

func (g gatedProbe) replication(ctx context.Context, s site, k keys, leader string) ([]postgres.Standby, error) {
	return call(ctx, g.w, "probe.replication", func(ctx context.Context) ([]postgres.Standby, error) {
		return g.w.sim.parts.replication(ctx, s, k, leader)
	})
}

func (g gatedProbe) receiver(ctx context.Context, s site, k keys, node string) (postgres.WALReceiver, error) {
	return call(ctx, g.w, "probe.receiver", func(ctx context.Context) (postgres.WALReceiver, error) {
		return g.w.sim.parts.receiver(ctx, s, k, node)
	})
}

func (g gatedProbe) basebackups(ctx context.Context, s site, k keys, leader string) ([]postgres.Basebackup, error) {
	return call(ctx, g.w, "probe.basebackups", func(ctx context.Context) ([]postgres.Basebackup, error) {
		return g.w.sim.parts.basebackups(ctx, s, k, leader)
	})
}

func (g gatedProbe) databases(ctx context.Context, s site, k keys, leader string) error {
	return call0(ctx, g.w, "probe.databases", func(ctx context.Context) error { return g.w.sim.parts.databases(ctx, s, k, leader) })
}

func (g gatedProbe) answerer(ctx context.Context, s site, k keys, port int) (answer, error) {
	return call(ctx, g.w, "probe.answerer", func(ctx context.Context) (answer, error) { return g.w.sim.parts.answerer(ctx, s, k, port) })
}

func (g gatedProbe) write(ctx context.Context, s site, k keys, port int, token string) error {
	return call0(ctx, g.w, "probe.write", func(ctx context.Context) error { return g.w.sim.parts.write(ctx, s, k, port, token) })
}

func (g gatedProbe) read(ctx context.Context, s site, k keys, port int, token string) (answer, bool, error) {
	arrived := false
	who, err := call(ctx, g.w, "probe.read", func(ctx context.Context) (who answer, err error) {
		who, arrived, err = g.w.sim.parts.read(ctx, s, k, port, token)
		return who, err
	})
	return who, arrived, err
}
