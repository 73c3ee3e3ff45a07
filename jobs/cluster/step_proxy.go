package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// proxySettled is for how long both ports must lead right before they are
// trusted: more than HAProxy's interval between checks of a replica (1 s in
// docker/haproxy), because a server counts as up until it was checked first.
const proxySettled = 1200 * time.Millisecond

// proxyRegistered waits until a proxy's ports lead where they should: the first
// one to the primary, the second one to every replica and nowhere else.
func (c *Catalogue) proxyRegistered() jobs.StepType {
	return jobs.StepType{
		Name:    stepRegistered,
		Title:   "wait until all nodes are registered with",
		Timeout: 2 * time.Minute,
		Weight:  2,
		Run: func(ctx context.Context, a *jobs.Attempt) (jobs.Result, error) {
			s, k, err := c.open(ctx, a)
			if err != nil {
				return jobs.Result{}, err
			}
			ports, err := c.hostPorts(ctx, s)
			if err != nil {
				return jobs.Result{}, err
			}
			primary, replica := s.purposes(a.Step.Node)
			w := proxyWatch{site: s, keys: k, probe: c.probe, now: c.now, primaryPort: ports[primary], replicaPort: ports[replica]}
			return jobs.Result{}, wait(ctx, a, "proxy "+a.Step.Node, w.look)
		},
	}
}

// proxyWatch remembers since when a proxy has led right.
type proxyWatch struct {
	site                     site
	keys                     keys
	probe                    probe
	now                      func() time.Time
	primaryPort, replicaPort int

	primarySince, replicasSince time.Time
	replicas                    map[string]bool // those seen since then
}

func (w *proxyWatch) look(ctx context.Context) (bool, jobs.Observation, error) {
	primary, err := w.probe.answerer(ctx, w.site, w.keys, w.primaryPort)
	if err != nil || primary.replica {
		w.primarySince = time.Time{}
		return false, jobs.Observation{Message: fmt.Sprintf("port %d does not lead to the primary yet", w.primaryPort)}, nil
	}
	if w.primarySince.IsZero() {
		w.primarySince = w.now()
	}
	want := w.site.spec.Nodes - 1
	if want == 0 { // one node has no replicas: the second port leads nowhere
		return w.now().Sub(w.primarySince) >= proxySettled, jobs.Observation{Message: "the primary is registered"}, nil
	}
	replica, err := w.probe.answerer(ctx, w.site, w.keys, w.replicaPort)
	if err != nil || !replica.replica {
		w.replicasSince, w.replicas = time.Time{}, nil
		return false, jobs.Observation{Message: fmt.Sprintf("port %d does not lead to the replicas yet", w.replicaPort), Total: int64(want), Unit: "replicas"}, nil
	}
	if w.replicasSince.IsZero() {
		w.replicasSince, w.replicas = w.now(), map[string]bool{}
	}
	w.replicas[replica.slot] = true
	seen := jobs.Observation{
		Message: fmt.Sprintf("the primary and %d of %d replicas are registered", len(w.replicas), want),
		Done:    int64(len(w.replicas)), Total: int64(want), Unit: "replicas",
	}
	settled := w.now().Sub(w.primarySince) >= proxySettled && w.now().Sub(w.replicasSince) >= proxySettled
	return settled && len(w.replicas) >= want, seen, nil
}
