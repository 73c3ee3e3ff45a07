package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// world is a host and a state database in memory: an Engine and a State.
type world struct {
	mu         sync.Mutex
	info       docker.Info
	taken      map[int]bool // host ports of other programs
	networks   map[string]docker.Object
	volumes    map[string]docker.Object
	containers map[string]*fakeBox
	missing    bool // no image is there
	events     chan docker.Event
	starts     []string // containers started by StartContainer

	clusters map[string]jobs.Cluster
	secrets  map[string][]byte
	ports    map[string]int
	nodes    []jobs.NodeRecord
	told     []jobs.Fact
	staged   map[string]map[string][]byte // by operation
	admitted []jobs.Operation             // by Admit, the newest first
	changes  int                          // of docker things
}

type fakeBox struct {
	docker.Container
	spec docker.ContainerSpec
}

func newWorld() *world {
	return &world{
		info:  docker.Info{MemoryTotal: 16 << 30, CPUs: 4},
		taken: map[int]bool{}, networks: map[string]docker.Object{}, volumes: map[string]docker.Object{},
		containers: map[string]*fakeBox{}, events: make(chan docker.Event, 16), clusters: map[string]jobs.Cluster{},
	}
}

func (w *world) Info(context.Context) (docker.Info, error) { return w.info, nil }

func (w *world) EnsureNetwork(_ context.Context, s docker.NetworkSpec) (docker.Network, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.networks[s.Name]; !ok {
		w.changes++
		w.networks[s.Name] = docker.Object{ID: s.Name, Name: s.Name, Labels: s.Labels}
	}
	return docker.Network{Name: s.Name}, nil
}

func (w *world) EnsureVolume(_ context.Context, s docker.VolumeSpec) (docker.Volume, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.volumes[s.Name]; !ok {
		w.changes++
		w.volumes[s.Name] = docker.Object{ID: s.Name, Name: s.Name, Labels: s.Labels}
	}
	return docker.Volume{Name: s.Name}, nil
}

func (w *world) EnsureContainer(_ context.Context, s docker.ContainerSpec) (docker.Container, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.missing {
		return docker.Container{}, fmt.Errorf("create container %q: %w", s.Name, docker.ErrImageMissing)
	}
	if _, ok := w.networks[s.Network]; !ok {
		return docker.Container{}, fmt.Errorf("network %q: %w", s.Network, docker.ErrNotFound)
	}
	for _, m := range s.Mounts {
		if _, ok := w.volumes[m.Volume]; !ok {
			return docker.Container{}, fmt.Errorf("volume %q: %w", m.Volume, docker.ErrNotFound)
		}
	}
	for _, f := range s.Files {
		if len(f.Data) == 0 {
			return docker.Container{}, fmt.Errorf("file %s is empty", f.Path)
		}
	}
	for _, p := range s.Ports {
		if w.taken[p.HostPort] {
			return docker.Container{}, fmt.Errorf("create container %q: %w", s.Name, &docker.PortTakenError{Port: p.HostPort})
		}
	}
	if b, ok := w.containers[s.Name]; ok && b.State == docker.StateRunning {
		return b.Container, nil
	}
	w.changes++
	b := &fakeBox{spec: s, Container: docker.Container{ID: s.Name, Name: s.Name, State: docker.StateRunning, Labels: s.Labels}}
	w.containers[s.Name] = b
	return b.Container, nil
}

func (w *world) Container(_ context.Context, name string) (docker.Container, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b, ok := w.containers[name]; ok {
		return b.Container, nil
	}
	return docker.Container{}, fmt.Errorf("inspect container %q: %w", name, docker.ErrNotFound)
}

func (w *world) Containers(_ context.Context, l docker.Labels) ([]docker.Container, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []docker.Container
	for _, name := range slices.Sorted(maps.Keys(w.containers)) {
		if has(w.containers[name].Labels, l) {
			out = append(out, w.containers[name].Container)
		}
	}
	return out, nil
}

