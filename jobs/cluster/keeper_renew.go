package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/pki"
)

// keysEvery is how often the keeper reads a cluster's secrets again, and looks
// whether its certificates are to be renewed.
const keysEvery = 10 * time.Minute

// renewer is the source of the requests that pgforeman makes itself.
const renewer = "pgforeman"

// mostUrgent bounds how often a renewal that came to nothing is asked for again.
const mostUrgent = 8

// urgency says how much of a certificate's life is left: 0 for a third or more, 1
// for less, and one more for every half of the rest.
func (t term) urgency(now time.Time) int {
	left, mark := t.to.Sub(now), t.to.Sub(t.from)/3
	urgency := 0
	for ; left < mark && urgency < mostUrgent; mark /= 2 {
		urgency++
	}
	return urgency
}

// renew asks for a rotation when the certificates have less than a third of
// their life left: by an ordinary request, so that people see it, cancel it, and
// find it among the dead letters when it fails. Its id is the same whoever asks,
// so it becomes one operation. One that failed, or was cancelled, is asked for
// again when half of the rest has passed. It waits while another operation of
// the cluster is under way.
func (c *Catalogue) renew(ctx context.Context, s site, k keys) error {
	ends, err := k.term(s)
	if err != nil {
		return err
	}
	urgency := ends.urgency(c.wall())
	if urgency == 0 {
		return nil
	}
	authority, err := pki.NotAfter(k[caCert])
	if err != nil {
		return err
	}
	if !ends.to.Before(authority) {
		c.log.Warn().Str("cluster", s.Name).Time("ends", authority).Msg("certificates not renewed: they end with their authority")
		return nil
	}
	known, err := c.state.Operations(ctx, s.Tenant, jobs.OperationFilter{Cluster: s.Name})
	if err != nil {
		return fmt.Errorf("list the operations of cluster %s: %w", s.Name, err)
	}
	if slices.ContainsFunc(known, func(o jobs.Operation) bool { return !o.State.Final() }) {
		return nil
	}
	a, err := c.renewal(s, ends, urgency)
	if err != nil {
		return err
	}
	admitted, err := c.state.Admit(ctx, a)
	if err != nil {
		return fmt.Errorf("ask for new certificates of cluster %s: %w", s.Name, err)
	}
	if !admitted.Duplicate {
		c.log.Info().Str("cluster", s.Name).Str("operation", admitted.Operation.ID).Time("ends", ends.to).Msg("certificates are renewed")
	}
	return nil
}

// renewal is the request, read as one that came from outside is.
func (c *Catalogue) renewal(s site, ends term, urgency int) (jobs.Admission, error) {
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "source": renewer, "type": jobs.RequestTypeName(jobs.ClusterRotate), "subject": s.Name,
		"id":   fmt.Sprintf("renew-%s-%d-%d", s.ID, ends.to.Unix(), urgency),
		"data": jobs.RotateSpec{Certificates: true},
	})
	if err != nil {
		return jobs.Admission{}, fmt.Errorf("write the request for new certificates: %w", err)
	}
	req, err := jobs.ParseRequest(jobs.RequestSubject(s.Tenant, jobs.ClusterRotate), nil, body)
	if err != nil {
		return jobs.Admission{}, fmt.Errorf("read the request for new certificates: %w", err)
	}
	kind := rotateKind()
	spec, err := kind.Decode(req)
	if err != nil {
		return jobs.Admission{}, fmt.Errorf("read the request for new certificates: %w", err)
	}
	weights := map[string]int{}
	for _, t := range c.Steps() {
		weights[t.Name] = t.Weight
	}
	return jobs.Admission{
		Request: req, Target: kind.Target, Spec: spec, Plan: kind.Plan,
		Weight: func(step string) int { return max(weights[step], 1) },
	}, nil
}
