package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// ensureDatabases makes the login roles and databases on the leader.
func (c *Catalogue) ensureDatabases() jobs.StepType {
	return jobs.StepType{
		Name:    stepDatabases,
		Title:   "make databases and users",
		Timeout: 2 * time.Minute,
		Weight:  2,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, k, err := c.open(ctx, a)
			if err != nil {
				return jobs.Result{}, err
			}
			leader, err := c.leaderNow(ctx, s, k)
			if err != nil {
				return jobs.Result{}, err
			}
			if err := c.probe.databases(ctx, s, k, leader); err != nil {
				return jobs.Result{}, fmt.Errorf("make databases and users on %s: %w", leader, err)
			}
			return jobs.Result{Output: map[string]any{"users": s.users(), "databases": s.databases()}}, nil
		},
	}
}
