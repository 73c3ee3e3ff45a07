package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// inspected is what "docker inspect" says of a container, as far as it matters.
type inspected struct {
	Name            string
	AppArmorProfile string
	Config          struct {
		User        string
		Image       string
		Labels      map[string]string
		Healthcheck *struct{ Test []string }
	}
	HostConfig struct {
		Privileged     bool
		CapAdd         []string
		CapDrop        []string
		SecurityOpt    []string
		ReadonlyRootfs bool
		Memory         int64
		MemorySwap     int64
		NanoCpus       int64
		CPUShares      int64 `json:"CpuShares"`
		PidsLimit      *int64
		NetworkMode    string
		PidMode        string
		IpcMode        string
		UTSMode        string
		UsernsMode     string
		CgroupParent   string
		Binds          []string
		Devices        []any
		GroupAdd       []string
		RestartPolicy  struct{ Name string }
		LogConfig      struct{ Config map[string]string }
	}
	Mounts []struct {
		Type        string
		Name        string
		Source      string
		Propagation string
	}
	NetworkSettings struct {
		Ports    map[string][]struct{ HostIP, HostPort string }
		Networks map[string]any
	}
}

func inspect(t *testing.T, containers ...string) []inspected {
	t.Helper()
	var all []inspected
	require.NoError(t, json.Unmarshal([]byte(docker(t, append([]string{"inspect"}, containers...)...)), &all))
	require.Len(t, all, len(containers))
	return all
}

// rule is an item of the CIS Docker Benchmark, section 5 (container runtime),
// that can be seen on a container; fault is what is wrong with it, or nothing.
type rule struct {
	item  string
	fault func(c inspected) any
}

// when gives the fault where the condition holds.
func when(bad bool, fault any) any {
	if bad {
		return fault
	}
	return nil
}

// rules are the items that apply. Those that do not: swarm mode, SELinux and
// ulimits (the daemon's), and what "docker exec" is used for.
func rules() []rule {
	return []rule{
		{"AppArmor is not unconfined", func(c inspected) any { return when(c.AppArmorProfile == "unconfined", c.AppArmorProfile) }},
		{"seccomp and the rest are not unconfined", func(c inspected) any {
			return when(strings.Contains(strings.Join(c.HostConfig.SecurityOpt, " "), "unconfined"), c.HostConfig.SecurityOpt)
		}},
		{"no capability is kept", func(c inspected) any {
			return when(!slices.Equal(c.HostConfig.CapDrop, []string{"ALL"}), c.HostConfig.CapDrop)
		}},
		{"no capability is added", func(c inspected) any { return when(len(c.HostConfig.CapAdd) > 0, c.HostConfig.CapAdd) }},
		{"not privileged", func(c inspected) any { return when(c.HostConfig.Privileged, true) }},
		{"no new privileges", func(c inspected) any {
			return when(!slices.Contains(c.HostConfig.SecurityOpt, "no-new-privileges:true"), c.HostConfig.SecurityOpt)
		}},
		{"a user that is not root", func(c inspected) any {
			uid, _, _ := strings.Cut(c.Config.User, ":")
			return when(uid == "" || uid == "0" || uid == "root" || len(c.HostConfig.GroupAdd) > 0, "user "+c.Config.User)
		}},
		{"nothing of the host is mounted, the Engine's socket least of all", func(c inspected) any {
			if len(c.HostConfig.Binds) > 0 {
				return c.HostConfig.Binds
			}
			for _, m := range c.Mounts {
				if m.Type != "volume" || strings.Contains(m.Source, "docker.sock") {
					return m
				}
			}
			return nil
		}},
		{"no mount is shared with the host", func(c inspected) any {
			for _, m := range c.Mounts {
				if strings.Contains(m.Propagation, "shared") {
					return m
				}
			}
			return nil
		}},
		{"no device of the host", func(c inspected) any { return when(len(c.HostConfig.Devices) > 0, c.HostConfig.Devices) }},
		{"the cluster's network alone", func(c inspected) any {
			l := c.Config.Labels
			id := strings.ReplaceAll(l["io.pgforeman.cluster_id"], "-", "")
			want := l["io.pgforeman.cluster"] + "." + id[len(id)-8:]
			_, in := c.NetworkSettings.Networks[want]
			return when(c.HostConfig.NetworkMode != want || !in || len(c.NetworkSettings.Networks) != 1, c.NetworkSettings.Networks)
		}},
		{"no namespace of the host", func(c inspected) any {
			h := c.HostConfig
			shared := []string{h.PidMode, h.UTSMode, h.UsernsMode}
			return when(slices.ContainsFunc(shared, func(mode string) bool { return mode != "" }) || h.IpcMode != "private", append(shared, h.IpcMode))
		}},
		{"no cgroup chosen", func(c inspected) any { return when(c.HostConfig.CgroupParent != "", c.HostConfig.CgroupParent) }},
		{"memory is limited, swap included", func(c inspected) any {
			return when(c.HostConfig.Memory <= 0 || c.HostConfig.MemorySwap != c.HostConfig.Memory, c.HostConfig.Memory)
		}},
		{"CPU is weighted, and limited but for nodes", func(c inspected) any {
			bare := c.HostConfig.NanoCpus <= 0 && c.Config.Labels["io.pgforeman.role"] != "node"
			return when(c.HostConfig.CPUShares <= 0 || bare, c.HostConfig.CPUShares)
		}},
		{"processes are limited", func(c inspected) any {
			return when(c.HostConfig.PidsLimit == nil || *c.HostConfig.PidsLimit <= 0, "no limit")
		}},
		{"a read-only root", func(c inspected) any { return when(!c.HostConfig.ReadonlyRootfs, "writable") }},
		{"ports are bound to loopback, none is privileged", boundPorts},
		// CIS asks for on-failure with at most five tries; docs/security.md says why not.
		{"the restart policy chosen", func(c inspected) any {
			return when(c.HostConfig.RestartPolicy.Name != "unless-stopped", c.HostConfig.RestartPolicy.Name)
		}},
		{"a health check", func(c inspected) any {
			return when(c.Config.Healthcheck == nil || len(c.Config.Healthcheck.Test) == 0 || c.Config.Healthcheck.Test[0] == "NONE", "none")
		}},
		{"an image by its own tag, never latest", func(c inspected) any {
			return when(!strings.HasPrefix(c.Config.Image, "pgforeman/") || strings.HasSuffix(c.Config.Image, ":latest") ||
				!strings.Contains(c.Config.Image, ":"), c.Config.Image)
		}},
		{"logs do not fill the disk", func(c inspected) any {
			return when(c.HostConfig.LogConfig.Config["max-size"] == "", c.HostConfig.LogConfig)
		}},
	}
}

