package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/docker/go-units"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/postgres"
)

// basebackup waits until a replica has its copy and asks the leader for changes.
// Patroni makes the copy, and begins again when it fails, for ever; the step's
// timeout counts from the last byte. A copy that stood still three times in a row
// is a person's to look at.
func (c *Catalogue) basebackup() jobs.StepType {
	return jobs.StepType{
		Name:    stepBasebackup,
		Title:   "copy the data to",
		Timeout: 5 * time.Minute,
		Retry:   jobs.Retry{Attempts: 3},
		Weight:  8,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, k, err := c.open(ctx, a)
			if err != nil {
				return jobs.Result{}, err
			}
			return jobs.Result{}, wait(ctx, a, "the copy of "+a.Step.Node,
				func(ctx context.Context) (bool, jobs.Observation, error) {
					return c.lookCopy(ctx, s, k, a.Step.Node)
				})
		},
	}
}

// lookCopy is done when the node follows the leader, or leads itself.
func (c *Catalogue) lookCopy(ctx context.Context, s site, k keys, node string) (bool, jobs.Observation, error) {
	leader, seen, err := c.lookLeader(ctx, s, k)
	if leader == "" || err != nil || leader == node {
		return leader == node, seen, err
	}
	followers, err := c.probe.replication(ctx, s, k, leader)
	if err != nil {
		return false, jobs.Observation{Message: "the leader " + leader + " does not answer"}, nil
	}
	if slices.ContainsFunc(followers, func(r postgres.Standby) bool { return r.Name == node }) {
		return true, jobs.Observation{}, nil
	}
	copies, err := c.probe.basebackups(ctx, s, k, leader)
	if err == nil {
		for _, b := range copies {
			if b.Name == copierOf(node) {
				return false, copying(node, b), nil
			}
		}
	}
	return false, jobs.Observation{Message: node + ": " + c.stateOf(ctx, s, k, node)}, nil
}

func copying(node string, b postgres.Basebackup) jobs.Observation {
	if b.Total <= 0 {
		return jobs.Observation{Message: node + ": " + b.Phase}
	}
	// The estimate of the total does not count what is written meanwhile.
	done := min(b.Streamed, b.Total)
	return jobs.Observation{
		Message: fmt.Sprintf("%s: copied %s of %s", node, units.BytesSize(float64(done)), units.BytesSize(float64(b.Total))),
		Done:    done, Total: b.Total, Unit: "bytes",
	}
}

// copierOf is the application name of a node's pg_basebackup, which Patroni does
// not set. It must not be the node's own name, for then PostgreSQL could take the
// copier for a synchronous standby.
func copierOf(node string) string { return node + ".local" }
