package store

import (
	"context"
	"errors"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// How calls of Update are gathered: a committer takes the calls that wait at
// this moment, up to maxCalls, and carries them out in one transaction. While it
// does so the next calls gather. Nobody waits for company.
const (
	committers = 3
	maxCalls   = 128
)

// call is one Update under way.
type call struct {
	operation string
	lease     *jobs.Lease
	rule      jobs.Rule
	done      chan error
}

// Update applies rule to an operation in one transaction that holds the
// cluster's and the operation's rows. With a lease, the attempt must hold its
// step, else jobs.ErrLeaseLost. jobs.ErrNotFound: no such operation. What the
// rule returns is returned as it is, and nothing is changed.
func (s *Store) Update(ctx context.Context, operationID string, lease *jobs.Lease, rule jobs.Rule) error {
	if !isID(operationID) {
		return jobs.ErrNotFound
	}
	c := &call{operation: operationID, lease: lease, rule: rule, done: make(chan error, 1)}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	select {
	case s.calls <- c:
	case <-ctx.Done():
		return translate("update operation "+operationID, ctx.Err())
	case <-s.closed:
		return errClosed
	}
	// Taken: the rule may be running, so wait for its end. The transaction has
	// a time limit of its own.
	return <-c.done
}

// commitCalls is one committer.
func (s *Store) commitCalls(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-s.calls:
			s.commit(s.gather(c))
		}
	}
}

// gather takes the calls that wait now.
func (s *Store) gather(first *call) []*call {
	calls := []*call{first}
	for len(calls) < maxCalls {
		select {
		case c := <-s.calls:
			calls = append(calls, c)
		default:
			return calls
		}
	}
	return calls
}

// commit carries calls out in one transaction and tells each its outcome. A
// transaction that fails for all, for a reason that can lie in one of them, is
// done again call by call.
func (s *Store) commit(calls []*call) {
	outcomes, err := s.try(calls)
	if err != nil && len(calls) > 1 && !errors.Is(err, jobs.ErrUnavailable) {
		for _, c := range calls {
			s.commit([]*call{c})
		}
		return
	}
	for i, c := range calls {
		if err != nil {
			c.done <- err
		} else {
			c.done <- outcomes[i]
		}
	}
}

// try is one transaction for all calls; the error is of the transaction, the
// outcomes are the calls' own.
func (s *Store) try(calls []*call) (outcomes []error, err error) {
	ids := make([]string, len(calls))
	for i, c := range calls {
		ids[i] = c.operation
	}
	err = s.transact(context.Background(), "update operations", func(ctx context.Context, q *dbsqlc.Queries) error {
		outcomes = make([]error, len(calls))
		units, err := load(ctx, q, ids)
		if err != nil {
			return err
		}
		var changed []*unit
		for i, c := range calls {
			u := units[c.operation]
			if u == nil {
				outcomes[i] = jobs.ErrNotFound
				continue
			}
			if outcomes[i] = u.apply(s, c.lease, c.rule); outcomes[i] == nil && !u.changed {
				u.changed = true
				changed = append(changed, u)
			}
		}
		return s.write(ctx, q, changed)
	})
	return outcomes, err
}
