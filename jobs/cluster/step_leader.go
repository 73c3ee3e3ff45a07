package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/etcd"
)

// elected is what the step leaves.
type elected struct {
	Leader string `json:"leader"`
}

// leaderElected waits until a node holds the leader key and says so itself. At
// the first run that is the first node; when an operation is resumed it may be
// any.
func (c *Catalogue) leaderElected() jobs.StepType {
	return jobs.StepType{
		Name:    stepLeader,
		Title:   "wait for the leader",
		Timeout: 5 * time.Minute,
		Weight:  8,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, k, err := c.open(ctx, a)
			if err != nil {
				return jobs.Result{}, err
			}
			var leader string
			err = wait(ctx, a, "a leader", func(ctx context.Context) (done bool, seen jobs.Observation, err error) {
				leader, seen, err = c.lookLeader(ctx, s, k)
				return leader != "", seen, err
			})
			return jobs.Result{Output: elected{leader}}, err
		},
	}
}

// answering waits until a node's Patroni answers, which it does from when it
// begins to make the database.
func (c *Catalogue) answering() jobs.StepType {
	return jobs.StepType{
		Name:    stepAnswering,
		Title:   "wait for the answer of",
		Timeout: 2 * time.Minute,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, k, err := c.open(ctx, a)
			if err != nil {
				return jobs.Result{}, err
			}
			node := a.Step.Node
			return jobs.Result{}, wait(ctx, a, "patroni on "+node, func(ctx context.Context) (bool, jobs.Observation, error) {
				if _, err := c.probe.status(ctx, s, k, node); err == nil {
					return true, jobs.Observation{}, nil
				}
				return false, jobs.Observation{Message: node + ": " + c.stateOf(ctx, s, k, node)}, nil
			})
		},
	}
}

// lookLeader gives the leader, or what the first node is doing.
func (c *Catalogue) lookLeader(ctx context.Context, s site, k keys) (string, jobs.Observation, error) {
	key, err := c.probe.leader(ctx, s, k)
	switch {
	case errors.Is(err, etcd.ErrNoLeader):
		first := s.nodes()[0]
		return "", jobs.Observation{Message: first + ": " + c.stateOf(ctx, s, k, first)}, nil
	case err != nil:
		return "", jobs.Observation{Message: "etcd does not tell who leads"}, nil
	case !slices.Contains(s.nodes(), key.Node):
		return "", jobs.Observation{}, refusal(jobs.CodeInternal, "the leader key of cluster %s names %q, which is none of its nodes", s.Name, key.Node)
	}
	primary, err := c.probe.isPrimary(ctx, s, k, key.Node)
	if err != nil || !primary {
		return "", jobs.Observation{Message: key.Node + " holds the leader key, is not yet primary: " + c.stateOf(ctx, s, k, key.Node)}, nil
	}
	return key.Node, jobs.Observation{Message: key.Node + " leads"}, nil
}

// stateOf is a node's state in Patroni's words.
func (c *Catalogue) stateOf(ctx context.Context, s site, k keys, node string) string {
	status, err := c.probe.status(ctx, s, k, node)
	switch {
	case err == nil && status.State != "":
		return status.State
	case err == nil:
		return "no state yet"
	}
	box, err := c.engine.Container(ctx, s.container(node))
	switch {
	case err != nil:
		return "its container is missing"
	case !box.Running():
		return fmt.Sprintf("its container is %s (exit code %d)", box.State, box.ExitCode)
	}
	return "patroni does not answer yet"
}

// leaderNow asks for the leader once, for steps that work on it.
func (c *Catalogue) leaderNow(ctx context.Context, s site, k keys) (string, error) {
	leader, seen, err := c.lookLeader(ctx, s, k)
	if err != nil {
		return "", err
	}
	if leader == "" {
		return "", fmt.Errorf("cluster %s has no leader: %s", s.Name, seen.Message)
	}
	return leader, nil
}
