package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// Claim leases up to limit steps that are ready, or whose lease has run out,
// and whose name is among steps, for the duration lease. Each gets its next
// attempt.
func (s *Store) Claim(ctx context.Context, worker string, limit int, steps []string, lease time.Duration) ([]jobs.Claimed, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	rows, err := s.q.StepClaim(ctx, dbsqlc.StepClaimParams{Owner: worker, Lease: lease, Names: steps, Max: int32(limit)})
	if err != nil {
		return nil, translate("claim steps", err)
	}
	claimed := make([]jobs.Claimed, len(rows))
	for i, r := range rows {
		if claimed[i], err = claimedOf(r); err != nil {
			return nil, err
		}
	}
	return claimed, nil
}

func claimedOf(r dbsqlc.StepClaimRow) (jobs.Claimed, error) {
	c := jobs.Claimed{
		Lease: jobs.Lease{
			OperationID: r.Operation.ID, StepID: r.Step.ID, Owner: r.Step.Owner, Attempt: int(r.Step.Attempt),
		},
		Cluster: clusterOf(r.Cluster),
	}
	step, err := stepOf(r.Step)
	if err != nil {
		return c, err
	}
	c.Step = *step
	if c.Operation, err = operationOf(r.Operation); err != nil {
		return c, err
	}
	if err := decode(r.Outputs, &c.Outputs); err != nil {
		return c, fmt.Errorf("read the outputs of operation %s: %w", r.Operation.ID, err)
	}
	return c, nil
}

// Renew extends the leases in one statement and returns those that the worker
// still holds, each with whether its operation wants it interrupted: it is
// being undone, and the attempt is not an undo.
func (s *Store) Renew(ctx context.Context, worker string, leases []jobs.Lease, lease time.Duration) ([]jobs.Held, error) {
	if len(leases) == 0 {
		return nil, nil
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	p := dbsqlc.StepRenewParams{Lease: lease, Owner: worker}
	for _, l := range leases {
		p.Ids, p.Attempts = append(p.Ids, l.StepID), append(p.Attempts, int32(l.Attempt))
	}
	rows, err := s.qLease.StepRenew(ctx, p)
	if err != nil {
		return nil, translate("renew leases", err)
	}
	held := make([]jobs.Held, 0, len(rows))
	for _, r := range rows {
		i := slices.IndexFunc(leases, func(l jobs.Lease) bool { return l.StepID == r.ID && l.Attempt == int(r.Attempt) })
		held = append(held, jobs.Held{Lease: leases[i], Interrupt: r.Interrupt})
	}
	return held, nil
}

// Release gives leases back at once: the steps that the attempts still hold are
// ready again.
func (s *Store) Release(ctx context.Context, leases []jobs.Lease) error {
	if len(leases) == 0 {
		return nil
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var p dbsqlc.StepReleaseParams
	for _, l := range leases {
		p.Ids, p.Attempts = append(p.Ids, l.StepID), append(p.Attempts, int32(l.Attempt))
		p.Owners = append(p.Owners, l.Owner)
	}
	return translate("release leases", s.qLease.StepRelease(ctx, p))
}

// NextWake is how long from now until the next step becomes ready or its lease
// runs out, or most when that is sooner: how long an idle pool may sleep. Steps that are due for more
// than a moment do not count, since whoever knows how to carry them out has had
// the chance to claim them.
func (s *Store) NextWake(ctx context.Context, most time.Duration) (time.Duration, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	seconds, err := s.q.StepNext(ctx)
	if err != nil {
		return 0, translate("look for the next step", err)
	}
	next := time.Duration(seconds * float64(time.Second))
	return min(most, max(next, leastWait)), nil
}

// leastWait keeps a step that is due this very moment from being asked for in a
// loop.
const leastWait = 10 * time.Millisecond
