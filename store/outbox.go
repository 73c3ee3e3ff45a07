package store

import (
	"context"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// Outbox gives the oldest unpublished messages, in order. One relay at a time
// reads it; a number that is missing may still come, so nothing is read by
// high-water mark.
func (s *Store) Outbox(ctx context.Context, limit int) ([]jobs.Outgoing, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	rows, err := s.q.OutboxList(ctx, int32(limit))
	if err != nil {
		return nil, translate("read the outbox", err)
	}
	list := make([]jobs.Outgoing, len(rows))
	for i, r := range rows {
		list[i] = jobs.Outgoing{ID: r.ID, MsgID: r.MsgID, Subject: r.Subject, Body: r.Body}
	}
	return list, nil
}

// Published removes messages that JetStream has acknowledged.
func (s *Store) Published(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return translate("clear the outbox", s.q.OutboxDelete(ctx, ids))
}

// TakeDuty takes or renews the named duty for worker; false when another worker
// holds it.
func (s *Store) TakeDuty(ctx context.Context, name, worker string, lease time.Duration) (bool, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	n, err := s.qLease.DutyTake(ctx, dbsqlc.DutyTakeParams{Name: name, Worker: worker, Lease: lease})
	return n == 1, translate("take duty "+name, err)
}

// GiveUpDuty hands the duty over at once; nothing happens when another worker
// holds it.
func (s *Store) GiveUpDuty(ctx context.Context, name, worker string) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return translate("give up duty "+name, s.qLease.DutyGiveUp(ctx, dbsqlc.DutyGiveUpParams{Name: name, Worker: worker}))
}

// Prune removes finished operations, settled dead letters, deleted clusters and
// rejections that ended before the age, at most batch of each; it returns how
// many. A failed operation stays while its dead letter is open; the audit and the
// ids of requests stay for good.
func (s *Store) Prune(ctx context.Context, age time.Duration, batch int) (int, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	total, most := 0, int32(batch)
	for _, prune := range []func() (int64, error){
		func() (int64, error) {
			return s.q.DeadLetterPrune(ctx, dbsqlc.DeadLetterPruneParams{Age: age, Max: most})
		},
		func() (int64, error) {
			return s.q.OperationPrune(ctx, dbsqlc.OperationPruneParams{Age: age, Max: most})
		},
		func() (int64, error) {
			return s.q.ClusterPrune(ctx, dbsqlc.ClusterPruneParams{Age: age, Max: most})
		},
		func() (int64, error) {
			return s.q.RejectionPrune(ctx, dbsqlc.RejectionPruneParams{Age: age, Max: most})
		},
	} {
		n, err := prune()
		total += int(n)
		if err != nil {
			return total, translate("prune", err)
		}
	}
	return total, nil
}
