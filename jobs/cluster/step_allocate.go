package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/go-units"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// allocated is what the step leaves for people.
type allocated struct {
	Ports map[string]int `json:"ports"`
}

// allocate makes what a cluster needs before it has a container: its secrets and
// its host ports. Both are made once and found again by every later run.
func (c *Catalogue) allocate() jobs.StepType {
	return jobs.StepType{
		Name:    stepAllocate,
		Title:   "prepare passwords, certificates and ports",
		Timeout: time.Minute,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, err := siteOf(a.Cluster)
			if err != nil {
				return jobs.Result{}, err
			}
			if err := c.admit(ctx, s); err != nil {
				return jobs.Result{}, err
			}
			if err := c.putKeys(ctx, s); err != nil {
				return jobs.Result{}, err
			}
			ports, err := c.hostPorts(ctx, s)
			if err != nil {
				return jobs.Result{}, err
			}
			return jobs.Result{Output: allocated{Ports: ports}}, nil
		},
		Undo: func(ctx context.Context, a *jobs.Attempt) error {
			return c.forgetCluster(ctx, a.Cluster)
		},
	}
}

// admit refuses what the host can never hold, before anything is made.
func (c *Catalogue) admit(ctx context.Context, s site) error {
	info, err := c.engine.Info(ctx)
	if err != nil {
		return explain(err)
	}
	if need := s.memory(); info.MemoryTotal > 0 && need > info.MemoryTotal {
		return refusal(jobs.CodeNoResources,
			"cluster %s needs %s of memory (%d nodes of %d MiB, etcd and proxies), the host has %s; ask for fewer nodes or a smaller memory_mb",
			s.Name, units.BytesSize(float64(need)), s.spec.Nodes, s.spec.MemoryMB, units.BytesSize(float64(info.MemoryTotal)))
	}
	if info.CPUs > 0 && s.spec.CPUs > float64(info.CPUs) {
		return refusal(jobs.CodeNoResources, "cluster %s asks for %g CPUs per node, the host has %d; ask for fewer", s.Name, s.spec.CPUs, info.CPUs)
	}
	return nil
}

// putKeys stores new secrets unless there are some.
func (c *Catalogue) putKeys(ctx context.Context, s site) error {
	k, err := newKeys(s, c.wall())
	if err != nil {
		return fmt.Errorf("make the secrets of cluster %s: %w", s.Name, err)
	}
	if _, err := c.state.PutSecretsOnce(ctx, s.ID, k); err != nil {
		return fmt.Errorf("store the secrets of cluster %s: %w", s.Name, err)
	}
	return nil
}

// hostPorts are the cluster's host ports by purpose, allocated the first time.
func (c *Catalogue) hostPorts(ctx context.Context, s site) (map[string]int, error) {
	ports, err := c.state.AllocatePorts(ctx, s.ID, s.Host, s.portWants(), c.ports.Low, c.ports.High, nil)
	if err != nil {
		return nil, fmt.Errorf("allocate the ports of cluster %s: %w", s.Name, err)
	}
	return ports, nil
}
