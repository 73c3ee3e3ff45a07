package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// forget removes what the store keeps of a cluster and declares it deleted. The
// record itself remains, for the history.
func (c *Catalogue) forget() jobs.StepType {
	return jobs.StepType{
		Name:    stepForget,
		Title:   "forget passwords, ports and nodes",
		Timeout: time.Minute,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			if err := c.forgetCluster(ctx, a.Cluster); err != nil {
				return jobs.Result{}, err
			}
			return jobs.Result{
				Facts: []jobs.Fact{{
					Type: jobs.ClusterDeletedEv, Message: fmt.Sprintf("cluster %s is deleted", a.Cluster.Name),
				}},
				Cluster: &jobs.ClusterChange{State: jobs.ClusterDeleted},
			}, nil
		},
	}
}

func (c *Catalogue) forgetCluster(ctx context.Context, cluster jobs.Cluster) error {
	if err := c.state.ForgetCluster(ctx, cluster.ID); err != nil {
		return fmt.Errorf("forget cluster %s: %w", cluster.Name, err)
	}
	return nil
}
