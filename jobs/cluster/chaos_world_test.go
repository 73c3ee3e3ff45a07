package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/vcs-iaas/pgforeman/docker"
)

// simHost is a Docker Engine in memory: what of it the catalogue can tell. Things
// are removed by their id, so that what comes late does not hit a namesake;
// what is in use cannot be removed; a host port belongs to one container.
type simHost struct {
	mu         sync.Mutex
	ids        int
	networks   map[string]docker.Object // by name
	volumes    map[string]*simVolume
	containers map[string]*simBox
	taken      map[int]bool // host ports of other programs
	started    func(container string)
}

// simVolume remembers whose secrets its data was made with.
type simVolume struct {
	docker.Object
	ca []byte
}

type simBox struct {
	docker.Container
	spec  docker.ContainerSpec
	ca    []byte    // of its secrets
	stale bool      // its data was made with other secrets: it never answers
	valid time.Time // from then on its certificates are; the host's clock is right
}

// bootTime is how long a part takes from its start to its first answer.
const bootTime = 10 * time.Millisecond

func newSimHost() *simHost {
	return &simHost{
		networks: map[string]docker.Object{}, volumes: map[string]*simVolume{}, containers: map[string]*simBox{},
		taken: map[int]bool{}, started: func(string) {},
	}
}

func (h *simHost) id() string {
	h.ids++
	return fmt.Sprintf("id-%d", h.ids)
}

func (h *simHost) Info(context.Context) (docker.Info, error) {
	return docker.Info{MemoryTotal: 16 << 30, CPUs: 4}, nil
}

func (h *simHost) EnsureNetwork(_ context.Context, s docker.NetworkSpec) (docker.Network, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o, ok := h.networks[s.Name]
	if !ok {
		o = docker.Object{ID: h.id(), Name: s.Name, Labels: s.Labels}
		h.networks[s.Name] = o
	}
	return docker.Network{ID: o.ID, Name: o.Name, Labels: o.Labels}, nil
}

func (h *simHost) EnsureVolume(_ context.Context, s docker.VolumeSpec) (docker.Volume, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.volumes[s.Name]; !ok {
		h.volumes[s.Name] = &simVolume{Object: docker.Object{ID: s.Name, Name: s.Name, Labels: s.Labels}}
	}
	return docker.Volume{Name: s.Name, Labels: s.Labels}, nil
}

func (h *simHost) EnsureContainer(_ context.Context, s docker.ContainerSpec) (docker.Container, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b, ok := h.containers[s.Name]; ok && b.Running() && slices.Equal(b.spec.Ports, s.Ports) {
		return b.Container, nil
	}
	if _, ok := h.networks[s.Network]; !ok {
		return docker.Container{}, fmt.Errorf("create container %q: network %q: %w", s.Name, s.Network, docker.ErrNotFound)
	}
	for _, m := range s.Mounts {
		if _, ok := h.volumes[m.Volume]; !ok {
			return docker.Container{}, fmt.Errorf("create container %q: volume %q: %w", s.Name, m.Volume, docker.ErrNotFound)
		}
	}
	for _, p := range s.Ports {
		if p.HostPort != 0 && h.portTaken(p.HostPort, s.Name) {
			return docker.Container{}, fmt.Errorf("create container %q: %w", s.Name, &docker.PortTakenError{Port: p.HostPort})
		}
	}
	b := &simBox{spec: s, ca: fileOf(s, "ca.pem")}
	b.valid = validFrom(b.ca)
	for _, m := range s.Mounts {
		if m.Target != dataPath {
			continue
		}
		v := h.volumes[m.Volume]
		if v.ca == nil {
			v.ca = b.ca
		}
		b.stale = !bytes.Equal(v.ca, b.ca)
	}
	b.Container = docker.Container{ID: h.id(), Name: s.Name, State: docker.StateRunning, Labels: s.Labels, StartedAt: time.Now()}
	h.containers[s.Name] = b
	h.started(s.Name)
	return b.Container, nil
}

func fileOf(s docker.ContainerSpec, name string) []byte {
	for _, f := range s.Files {
		if f.Path == secretPath+"/"+name {
			return f.Data
		}
	}
	return nil
}

// portTaken tells whether another than the container has a host port.
func (h *simHost) portTaken(port int, container string) bool {
	if h.taken[port] {
		return true
	}
	for name, b := range h.containers {
		for _, p := range b.spec.Ports {
			if p.HostPort == port && name != container {
				return true
			}
		}
	}
	return false
}