// boundPorts tells which ports are open to others, and those that need not be.
func boundPorts(c inspected) any {
	needed := map[string][]string{"node": {"5432/tcp", "8008/tcp"}, "etcd": {"2379/tcp"}, "proxy": {"5000/tcp", "5001/tcp"}}
	var open []string
	for port, bindings := range c.NetworkSettings.Ports {
		for _, b := range bindings {
			number, err := strconv.Atoi(b.HostPort)
			if ip := net.ParseIP(b.HostIP); ip == nil || !ip.IsLoopback() || err != nil || number < 1024 ||
				!slices.Contains(needed[c.Config.Labels["io.pgforeman.role"]], port) {
				open = append(open, fmt.Sprintf("%s at %s:%s", port, b.HostIP, b.HostPort))
			}
		}
	}
	return when(len(open) > 0, open)
}

// containers walks every container of the cluster: what the Engine was told, and
// what the kernel holds its first process and its files to.
func (l *locked) containers(t *testing.T) {
	names := l.p.containers(l.cluster, "")
	require.Len(t, names, 4)
	for _, c := range inspect(t, names...) {
		for _, r := range rules() {
			if fault := r.fault(c); fault != nil {
				t.Errorf("%s: %s: %v", c.Name, r.item, fault)
			}
		}
	}
	for _, name := range names {
		status := mustInside(t, name, "cat", "/proc/1/status")
		for field, want := range map[string]string{
			"Uid": "999\t999\t999\t999", "Gid": "999\t999\t999\t999", "NoNewPrivs": "1",
			"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none,
		} {
			require.Containsf(t, status, field+":\t"+want, "%s: %s", name, field)
		}
		_, err := inside(name, "touch", "/usr/x")
		require.ErrorContains(t, err, "Read-only file system", name)
		require.Emptyf(t, mustInside(t, name, "find", "/opt/secretpg", "-type", "f", "-perm", "/277", "-not", "-name", "pgpass"),
			"%s: secrets that are not of mode 0400", name)
		require.Emptyf(t, mustInside(t, name, "find", "/opt/secretpg", "/run", "-type", "f", "(", "-name", "pgpass", "-o", "-name", "node.pem", "-o", "-name", "*.yml", ")",
			"-perm", "/077", "-not", "-path", "/run/postgresql/*"), "%s: secrets that others may read", name)
		require.Emptyf(t, mustInside(t, name, "find", "/opt/secretpg", "-not", "-user", "999"), "%s: secrets that are another's", name)
	}
}

const none = "0000000000000000"
