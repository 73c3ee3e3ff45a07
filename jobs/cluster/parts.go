package cluster

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/patroni"
)

const mib = 1 << 20

// Limits of the small parts. etcd keeps its keys in memory, of which a cluster
// has a dozen; HAProxy takes some 20 KiB for a connection.
const (
	etcdMemory  = 256 * mib
	proxyMemory = 128 * mib
	smallCPUs   = 1
	smallPids   = 128
	// Where CPUs are short, etcd and the proxies come before the queries: a
	// leader whose lock is not renewed in time would fail over for want of CPU.
	smallShares = 4096
	nodeShares  = 1024
	// nodePids is above the most connections that may be asked for.
	nodePids = 4096
	// stopTimeout is for Patroni: PostgreSQL writes a checkpoint, then the
	// leader lock is given up.
	stopTimeout = 60 * time.Second
	// owner is the user and group of every image.
	owner = 999
)

// restartPolicy brings a part back after it crashed and after the Engine or the
// machine was started again, without any worker; one that a person stopped or
// killed stays down until the keeper starts it.
const restartPolicy = docker.RestartUnlessStopped

// etcdSpec is the container of an etcd member.
func (s site) etcdSpec(member string, k keys) docker.ContainerSpec {
	peers := make([]string, 0, s.spec.EtcdMembers)
	for _, m := range s.etcds() {
		peers = append(peers, m+"=https://"+net.JoinHostPort(m, strconv.Itoa(etcdPeerPort)))
	}
	spec := s.common(part{member, roleEtcd}, k)
	spec.Image = docker.EtcdImage.Tag()
	spec.Env = []string{
		"ETCD_NAME=" + member,
		"INITIAL_CLUSTER=" + strings.Join(peers, ","),
		"INITIAL_CLUSTER_TOKEN=" + s.ID,
		"INITIAL_CLUSTER_STATE=new",
	}
	spec.Mounts = append(spec.Mounts, docker.VolumeMount{Volume: s.dataVolume(member), Target: dataPath})
	spec.Ports = []docker.PortBinding{{ContainerPort: etcdPort}}
	spec.MemoryBytes, spec.NanoCPUs, spec.CPUShares, spec.PidsLimit = etcdMemory, smallCPUs*1e9, smallShares, smallPids
	return spec
}

// nodeSpec is the container of a node.
func (s site) nodeSpec(node string, k keys) (docker.ContainerSpec, error) {
	dcs, err := s.dcs()
	if err != nil {
		return docker.ContainerSpec{}, err
	}
	hosts := make([]string, 0, s.spec.EtcdMembers)
	for _, m := range s.etcds() {
		hosts = append(hosts, net.JoinHostPort(m, strconv.Itoa(etcdPort)))
	}
	spec := s.common(part{node, roleNode}, k)
	spec.Image = docker.PatroniImage.Tag()
	spec.Aliases = append(spec.Aliases, nodesAlias)
	spec.Env = []string{
		"SCOPE=" + s.ID,
		"NAMESPACE=" + namespace,
		"PATRONI_NAME=" + node,
		"ETCD_HOSTS=" + strings.Join(hosts, ","),
		"ETCD_USERNAME=" + etcdUser,
		"PGAPPNAME=" + copierOf(node),
	}
	spec.Mounts = append(spec.Mounts, docker.VolumeMount{Volume: s.dataVolume(node), Target: dataPath})
	spec.Tmpfs["/run/patroni"] = tmpfs("8m", "0700")
	spec.Tmpfs["/run/postgresql"] = tmpfs("8m", "0755")
	spec.Files = append(spec.Files,
		secret("superuser-password", k[superuserPass]),
		secret("replicator-password", k[replicatorPass]),
		secret("rewind-password", k[rewindPass]),
		secret("etcd-password", k[etcdPass]),
		secret("dcs.json", dcs))
	spec.Ports = []docker.PortBinding{{ContainerPort: postgresPort}, {ContainerPort: patroniPort}}
	spec.MemoryBytes = int64(s.spec.MemoryMB) * mib
	spec.NanoCPUs = int64(s.spec.CPUs * 1e9) // 0: no cap, its shares alone
	spec.CPUShares = nodeShares
	spec.PidsLimit = nodePids
	spec.ShmBytes = max(64*mib, spec.MemoryBytes/4)
	spec.StopTimeout = stopTimeout
	return spec, nil
}

