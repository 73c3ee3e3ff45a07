package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/patroni"
	"github.com/vcs-iaas/pgforeman/jobs/postgres"
)

// streaming waits until a replica streams from the leader and, in a synchronous
// cluster, until there is a synchronous standby. For streaming the leader's own
// view is asked, since what Patroni tells is up to a loop old. Who is synchronous
// is asked of Patroni: PostgreSQL says so some two seconds before Patroni writes
// it into etcd, and until then no one may take over from a leader that dies.
func (c *Catalogue) streaming() jobs.StepType {
	return jobs.StepType{
		Name:    stepStreaming,
		Title:   "wait for streaming of",
		Timeout: 3 * time.Minute,
		Weight:  3,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, k, err := c.open(ctx, a)
			if err != nil {
				return jobs.Result{}, err
			}
			return jobs.Result{}, wait(ctx, a, "streaming of "+a.Step.Node,
				func(ctx context.Context) (bool, jobs.Observation, error) {
					return c.lookStreaming(ctx, s, k, a.Step.Node)
				})
		},
	}
}

func (c *Catalogue) lookStreaming(ctx context.Context, s site, k keys, node string) (bool, jobs.Observation, error) {
	leader, seen, err := c.lookLeader(ctx, s, k)
	if leader == "" || err != nil || leader == node {
		return leader == node, seen, err
	}
	followers, err := c.probe.replication(ctx, s, k, leader)
	if err != nil {
		return false, jobs.Observation{Message: "the leader " + leader + " does not answer"}, nil
	}
	switch {
	case !streams(followers, node):
		return false, jobs.Observation{Message: fmt.Sprintf("%s: %s", node, c.stateOf(ctx, s, k, node))}, nil
	case !s.synchronous():
		return true, jobs.Observation{}, nil
	}
	members, err := c.probe.members(ctx, s, k, leader)
	if err != nil || !slices.ContainsFunc(members.Members, isSynchronous) {
		return false, jobs.Observation{Message: node + " streams, no synchronous standby is chosen yet"}, nil
	}
	return true, jobs.Observation{}, nil
}

func isSynchronous(m patroni.Member) bool { return isStandbyRole(m.Role) }

// isStandbyRole says that a role is that of a node which may take over from the
// leader without the loss of a row.
func isStandbyRole(role string) bool { return role == "sync_standby" || role == "quorum_standby" }

// synchronous says that the cluster must have a synchronous standby.
func (s site) synchronous() bool {
	return s.spec.Nodes > 1 && (s.spec.SynchronousMode == "on" || s.spec.SynchronousMode == "strict")
}

// strict says that nothing is committed without one.
func (s site) strict() bool { return s.spec.SynchronousMode == "strict" }

func streams(followers []postgres.Standby, node string) bool {
	for _, f := range followers {
		if f.Name == node && f.State == "streaming" {
			return true
		}
	}
	return false
}