func (h *simHost) Container(_ context.Context, name string) (docker.Container, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b, ok := h.containers[name]; ok {
		return b.Container, nil
	}
	return docker.Container{}, fmt.Errorf("inspect container %q: %w", name, docker.ErrNotFound)
}

func (h *simHost) Containers(_ context.Context, l docker.Labels) ([]docker.Container, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []docker.Container
	for _, name := range slices.Sorted(maps.Keys(h.containers)) {
		if b := h.containers[name]; has(b.Labels, l) {
			out = append(out, b.Container)
		}
	}
	return out, nil
}

func (h *simHost) StartContainer(_ context.Context, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, ok := h.containers[name]
	if !ok {
		return fmt.Errorf("start container %q: %w", name, docker.ErrNotFound)
	}
	b.State, b.StartedAt = docker.StateRunning, time.Now()
	h.started(name)
	return nil
}

func (h *simHost) PutFiles(_ context.Context, name string, files []docker.File) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, ok := h.containers[name]
	if !ok {
		return fmt.Errorf("copy files into container %q: %w", name, docker.ErrNotFound)
	}
	b.spec.Files = withFiles(b.spec.Files, files)
	return nil
}

func (h *simHost) Exec(context.Context, string, []string, []byte) (docker.ExecResult, error) {
	return docker.ExecResult{}, errNoShell
}

func (h *simHost) Inventory(_ context.Context, l docker.Labels) (docker.Inventory, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var inv docker.Inventory
	for _, name := range slices.Sorted(maps.Keys(h.containers)) {
		if b := h.containers[name]; has(b.Labels, l) {
			inv.Containers = append(inv.Containers, docker.Object{ID: b.ID, Name: name, Labels: b.Labels})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.networks)) {
		if o := h.networks[name]; has(o.Labels, l) {
			inv.Networks = append(inv.Networks, o)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.volumes)) {
		if v := h.volumes[name]; has(v.Labels, l) {
			inv.Volumes = append(inv.Volumes, v.Object)
		}
	}
	return inv, nil
}

func (h *simHost) Remove(_ context.Context, inv docker.Inventory) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for _, o := range inv.Containers {
		if b, ok := h.containers[o.Name]; ok && b.ID == o.ID {
			delete(h.containers, o.Name)
		}
	}
	for _, o := range inv.Networks {
		if n, ok := h.networks[o.Name]; !ok || n.ID != o.ID {
			continue
		}
		if user := h.user(func(b *simBox) bool { return b.spec.Network == o.Name }); user != "" {
			errs = append(errs, fmt.Errorf("remove network %q: %w: %s uses it", o.Name, docker.ErrConflict, user))
			continue
		}
		delete(h.networks, o.Name)
	}
	for _, o := range inv.Volumes {
		mounts := func(b *simBox) bool {
			return slices.ContainsFunc(b.spec.Mounts, func(m docker.VolumeMount) bool { return m.Volume == o.Name })
		}
		if user := h.user(mounts); user != "" {
			errs = append(errs, fmt.Errorf("remove volume %q: %w: %s uses it", o.Name, docker.ErrConflict, user))
			continue
		}
		delete(h.volumes, o.Name)
	}
	return errors.Join(errs...)
}

// user names a container of which uses says so.
func (h *simHost) user(uses func(*simBox) bool) string {
	for name, b := range h.containers {
		if uses(b) {
			return name
		}
	}
	return ""
}

// any gives some container; none when there is none.
func (h *simHost) any(nth int) docker.Container {
	h.mu.Lock()
	defer h.mu.Unlock()
	names := slices.Sorted(maps.Keys(h.containers))
	if len(names) == 0 {
		return docker.Container{}
	}
	return h.containers[names[nth%len(names)]].Container
}

// crash ends a container, which starts again after a while, or never when back
// is zero.
func (h *simHost) crash(name string, back time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, ok := h.containers[name]
	if !ok {
		return
	}
	b.State, b.ExitCode, b.FinishedAt = docker.StateExited, 137, time.Now()
	if back > 0 {
		b.State = docker.StateRestarting
		time.AfterFunc(back, func() { _ = h.StartContainer(context.Background(), name) }) // it may be gone by then
	}
}

// down counts the clusters' containers that do not run.
func (h *simHost) down(clusters []string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.containers {
		if !b.Running() && slices.Contains(clusters, b.Labels[docker.LabelClusterID]) {
			n++
		}
	}
	return n
}

// Watch tells nothing: the keeper looks by itself.
func (h *simHost) Watch(ctx context.Context, _ docker.Labels) <-chan docker.Event {
	out := make(chan docker.Event)
	go func() {
		<-ctx.Done()
		close(out)
	}()
	return out
}