// bootstrapLoopWait is how often Patroni looks, in seconds: often while a cluster is
// being made, because a replica waits for the leader's next look before it may
// stream; seldom afterwards (patroni.DefaultTiming), because looking costs.
const bootstrapLoopWait = 1

// dcs is what the first node writes into etcd as the cluster's configuration.
func (s site) dcs() ([]byte, error) {
	timing := patroni.DefaultTiming()
	timing.LoopWait = bootstrapLoopWait
	dcs, err := patroni.BootstrapDCS(patroni.Spec{
		SyncMode:   patroni.SyncMode(s.spec.SynchronousMode),
		MemoryMB:   s.spec.MemoryMB,
		Parameters: s.spec.Parameters,
		Timing:     timing,
	})
	if err != nil {
		return nil, jobs.Permanent(fmt.Errorf("configure patroni for cluster %s: %w", s.Name, err))
	}
	return dcs, nil
}

// checkParameters names every PostgreSQL setting that cannot be.
func checkParameters(spec jobs.ClusterSpec) jobs.Faults {
	var faults jobs.Faults
	for _, p := range patroni.ValidateParameters(spec.Parameters) {
		faults = append(faults, jobs.Fault{Field: "parameters." + p.Name, Message: p.Message})
	}
	return faults
}

// proxySpec is the container of a proxy, published at the allocated ports.
func (s site) proxySpec(proxy string, k keys, ports map[string]int) docker.ContainerSpec {
	primary, replica := s.purposes(proxy)
	spec := s.common(part{proxy, roleProxy}, k)
	spec.Image = docker.HAProxyImage.Tag()
	spec.Env = []string{"NODES_HOST=" + nodesAlias}
	spec.Tmpfs["/run/haproxy"] = tmpfs("8m", "0700")
	spec.Ports = []docker.PortBinding{
		{ContainerPort: proxyPrimaryPort, HostIP: s.spec.BindAddress, HostPort: ports[primary]},
		{ContainerPort: proxyReplicaPort, HostIP: s.spec.BindAddress, HostPort: ports[replica]},
	}
	spec.MemoryBytes, spec.NanoCPUs, spec.CPUShares, spec.PidsLimit = proxyMemory, smallCPUs*1e9, smallShares, smallPids
	return spec
}

// common is what all parts have alike.
func (s site) common(p part, k keys) docker.ContainerSpec {
	return docker.ContainerSpec{
		Host:     docker.Host(s.Host),
		Name:     s.container(p.name),
		Hostname: p.name,
		Network:  s.network(),
		Aliases:  []string{p.name},
		Labels:   s.marksOf(p),
		Mounts:   []docker.VolumeMount{{Volume: s.secretVolume(p.name), Target: secretPath}},
		Tmpfs:    map[string]string{"/tmp": tmpfs("64m", "1777")},
		Files: []docker.File{
			secret("ca.pem", k[caCert]),
			secret("node.pem", k[certOf(p.name)]),
			secret("node.key", k[keyOf(p.name)]),
		},
		StopTimeout:   30 * time.Second,
		RestartPolicy: restartPolicy,
	}
}

func secret(name string, data []byte) docker.File {
	return docker.File{Path: secretPath + "/" + name, Mode: 0o400, UID: owner, GID: owner, Data: data}
}

func tmpfs(size, mode string) string {
	return fmt.Sprintf("size=%s,mode=%s,uid=%d,gid=%d", size, mode, owner, owner)
}

// volumes are those that a part mounts.
func (s site) volumes(p part) []docker.VolumeSpec {
	names := []string{s.secretVolume(p.name)}
	if p.role != roleProxy {
		names = append(names, s.dataVolume(p.name))
	}
	out := make([]docker.VolumeSpec, 0, len(names))
	for _, name := range names {
		out = append(out, docker.VolumeSpec{Host: docker.Host(s.Host), Name: name, Labels: s.marksOf(p)})
	}
	return out
}

// memory is what all limits of the cluster add up to, in bytes.
func (s site) memory() int64 {
	return int64(s.spec.Nodes)*int64(s.spec.MemoryMB)*mib +
		int64(s.spec.EtcdMembers)*etcdMemory + int64(s.spec.Proxies)*proxyMemory
}
