package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/go-connections/nat"
)

// State of a container, in the Engine's words.
type State string

// The states. A restarting container is between two runs.
const (
	StateCreated    State = "created"
	StateRunning    State = "running"
	StatePaused     State = "paused"
	StateRestarting State = "restarting"
	StateRemoving   State = "removing"
	StateExited     State = "exited"
	StateDead       State = "dead"
)

// Health of a container that has a health check; HealthNone without one.
type Health string

// The states of health.
const (
	HealthNone      Health = ""
	HealthStarting  Health = "starting"
	HealthHealthy   Health = "healthy"
	HealthUnhealthy Health = "unhealthy"
)

// HostPort is where a container's port is reached on its host.
type HostPort struct {
	IP   string // the address bound, 0.0.0.0 for all
	Port int
}

// Addr is what to dial from the host itself, like 127.0.0.1:32768.
func (h HostPort) Addr() string {
	ip := h.IP
	if parsed := net.ParseIP(ip); parsed == nil || parsed.IsUnspecified() {
		ip = "127.0.0.1"
	}
	return net.JoinHostPort(ip, strconv.Itoa(h.Port))
}

// Container is a container as the Engine sees it now.
type Container struct {
	Host         Host
	ID           string
	Name         string
	Image        string // as it was asked for, a tag
	State        State
	Health       Health
	ExitCode     int
	OOMKilled    bool
	Error        string           // why the last start failed, in the Engine's words
	StartedAt    time.Time        // zero: never started
	FinishedAt   time.Time        // zero: never ended
	RestartCount int              // by its restart policy
	Ports        map[int]HostPort // by container port; empty while it does not run
	Labels       Labels
}

// Running is true when its processes run and are not paused.
func (c Container) Running() bool { return c.State == StateRunning }

// Container looks at one container. ErrNotFound; ErrForeign when it is not this instance's.
func (e *Engine) Container(ctx context.Context, name string) (Container, error) {
	ctx, cancel, err := e.begin(ctx, callTimeout)
	defer cancel()
	if err != nil {
		return Container{}, fmt.Errorf("inspect container %q: %w", name, err)
	}
	c, err := e.inspect(ctx, name)
	if err == nil {
		err = e.checkInstance(c.Labels)
	}
	if err != nil {
		return Container{}, fmt.Errorf("inspect container %q: %w", name, err)
	}
	return c, nil
}

// Containers looks at all of this instance's containers that carry the labels, running or not, sorted by name.
func (e *Engine) Containers(ctx context.Context, labels Labels) ([]Container, error) {
	ctx, cancel, err := e.begin(ctx, callTimeout)
	defer cancel()
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	found, err := e.listContainers(ctx, labels)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	out := make([]Container, 0, len(found))
	for _, o := range found {
		c, err := e.inspect(ctx, o.ID)
		if errors.Is(err, ErrNotFound) {
			continue // removed since the list was made
		}
		if err != nil {
			return nil, fmt.Errorf("inspect container %q: %w", o.Name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

func (e *Engine) inspect(ctx context.Context, ref string) (Container, error) {
	j, err := e.cli.ContainerInspect(ctx, ref)
	if err != nil {
		return Container{}, explain(ctx, err)
	}
	return e.translate(j), nil
}

// own resolves a name to this instance's container; the id keeps later calls on the same one.
func (e *Engine) own(ctx context.Context, name string) (Container, error) {
	c, err := e.inspect(ctx, name)
	if err != nil {
		return c, err
	}
	return c, e.checkInstance(c.Labels)
}

func (e *Engine) translate(j container.InspectResponse) Container {
	c := Container{Host: e.host, Ports: map[int]HostPort{}}
	if j.ContainerJSONBase != nil {
		c.ID, c.Name, c.RestartCount = j.ID, strings.TrimPrefix(j.Name, "/"), j.RestartCount
		if s := j.State; s != nil {
			c.State, c.ExitCode, c.OOMKilled, c.Error = State(s.Status), s.ExitCode, s.OOMKilled, s.Error
			c.StartedAt, c.FinishedAt = engineTime(s.StartedAt), engineTime(s.FinishedAt)
			if s.Health != nil && s.Health.Status != container.NoHealthcheck {
				c.Health = Health(s.Health.Status)
			}
		}
	}
	if j.Config != nil {
		c.Image, c.Labels = j.Config.Image, j.Config.Labels
	}
	if j.NetworkSettings != nil {
		for port, bindings := range j.NetworkSettings.Ports {
			if hp, ok := hostPort(bindings); ok {
				c.Ports[port.Int()] = hp
			}
		}
	}
	return c
}

// hostPort takes the first IPv4 binding: an Engine with IPv6 binds twice when no address was asked for.
func hostPort(bindings []nat.PortBinding) (HostPort, bool) {
	best, ok := HostPort{}, false
	for _, b := range bindings {
		port, err := strconv.Atoi(b.HostPort)
		if err != nil {
			continue
		}
		if !ok || strings.Contains(best.IP, ":") && !strings.Contains(b.HostIP, ":") {
			best, ok = HostPort{IP: b.HostIP, Port: port}, true
		}
	}
	return best, ok
}

// engineTime parses the Engine's time, for which "never" is the year 1.
func engineTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1 {
		return time.Time{}
	}
	return t
}
