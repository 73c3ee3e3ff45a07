package worker

import (
	"context"
	"time"
)

// sweep ends operations whose time is up, prunes what is old, and sees to it that
// the streams are there: whoever deleted one need not wait for the next message
// in it.
type sweep struct {
	w         *Worker
	log       *onceLog
	streams   *onceLog
	nextPrune time.Time
}

// What a sweep takes at a time.
const (
	overdueBatch = 100
	pruneBatch   = 500
	pruneBatches = 20
)

func (s *sweep) run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := s.pass(ctx)
		if err != nil && ctx.Err() == nil {
			s.log.failed(err)
		} else {
			s.log.works()
		}
		s.mendStreams(ctx)
		pause(ctx, s.w.timing.Sweep)
	}
	return nil
}

func (s *sweep) mendStreams(ctx context.Context) {
	if !s.w.nc.IsConnected() {
		return
	}
	if err := s.w.streams(ctx); err == nil {
		s.streams.works()
	} else if ctx.Err() == nil {
		s.streams.failed(err)
	}
}

func (s *sweep) pass(ctx context.Context) error {
	var late []string
	err := within(ctx, s.w.timing.Statement, func(ctx context.Context) (err error) {
		late, err = s.w.store.Overdue(ctx, overdueBatch)
		return err
	})
	s.w.health.database(err)
	if err != nil {
		return err
	}
	for _, id := range late {
		err := within(ctx, s.w.timing.Statement, func(ctx context.Context) error {
			return s.w.update(ctx, id, nil, s.w.rules.overdue)
		})
		if err != nil {
			return err
		}
	}
	return s.prune(ctx)
}

// prune removes what is older than the retention: a few batches a sweep, so that
// a long backlog keeps nothing else waiting, until there is no more, then an hour
// later again.
func (s *sweep) prune(ctx context.Context) error {
	if s.w.opt.Retention <= 0 || time.Now().Before(s.nextPrune) {
		return nil
	}
	for range pruneBatches {
		n := 0
		err := within(ctx, 10*s.w.timing.Statement, func(ctx context.Context) (err error) {
			n, err = s.w.store.Prune(ctx, s.w.opt.Retention, pruneBatch)
			return err
		})
		if err != nil {
			return err
		}
		if n == 0 {
			s.nextPrune = time.Now().Add(time.Hour)
			return nil
		}
	}
	return nil
}
