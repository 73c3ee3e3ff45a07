package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// started is what a step that starts a container leaves for people.
type started struct {
	Container string `json:"container"`
	ID        string `json:"id"`
}

func (c *Catalogue) startEtcd() jobs.StepType {
	return c.start(roleEtcd, jobs.StepType{Name: stepEtcdStart, Title: "start etcd member", Weight: 2},
		func(_ context.Context, s site, member string, k keys) (docker.ContainerSpec, error) {
			return s.etcdSpec(member, k), nil
		})
}

func (c *Catalogue) startNode() jobs.StepType {
	return c.start(roleNode, jobs.StepType{Name: stepNodeStart, Title: "start node", Weight: 2},
		func(_ context.Context, s site, node string, k keys) (docker.ContainerSpec, error) {
			return s.nodeSpec(node, k)
		})
}

func (c *Catalogue) startProxy() jobs.StepType {
	t := c.start(roleProxy, jobs.StepType{Name: stepProxyStart, Title: "start proxy", Weight: 2},
		func(ctx context.Context, s site, proxy string, k keys) (docker.ContainerSpec, error) {
			ports, err := c.hostPorts(ctx, s)
			return s.proxySpec(proxy, k, ports), err
		})
	t.Run = c.evadingTakenPorts(t.Run)
	return t
}

// start makes the step type that brings one container, with its volumes, to run.
func (c *Catalogue) start(
	role string, t jobs.StepType, specOf func(context.Context, site, string, keys) (docker.ContainerSpec, error),
) jobs.StepType {
	t.Timeout = 3 * time.Minute
	t.Run = func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
		s, err := siteOf(a.Cluster)
		if err != nil {
			return jobs.Result{}, err
		}
		k, err := c.keysOf(ctx, s)
		if err != nil {
			return jobs.Result{}, err
		}
		spec, err := specOf(ctx, s, a.Step.Node, k)
		if err != nil {
			return jobs.Result{}, err
		}
		for _, v := range s.volumes(part{a.Step.Node, role}) {
			if _, err := c.engine.EnsureVolume(ctx, v); err != nil {
				return jobs.Result{}, explain(err)
			}
		}
		made, err := c.engine.EnsureContainer(ctx, spec)
		if err != nil {
			return jobs.Result{}, explain(err)
		}
		return jobs.Result{Output: started{Container: made.Name, ID: made.ID}}, nil
	}
	t.Undo = func(ctx context.Context, a *jobs.Attempt) error {
		return c.remove(ctx, a.Cluster, onlyPart(a.Step.Node))
	}
	return t
}

// evadingTakenPorts wraps the start of a proxy. What the store cannot know is
// which ports other programs of the host use: a port that was merely allocated
// is exchanged for another one, one that was asked for is the asker's to change.
func (c *Catalogue) evadingTakenPorts(
	run func(context.Context, *jobs.Attempt) (jobs.Result, error),
) func(context.Context, *jobs.Attempt) (jobs.Result, error) {
	const tries = 20
	return func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
		for range tries {
			result, err := run(ctx, a)
			var taken *docker.PortTakenError
			if !errors.As(err, &taken) {
				return result, err
			}
			if err := c.exchangePort(ctx, a, taken.Port); err != nil {
				return jobs.Result{}, err
			}
		}
		return jobs.Result{}, refusal(jobs.CodePortTaken,
			"%d host ports in a row of the range %d–%d are taken by other programs; free some, or give pgforeman another range",
			tries, c.ports.Low, c.ports.High)
	}
}

// exchangePort gives the proxy of the attempt another host port instead of
// taken; 0 means that the Engine did not say which, so both are exchanged.
func (c *Catalogue) exchangePort(ctx context.Context, a *jobs.Attempt, taken int) error {
	s, err := siteOf(a.Cluster)
	if err != nil {
		return err
	}
	ports, err := c.hostPorts(ctx, s)
	if err != nil {
		return err
	}
	primary, replica := s.purposes(a.Step.Node)
	exchanged := false
	for _, purpose := range []string{primary, replica} {
		port := ports[purpose]
		if taken != 0 && taken != port {
			continue
		}
		if s.asked(purpose) == port {
			if taken == 0 {
				continue
			}
			return refusal(jobs.CodePortTaken, "port %d, which the request asks for, is in use on the host; "+
				"free it and replay the operation, or ask for another one (0 lets pgforeman choose)", port)
		}
		if _, err := c.state.ReallocatePort(ctx, s.ID, s.Host, purpose, c.ports.Low, c.ports.High, port); err != nil {
			return fmt.Errorf("exchange host port %d of cluster %s: %w", port, s.Name, err)
		}
		exchanged = true
		a.Progress(jobs.Observation{Message: fmt.Sprintf("host port %d is in use by another program, taking another one", port)})
	}
	if !exchanged && !slices.Contains([]int{ports[primary], ports[replica]}, taken) {
		return refusal(jobs.CodePortTaken, "a host port of %s is in use (asked for: %d and %d); free it and replay the operation",
			a.Step.Node, s.asked(primary), s.asked(replica))
	}
	return nil
}