func has(labels, want docker.Labels) bool {
	for k, v := range want {
		if labels[k] != v {
			return false
		}
	}
	return true
}

func (w *world) StartContainer(_ context.Context, name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.starts = append(w.starts, name)
	w.containers[name].State = docker.StateRunning
	return nil
}

// PutFiles writes into a container's volume of secrets.
func (w *world) PutFiles(_ context.Context, name string, files []docker.File) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	b, ok := w.containers[name]
	if !ok {
		return fmt.Errorf("copy files into container %q: %w", name, docker.ErrNotFound)
	}
	w.changes++
	b.spec.Files = withFiles(b.spec.Files, files)
	return nil
}

// withFiles are files with those of the same path exchanged.
func withFiles(files, fresh []docker.File) []docker.File {
	out := slices.Clone(files)
	for i, f := range out {
		for _, n := range fresh {
			if n.Path == f.Path {
				out[i] = n
			}
		}
	}
	return out
}

var errNoShell = errors.New("nothing runs in this world's containers")

func (w *world) Exec(context.Context, string, []string, []byte) (docker.ExecResult, error) {
	return docker.ExecResult{}, errNoShell
}

// kill ends a container from outside.
func (w *world) kill(name string) {
	w.mu.Lock()
	b := w.containers[name]
	b.State, b.ExitCode, b.FinishedAt = docker.StateExited, 137, time.Now()
	w.mu.Unlock()
	w.events <- docker.Event{Type: docker.EventDie, Container: name, Labels: b.Labels}
}

func (w *world) Inventory(_ context.Context, l docker.Labels) (docker.Inventory, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var inv docker.Inventory
	for _, name := range slices.Sorted(maps.Keys(w.containers)) {
		if b := w.containers[name]; has(b.Labels, l) {
			inv.Containers = append(inv.Containers, docker.Object{ID: name, Name: name, Labels: b.Labels})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.networks)) {
		if o := w.networks[name]; has(o.Labels, l) {
			inv.Networks = append(inv.Networks, o)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.volumes)) {
		if o := w.volumes[name]; has(o.Labels, l) {
			inv.Volumes = append(inv.Volumes, o)
		}
	}
	return inv, nil
}

func (w *world) Remove(_ context.Context, inv docker.Inventory) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, o := range inv.Containers {
		w.changes++
		delete(w.containers, o.ID)
	}
	for _, o := range inv.Networks {
		for name, b := range w.containers {
			if b.spec.Network == o.Name {
				errs = append(errs, fmt.Errorf("network %s is used by %s", o.Name, name))
			}
		}
		w.changes++
		delete(w.networks, o.ID)
	}
	for _, o := range inv.Volumes {
		for name, b := range w.containers {
			for _, m := range b.spec.Mounts {
				if m.Volume == o.Name {
					errs = append(errs, fmt.Errorf("volume %s is used by %s", o.Name, name))
				}
			}
		}
		w.changes++
		delete(w.volumes, o.ID)
	}
	return errors.Join(errs...)
}

func (w *world) Watch(context.Context, docker.Labels) <-chan docker.Event { return w.events }

// facts are the types told so far, with their nodes, in order.
func (w *world) facts() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]string, 0, len(w.told))
	for _, f := range w.told {
		out = append(out, strings.TrimSpace(string(f.Type)+" "+f.Node))
	}
	return out
}

// started are the containers that were started again, in order.
func (w *world) started() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.starts)
}

// be puts a container or a cluster into a state.
func (w *world) be(container string, state docker.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.containers[container].State = state
}

func (w *world) beCluster(c jobs.Cluster, state jobs.ClusterState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.State = state
	w.clusters[c.ID] = c
}

// left names everything that exists.
func (w *world) left() string {
	inv, _ := w.Inventory(context.Background(), nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("%s, %d secrets, %d ports, %d nodes", inv, len(w.secrets), len(w.ports), len(w.nodes))
}
