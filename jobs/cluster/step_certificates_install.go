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

// installPatience is how long a part may take to show its new certificate: it
// may be down, and Patroni reloads at its next loop.
const installPatience = 5 * time.Minute

// A part that does not show the certificate it was given is given it again, after
// more than a loop of Patroni's; one that could not be given it, sooner.
const (
	installAgain = 15 * time.Second
	installRetry = 2 * time.Second
)

// installCertificate gives one etcd member or proxy its new certificate.
func (c *Catalogue) installCertificate() jobs.StepType {
	return jobs.StepType{
		Name:    stepCertInstall,
		Title:   "give a new certificate to",
		Timeout: installPatience,
		Weight:  2,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, _, next, err := c.opened(ctx, a)
			if err != nil {
				return jobs.Result{}, err
			}
			i := slices.IndexFunc(s.parts(), func(p part) bool { return p.name == a.Step.Node })
			if i < 0 {
				return jobs.Result{}, refusal(jobs.CodeInternal, "cluster %s has no part %q", s.Name, a.Step.Node)
			}
			return jobs.Result{}, c.certify(ctx, a, s, next, s.parts()[i], jobs.Observation{})
		},
	}
}

// nodeCertificates does so for the nodes, one after another, the leader last.
// Who leads is not known when the operation is planned, so it is one step.
func (c *Catalogue) nodeCertificates() jobs.StepType {
	return jobs.StepType{
		Name:    stepCertNodes,
		Title:   "give new certificates to the nodes",
		Timeout: installPatience,
		Weight:  6,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, k, next, err := c.opened(ctx, a)
			if err != nil {
				return jobs.Result{}, err
			}
			nodes := s.nodes()
			leader, err := c.probe.leader(ctx, s, k)
			if err == nil { // else none leads now, and the order does not matter
				nodes = last(nodes, leader.Node)
			}
			for i, node := range nodes {
				done := jobs.Observation{Done: int64(i), Total: int64(len(nodes)), Unit: "nodes"}
				if err := c.certify(ctx, a, s, next, part{node, roleNode}, done); err != nil {
					return jobs.Result{}, err
				}
			}
			return jobs.Result{}, nil
		},
	}
}

// last puts a name at the end of the names, where it is one of them.
func last(names []string, name string) []string {
	i := slices.Index(names, name)
	if i < 0 {
		return names
	}
	return append(slices.Delete(slices.Clone(names), i, i+1), name)
}

// certify brings a part to work with its certificate in k. A part that is
// down gets the files, and is waited for until it is up with them. What is seen
// is told in words that stay the same, for new ones would count as progress.
func (c *Catalogue) certify(ctx context.Context, a *jobs.Attempt, s site, k keys, p part, count jobs.Observation) error {
	var next time.Time // when it may be given again
	words := p.name + " does not show its new certificate yet"
	return wait(ctx, a, p.name+" to work with its new certificate", func(ctx context.Context) (bool, jobs.Observation, error) {
		seen := count
		seen.Message = words
		box, err := c.engine.Container(ctx, s.container(p.name))
		switch {
		case errors.Is(err, docker.ErrNotFound):
			seen.Message = p.name + " has no container: it gets its certificate when it is made"
			return false, seen, nil
		case err != nil:
			return false, seen, explain(err)
		case isDead(box.State):
			if err := c.engine.PutFiles(ctx, box.Name, s.certificateFiles(k, p)); err != nil {
				return false, seen, explain(err)
			}
			seen.Message = fmt.Sprintf("%s is down (%s): its new certificate is in its volume, waiting until it runs", p.name, box.State)
			return false, seen, nil
		}
		fresh, err := c.fresh(ctx, s, k, p)
		if fresh || jobs.IsPermanent(err) || c.now().Before(next) {
			return fresh, seen, err
		}
		err = c.probe.install(ctx, s, k, p)
		var broken *scriptError
		switch {
		case err == nil:
			next = c.now().Add(installAgain)
			words = p.name + " has its new certificate, and does not show it yet"
		case errors.As(err, &broken):
			words = err.Error()
			next = c.now().Add(installRetry)
		default:
			words = p.name + " cannot be given its new certificate yet: it does not answer"
			next = c.now().Add(installRetry)
		}
		seen.Message = words
		return false, seen, nil
	})
}

// fresh says that a part works with its certificate in next, and with no other.
func (c *Catalogue) fresh(ctx context.Context, s site, next keys, p part) (bool, error) {
	want, err := next.serial(p.name)
	if err != nil {
		return false, jobs.Permanent(err)
	}
	served, err := c.probe.served(ctx, s, next, p)
	if err != nil {
		return false, err
	}
	other := func(serial string) bool { return serial != want }
	return len(served) > 0 && !slices.ContainsFunc(served, other), nil
}

// certificateFiles are the files of a part that a rotation exchanges.
func (s site) certificateFiles(k keys, p part) []docker.File {
	return []docker.File{secret("node.pem", k[certOf(p.name)]), secret("node.key", k[keyOf(p.name)])}
}
