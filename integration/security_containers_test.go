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
	ProcessLabel    string
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
		Ulimits        []any
		GroupAdd       []string
		RestartPolicy  struct{ Name string }
		LogConfig      struct{ Config map[string]string }
	}
	Mounts []struct {
		Type        string
		Name        string
		Source      string
		Destination string
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

// rule is an item of the CIS Docker Benchmark, section 5 (container runtime), by
// its number in version 1.3, as far as it can be seen on a container; fault is
// what is wrong with it, or nothing. Rules without a number are our own.
type rule struct {
	number string
	item   string
	fault  func(c inspected) any
}

// when gives the fault where the condition holds.
func when(bad bool, fault any) any {
	if bad {
		return fault
	}
	return nil
}

// elsewhere are the items that no container shows, and why.
var elsewhere = [][2]string{
	{"5.2", "SELinux: the daemon's; where it is on, containers have its label (nothing is set here, so nothing is switched off)"},
	{"5.6", "no sshd: seen in the containers' processes and files below"},
	{"5.18", "ulimits: the daemon's defaults, which nothing overrides (checked)"},
	{"5.22", "docker exec is never privileged: docker/exec.go cannot ask for it"},
	{"5.23", "docker exec is never another user's: docker/exec.go cannot ask for it"},
}

// rules are the items that apply.
func rules() []rule {
	return []rule{
		{"5.1", "AppArmor is not unconfined", func(c inspected) any { return when(c.AppArmorProfile == "unconfined", c.AppArmorProfile) }},
		{"5.3", "no capability is kept", func(c inspected) any {
			return when(!slices.Equal(c.HostConfig.CapDrop, []string{"ALL"}), c.HostConfig.CapDrop)
		}},
		{"5.3", "no capability is added", func(c inspected) any { return when(len(c.HostConfig.CapAdd) > 0, c.HostConfig.CapAdd) }},
		{"5.4", "not privileged", func(c inspected) any { return when(c.HostConfig.Privileged, true) }},
		{"5.5", "nothing of the host is mounted", func(c inspected) any {
			if len(c.HostConfig.Binds) > 0 {
				return c.HostConfig.Binds
			}
			for _, m := range c.Mounts {
				if m.Type != "volume" {
					return m
				}
			}
			return nil
		}},
		{"5.7", "no privileged port", func(c inspected) any {
			return badPorts(c, func(_ string, _ net.IP, host int) bool { return host < 1024 })
		}},
		{"5.8", "no port that is not needed", func(c inspected) any {
			return badPorts(c, func(port string, _ net.IP, _ int) bool { return !slices.Contains(neededPorts(c), port) })
		}},
		{"5.9", "not the host's network", func(c inspected) any { return when(c.HostConfig.NetworkMode == "host", "host") }},
		{"5.10", "memory is limited, swap included", func(c inspected) any {
			return when(c.HostConfig.Memory <= 0 || c.HostConfig.MemorySwap != c.HostConfig.Memory, c.HostConfig.Memory)
		}},
		{"5.11", "CPU is weighted, and limited but for databases", func(c inspected) any {
			bare := c.HostConfig.NanoCpus <= 0 && !isDatabase(c)
			return when(c.HostConfig.CPUShares <= 0 || bare, c.HostConfig.CPUShares)
		}},
		{"5.12", "a read-only root", func(c inspected) any { return when(!c.HostConfig.ReadonlyRootfs, "writable") }},
		{"5.13", "ports are bound to loopback", func(c inspected) any {
			return badPorts(c, func(_ string, ip net.IP, _ int) bool { return ip == nil || !ip.IsLoopback() })
		}},
		// CIS asks for on-failure with at most five tries; docs/security.md says why not.
		{"5.14", "the restart policy chosen", func(c inspected) any {
			return when(c.HostConfig.RestartPolicy.Name != "unless-stopped", c.HostConfig.RestartPolicy.Name)
		}},
		{"5.15", "no processes of the host", func(c inspected) any { return when(c.HostConfig.PidMode != "", c.HostConfig.PidMode) }},
		{"5.16", "no shared memory of the host", func(c inspected) any { return when(c.HostConfig.IpcMode != "private", c.HostConfig.IpcMode) }},
		{"5.17", "no device of the host", func(c inspected) any { return when(len(c.HostConfig.Devices) > 0, c.HostConfig.Devices) }},
		{"5.18", "no limit of the daemon's is overridden", func(c inspected) any { return when(len(c.HostConfig.Ulimits) > 0, c.HostConfig.Ulimits) }},
		{"5.19", "no mount is shared with the host", func(c inspected) any {
			for _, m := range c.Mounts {
				if strings.Contains(m.Propagation, "shared") {
					return m
				}
			}
			return nil
		}},
		{"5.20", "not the host's name", func(c inspected) any { return when(c.HostConfig.UTSMode != "", c.HostConfig.UTSMode) }},
		{"5.21", "seccomp and the rest are not unconfined", func(c inspected) any {
			return when(strings.Contains(strings.Join(c.HostConfig.SecurityOpt, " "), "unconfined"), c.HostConfig.SecurityOpt)
		}},
		{"5.24", "no cgroup chosen", func(c inspected) any { return when(c.HostConfig.CgroupParent != "", c.HostConfig.CgroupParent) }},
		{"5.25", "no new privileges", func(c inspected) any {
			return when(!slices.Contains(c.HostConfig.SecurityOpt, "no-new-privileges:true"), c.HostConfig.SecurityOpt)
		}},
		{"5.26", "a health check", func(c inspected) any {
			return when(c.Config.Healthcheck == nil || len(c.Config.Healthcheck.Test) == 0 || c.Config.Healthcheck.Test[0] == "NONE", "none")
		}},
		{"5.27", "an image by its own tag, never latest", func(c inspected) any {
			return when(!strings.HasPrefix(c.Config.Image, "pgforeman/") || strings.HasSuffix(c.Config.Image, ":latest") ||
				!strings.Contains(c.Config.Image, ":"), c.Config.Image)
		}},
		{"5.28", "processes are limited", func(c inspected) any {
			return when(c.HostConfig.PidsLimit == nil || *c.HostConfig.PidsLimit <= 0, "no limit")
		}},
		{"5.29", "a network of its own alone, not docker0", func(c inspected) any {
			want := ownNetwork(c)
			_, in := c.NetworkSettings.Networks[want]
			return when(c.HostConfig.NetworkMode != want || !in || len(c.NetworkSettings.Networks) != 1, c.NetworkSettings.Networks)
		}},
		{"5.30", "no user namespace of the host", func(c inspected) any { return when(c.HostConfig.UsernsMode != "", c.HostConfig.UsernsMode) }},
		{"5.31", "no socket of the Engine", func(c inspected) any {
			for _, m := range c.Mounts {
				if strings.Contains(m.Source, "docker.sock") || strings.Contains(m.Destination, "docker.sock") {
					return m
				}
			}
			return nil
		}},
		{"", "a user that is not root (4.1)", func(c inspected) any {
			uid, _, _ := strings.Cut(c.Config.User, ":")
			return when(uid == "" || uid == "0" || uid == "root" || len(c.HostConfig.GroupAdd) > 0, "user "+c.Config.User)
		}},
		{"", "logs do not fill the disk", func(c inspected) any {
			return when(c.HostConfig.LogConfig.Config["max-size"] == "", c.HostConfig.LogConfig)
		}},
	}
}

// isState tells the state database of a dev from a cluster's containers.
func isState(c inspected) bool { return c.Config.Labels["io.pgforeman.cluster_id"] == "" }

// isDatabase tells what may use the CPUs that nobody else needs.
func isDatabase(c inspected) bool {
	return isState(c) || c.Config.Labels["io.pgforeman.role"] == "node"
}

// ownNetwork is the one network that a container should be in.
func ownNetwork(c inspected) string {
	if isState(c) {
		return strings.TrimPrefix(c.Name, "/")
	}
	id := strings.ReplaceAll(c.Config.Labels["io.pgforeman.cluster_id"], "-", "")
	return c.Config.Labels["io.pgforeman.cluster"] + "." + id[len(id)-8:]
}

// neededPorts are what others have to reach.
func neededPorts(c inspected) []string {
	if isState(c) {
		return []string{"5432/tcp"}
	}
	return map[string][]string{
		"node": {"5432/tcp", "8008/tcp"}, "etcd": {"2379/tcp"}, "proxy": {"5000/tcp", "5001/tcp"},
	}[c.Config.Labels["io.pgforeman.role"]]
}

// badPorts tells which published ports are bad.
func badPorts(c inspected, bad func(port string, ip net.IP, host int) bool) any {
	var found []string
	for port, bindings := range c.NetworkSettings.Ports {
		for _, b := range bindings {
			number, err := strconv.Atoi(b.HostPort)
			if err != nil || bad(port, net.ParseIP(b.HostIP), number) {
				found = append(found, fmt.Sprintf("%s at %s:%s", port, b.HostIP, b.HostPort))
			}
		}
	}
	return when(len(found) > 0, found)
}

// containers walks every container of the cluster, and the program's own: what
// the Engine was told, and what the kernel holds its first process and its files
// to. It tells every item by its number.
func (l *locked) containers(t *testing.T) {
	names := l.p.containers(l.cluster, "")
	require.Len(t, names, 4)
	names = append(names, l.p.stateContainer())
	all := inspect(t, names...)
	for _, r := range rules() {
		verdict := "ok"
		for _, c := range all {
			if fault := r.fault(c); fault != nil {
				verdict = "FAULT"
				t.Errorf("%s: %s %s: %v", c.Name, r.number, r.item, fault)
			}
		}
		t.Logf("%-5s %-5s %s (%d containers)", r.number, verdict, r.item, len(all))
	}
	for _, item := range elsewhere {
		t.Logf("%-5s %-5s %s", item[0], "", item[1])
	}
	everyItemIsNamed(t)
	engine := docker(t, "info", "--format", "{{.SecurityOptions}}")
	for i, name := range names {
		l.insideContainer(t, name, all[i], engine)
	}
}

// everyItemIsNamed asserts that no item of the section was forgotten.
func everyItemIsNamed(t *testing.T) {
	t.Helper()
	named := map[string]bool{}
	for _, r := range rules() {
		named[r.number] = true
	}
	for _, item := range elsewhere {
		named[item[0]] = true
	}
	for i := range 31 {
		require.Truef(t, named[fmt.Sprintf("5.%d", i+1)], "item 5.%d is not looked at", i+1)
	}
}

// insideContainer looks at what the kernel says.
func (l *locked) insideContainer(t *testing.T, name string, c inspected, engine string) {
	t.Helper()
	status := mustInside(t, name, "cat", "/proc/1/status")
	for field, want := range map[string]string{
		"Uid": "999\t999\t999\t999", "Gid": "999\t999\t999\t999", "NoNewPrivs": "1",
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none,
	} {
		require.Containsf(t, status, field+":\t"+want, "%s: %s", name, field)
	}
	if strings.Contains(engine, "name=seccomp") {
		require.Containsf(t, status, "Seccomp:\t2", "%s: 5.21 the kernel filters no system call", name)
	}
	if strings.Contains(engine, "name=apparmor") {
		require.Equalf(t, "docker-default", c.AppArmorProfile, "%s: 5.1", name)
	}
	if strings.Contains(engine, "name=selinux") {
		require.NotEmptyf(t, c.ProcessLabel, "%s: 5.2", name)
	}
	require.NotContainsf(t, docker(t, "top", name, "-eo", "pid,args"), "sshd", "%s: 5.6", name)
	require.Emptyf(t, mustInside(t, name, "sh", "-c", "command -v sshd || true"), "%s: 5.6", name)
	_, err := inside(name, "touch", "/usr/x")
	require.ErrorContains(t, err, "Read-only file system", name)
	require.Emptyf(t, mustInside(t, name, "find", "/opt/secretpg", "-type", "f", "-perm", "/277", "-not", "-name", "pgpass"),
		"%s: secrets that are not of mode 0400", name)
	require.Emptyf(t, mustInside(t, name, "find", "/opt/secretpg", "/run", "-type", "f", "(", "-name", "pgpass", "-o", "-name", "node.pem", "-o", "-name", "*.yml", ")",
		"-perm", "/077", "-not", "-path", "/run/postgresql/*"), "%s: secrets that others may read", name)
	require.Emptyf(t, mustInside(t, name, "find", "/opt/secretpg", "-not", "-user", "999"), "%s: secrets that are another's", name)
}

const none = "0000000000000000"
