package cluster

import (
	"context"
	"time"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// ensureNetwork makes the cluster's private network. Volumes are made by the
// steps that start the containers which mount them.
func (c *Catalogue) ensureNetwork() jobs.StepType {
	return jobs.StepType{
		Name:    stepNetwork,
		Title:   "create network",
		Timeout: time.Minute,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, err := siteOf(a.Cluster)
			if err != nil {
				return jobs.Result{}, err
			}
			n, err := c.engine.EnsureNetwork(ctx, docker.NetworkSpec{
				Host: docker.Host(s.Host), Name: s.network(), Labels: s.marks(),
			})
			if err != nil {
				return jobs.Result{}, explain(err)
			}
			return jobs.Result{Output: map[string]string{"network": n.Name}}, nil
		},
		Undo: func(ctx context.Context, a *jobs.Attempt) error {
			return c.remove(ctx, a.Cluster, onlyNetworks)
		},
	}
}
