package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/pki"
)

// certified is what the first and the last step of a rotation leave for people.
type certified struct {
	ExpireAt time.Time `json:"expire_at"`
}

// issueCertificates makes the new set, once for the operation: whoever comes
// later finds it. It stands beside the one in use until it is adopted.
func (c *Catalogue) issueCertificates() jobs.StepType {
	return jobs.StepType{
		Name:    stepCertIssue,
		Title:   "issue new certificates",
		Timeout: time.Minute,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, k, err := c.open(ctx, a)
			if err != nil {
				return jobs.Result{}, err
			}
			if !keepable(s.State) {
				return jobs.Result{}, refusal(jobs.CodeStepFailed,
					"cluster %s is %s, so its parts cannot be given certificates; replay or discard what failed, or delete it", s.Name, s.State)
			}
			made, err := newCertificates(s, pki.Authority{CertPEM: k[caCert], KeyPEM: k[caKey]}, c.wall())
			if err != nil {
				return jobs.Result{}, jobs.Permanent(fmt.Errorf("issue certificates for cluster %s: %w", s.Name, err))
			}
			next, err := c.state.StageSecrets(ctx, s.ID, a.Operation.ID, made)
			if err != nil {
				return jobs.Result{}, fmt.Errorf("store the new certificates of cluster %s: %w", s.Name, err)
			}
			ends, err := k.with(next).term(s)
			return jobs.Result{Output: certified{ends.to}}, err
		},
		Undo: func(ctx context.Context, a *jobs.Attempt) error {
			err := c.state.DropStagedSecrets(ctx, a.Cluster.ID, a.Operation.ID)
			if err != nil && !errors.Is(err, jobs.ErrNotFound) { // the cluster is gone, and all of it
				return fmt.Errorf("forget the new certificates of cluster %s: %w", a.Cluster.Name, err)
			}
			return nil
		},
	}
}

// opened is open for a step of a rotation: next has the new certificates, where
// they are adopted as much as where they are not yet.
func (c *Catalogue) opened(ctx context.Context, a *jobs.Attempt) (s site, k, next keys, err error) {
	if s, k, err = c.open(ctx, a); err != nil {
		return s, nil, nil, err
	}
	staged, err := c.state.StagedSecrets(ctx, s.ID, a.Operation.ID)
	if err != nil {
		return s, nil, nil, fmt.Errorf("read the new certificates of cluster %s: %w", s.Name, err)
	}
	return s, k, k.with(staged), nil
}

// verifyCertificates proves that every part works with the new certificates and
// takes the worker's new one.
func (c *Catalogue) verifyCertificates() jobs.StepType {
	return jobs.StepType{
		Name:    stepCertVerify,
		Title:   "verify the new certificates",
		Timeout: 2 * time.Minute,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, _, next, err := c.opened(ctx, a)
			if err != nil {
				return jobs.Result{}, err
			}
			ports, err := c.hostPorts(ctx, s)
			if err != nil {
				return jobs.Result{}, err
			}
			return jobs.Result{}, wait(ctx, a, "the cluster to work with its new certificates",
				func(ctx context.Context) (bool, jobs.Observation, error) {
					return c.lookCertified(ctx, s, next, ports)
				})
		},
	}
}

func (c *Catalogue) lookCertified(ctx context.Context, s site, next keys, ports map[string]int) (bool, jobs.Observation, error) {
	for _, p := range s.parts() {
		fresh, err := c.fresh(ctx, s, next, p)
		if err != nil || !fresh {
			return false, jobs.Observation{Message: p.name + " does not show its new certificate"}, nil
		}
	}
	if done, seen, err := c.lookEtcd(ctx, s, next); err != nil || !done {
		return false, seen, err
	}
	for _, node := range s.nodes() {
		if _, err := c.probe.status(ctx, s, next, node); err != nil {
			return false, jobs.Observation{Message: "patroni on " + node + " does not answer"}, nil
		}
	}
	for _, proxy := range s.proxies() {
		primary, _ := s.purposes(proxy)
		if who, err := c.probe.answerer(ctx, s, next, ports[primary]); err != nil || who.replica {
			return false, jobs.Observation{Message: fmt.Sprintf("port %d does not lead to the primary", ports[primary])}, nil
		}
	}
	return true, jobs.Observation{Message: "every part works with its new certificate"}, nil
}

// adoptCertificates makes the new set the cluster's own. What is made anew from
// here on gets it.
func (c *Catalogue) adoptCertificates() jobs.StepType {
	return jobs.StepType{
		Name:    stepCertAdopt,
		Title:   "adopt the new certificates",
		Timeout: time.Minute,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, err := siteOf(a.Cluster)
			if err != nil {
				return jobs.Result{}, err
			}
			if err := c.state.AdoptSecrets(ctx, s.ID, a.Operation.ID); err != nil {
				return jobs.Result{}, fmt.Errorf("adopt the new certificates of cluster %s: %w", s.Name, err)
			}
			k, err := c.keysOf(ctx, s)
			if err != nil {
				return jobs.Result{}, err
			}
			ends, err := k.term(s)
			return jobs.Result{Output: certified{ends.to}}, err
		},
	}
}
