package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
)

// specVersion is part of every hash: raise it when the hardening changes and containers must be replaced for it.
const specVersion = 1

// ContainerSpec describes a container. Beside what it says, every container has: all capabilities dropped,
// no-new-privileges, a read-only root, its own namespaces, no swap beyond its memory, and logs limited to three files
// of 10 MB. No init is added, the images bring theirs.
//
// Never put a secret into Env, Cmd or Labels, which everyone with access to the Engine can read: that is what Files
// are for.
type ContainerSpec struct {
	Host     Host // empty is Local
	Name     string
	Image    string
	Hostname string // empty is Name
	Network  string // by name; must exist
	Aliases  []string
	Labels   Labels

	Entrypoint []string // empty is the image's
	Cmd        []string // empty is the image's
	Health     []string // the command of the health check, as the Engine has it: CMD, program, arguments; empty is the image's
	Env        []string // KEY=value
	User       string   // empty is the image's

	Mounts []VolumeMount
	Tmpfs  map[string]string // path → options like "size=64m,uid=999,mode=0700"
	Files  []File            // copied before the first start; their contents are not part of the hash
	Ports  []PortBinding

	MemoryBytes   int64 // 0 is unlimited, as with the next two
	NanoCPUs      int64 // 1e9 is one CPU
	PidsLimit     int64
	CPUShares     int64         // its part where CPUs are short, against other containers'; 0 is the Engine's 1024
	ShmBytes      int64         // 0 is the Engine's 64 MiB
	StopTimeout   time.Duration // from SIGTERM to SIGKILL; 0 is the Engine's 10 s
	RestartPolicy RestartPolicy // empty is RestartNo

	// Settle is how long the container must stay up before EnsureContainer returns; not part of the hash. 0 looks
	// once, right after the start.
	Settle time.Duration `json:"-"`
}

// RestartPolicy says what the Engine does when the container's main process ends.
type RestartPolicy string

// The restart policies. Both but the first also start the container with the Engine.
const (
	RestartNo            RestartPolicy = "no"
	RestartAlways        RestartPolicy = "always"
	RestartUnlessStopped RestartPolicy = "unless-stopped"
)

// VolumeMount puts a named volume, which must exist, at a path.
type VolumeMount struct {
	Volume string
	Target string
}

// PortBinding publishes a TCP port.
type PortBinding struct {
	ContainerPort int
	HostIP        string // empty is 127.0.0.1
	HostPort      int    // 0 lets the Engine choose, anew at every start
}

// hash names the specification: everything but the contents of files.
func (s ContainerSpec) hash() (string, error) {
	raw, err := json.Marshal(struct {
		Version int
		Spec    ContainerSpec
	}{specVersion, s})
	if err != nil {
		return "", fmt.Errorf("hash specification: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8]), nil
}

// check names every fault at once.
func (s ContainerSpec) check() error {
	var faults []string
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	fault(len(s.Name) < 2, "a name has at least two characters")
	fault(s.Image == "", "no image")
	fault(s.Network == "", "no network")
	fault(s.Network == "host" || s.Network == "none" || strings.HasPrefix(s.Network, "container:"),
		"network %q is not a private one", s.Network)
	for _, m := range s.Mounts {
		fault(m.Volume == "" || !path.IsAbs(m.Target) || path.Clean(m.Target) != m.Target || m.Target == "/",
			"mount of volume %q at %q", m.Volume, m.Target)
		fault(strings.ContainsAny(m.Volume, "/\\"), "%q is a path, not a volume", m.Volume)
	}
	for _, f := range s.Files {
		_, ok := volumeOf(s.Mounts, f.Path)
		fault(!ok, "file %q is not inside a mounted volume", f.Path)
	}
	for _, p := range s.Ports {
		fault(p.ContainerPort < 1 || p.ContainerPort > math.MaxUint16 || p.HostPort < 0 || p.HostPort > math.MaxUint16,
			"port %d on host port %d", p.ContainerPort, p.HostPort)
	}
	fault(s.MemoryBytes < 0 || s.NanoCPUs < 0 || s.CPUShares < 0 || s.PidsLimit < 0 || s.ShmBytes < 0, "a negative limit")
	fault(!slices.Contains([]RestartPolicy{"", RestartNo, RestartAlways, RestartUnlessStopped}, s.RestartPolicy),
		"restart policy %q", s.RestartPolicy)
	if len(faults) > 0 {
		return fmt.Errorf("%w specification: %s", ErrInvalid, strings.Join(faults, "; "))
	}
	return nil
}

func (e *Engine) config(s ContainerSpec, hash string) *container.Config {
	labels := e.owned(s.Labels)
	labels[LabelSpec] = hash
	c := &container.Config{
		Image: s.Image, Hostname: s.Hostname, Env: s.Env, Entrypoint: s.Entrypoint, Cmd: s.Cmd, User: s.User,
		Labels: labels, ExposedPorts: nat.PortSet{},
	}
	if c.Hostname == "" {
		c.Hostname = s.Name
	}
	if len(s.Health) > 0 {
		c.Healthcheck = &container.HealthConfig{Test: s.Health} // times and retries remain the image's
	}
	if s.StopTimeout > 0 {
		seconds := wholeSeconds(s.StopTimeout)
		c.StopTimeout = &seconds
	}
	for _, p := range s.Ports {
		c.ExposedPorts[tcp(p.ContainerPort)] = struct{}{}
	}
	return c
}

func (e *Engine) hostConfig(s ContainerSpec) *container.HostConfig {
	noInit := false
	h := &container.HostConfig{
		NetworkMode:    container.NetworkMode(s.Network),
		CapDrop:        []string{"ALL"},
		SecurityOpt:    []string{"no-new-privileges:true"},
		ReadonlyRootfs: true,
		IpcMode:        container.IPCModePrivate,
		Init:           &noInit,
		LogConfig: container.LogConfig{
			Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"},
		},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(s.RestartPolicy)},
		Tmpfs:         maps.Clone(s.Tmpfs),
		ShmSize:       s.ShmBytes,
		PortBindings:  nat.PortMap{},
		Resources: container.Resources{
			Memory: s.MemoryBytes, MemorySwap: s.MemoryBytes, NanoCPUs: s.NanoCPUs, CPUShares: s.CPUShares,
		},
	}
	if h.RestartPolicy.Name == "" {
		h.RestartPolicy.Name = container.RestartPolicyDisabled
	}
	if s.PidsLimit > 0 {
		h.PidsLimit = &s.PidsLimit
	}
	for _, m := range s.Mounts {
		h.Mounts = append(h.Mounts, mount.Mount{
			Type: mount.TypeVolume, Source: m.Volume, Target: m.Target,
			// Should the volume vanish before the start, the Engine makes a new one: it must not be an orphan.
			VolumeOptions: &mount.VolumeOptions{Labels: e.owned(s.Labels)},
		})
	}
	for _, p := range s.Ports {
		b := nat.PortBinding{HostIP: p.HostIP}
		if b.HostIP == "" {
			b.HostIP = "127.0.0.1"
		}
		if p.HostPort != 0 {
			b.HostPort = strconv.Itoa(p.HostPort)
		}
		h.PortBindings[tcp(p.ContainerPort)] = append(h.PortBindings[tcp(p.ContainerPort)], b)
	}
	return h
}

func (s ContainerSpec) networking() *network.NetworkingConfig {
	return &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
		s.Network: {Aliases: slices.Clone(s.Aliases)},
	}}
}

func tcp(port int) nat.Port { return nat.Port(strconv.Itoa(port) + "/tcp") }

// wholeSeconds rounds up, which is what the Engine counts in.
func wholeSeconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
