package cluster

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// etcdHealthy waits until all members have joined and agree on a leader, then
// switches authentication on.
func (c *Catalogue) etcdHealthy() jobs.StepType {
	return jobs.StepType{
		Name:    stepEtcdReady,
		Title:   "wait for etcd",
		Timeout: 2 * time.Minute,
		Weight:  3,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, k, err := c.open(ctx, a)
			if err != nil {
				return jobs.Result{}, err
			}
			err = wait(ctx, a, "etcd", func(ctx context.Context) (bool, jobs.Observation, error) {
				return c.lookEtcd(ctx, s, k)
			})
			if err != nil {
				return jobs.Result{}, err
			}
			if err := c.probe.etcdAuth(ctx, s, k); err != nil {
				return jobs.Result{}, fmt.Errorf("set up authentication in etcd: %w", err)
			}
			return jobs.Result{}, nil
		},
	}
}

func (c *Catalogue) lookEtcd(ctx context.Context, s site, k keys) (bool, jobs.Observation, error) {
	members := s.etcds()
	var missing []string
	leader := false
	for _, m := range members {
		health, err := c.probe.etcdHealth(ctx, s, k, m)
		switch {
		case err != nil:
			missing = append(missing, m)
		case len(health.Alarms) > 0:
			return false, jobs.Observation{}, fmt.Errorf("etcd member %s raises the alarm %s", m, strings.Join(health.Alarms, ", "))
		case health.IsLeader:
			leader = true
		}
	}
	seen := jobs.Observation{
		Message: fmt.Sprintf("%d of %d etcd members answer", len(members)-len(missing), len(members)),
		Done:    int64(len(members) - len(missing)), Total: int64(len(members)), Unit: "members",
	}
	switch {
	case len(missing) > 0:
		seen.Message += ", not yet: " + strings.Join(missing, ", ")
	case !leader:
		seen.Message += ", no leader yet"
	}
	return len(missing) == 0 && leader, seen, nil
}

// open reads the attempt's cluster and its secrets.
func (c *Catalogue) open(ctx context.Context, a *jobs.Attempt) (site, keys, error) {
	s, err := siteOf(a.Cluster)
	if err != nil {
		return s, nil, err
	}
	k, err := c.keysOf(ctx, s)
	return s, k, err
}
