package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// leases are the steps that this worker holds. One heartbeat renews them all.
//
// A lease counts from the moment before the statement that took or renewed it
// was sent, by the worker's monotonic clock, so this side always lets go before
// the database lets somebody else take over: Fence is shorter than Lease.
type leases struct {
	store  Store
	worker string
	timing Timing
	health *health

	mu   sync.Mutex
	held map[jobs.Lease]*hold
}

// hold is one lease and how to stop its attempt.
type hold struct {
	undo  bool
	stop  context.CancelCauseFunc
	fence *time.Timer
	lost  bool // no longer renewed
}

func newLeases(store Store, worker string, timing Timing, h *health) *leases {
	return &leases{store: store, worker: worker, timing: timing, health: h, held: map[jobs.Lease]*hold{}}
}

// take keeps a lease, claimed at the time at, renewed until drop. stop is
// called when the lease is lost (errLost) or the attempt is no longer wanted
// (errStopped).
func (l *leases) take(lease jobs.Lease, undo bool, at time.Time, stop context.CancelCauseFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[lease] = &hold{
		undo: undo, stop: stop,
		fence: time.AfterFunc(l.timing.Fence-time.Since(at), func() { l.lose(lease) }),
	}
}

func (l *leases) drop(lease jobs.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, ok := l.held[lease]; ok {
		h.fence.Stop()
		delete(l.held, lease)
	}
}

// lose ends the attempt of a lease that may belong to somebody else by now.
func (l *leases) lose(lease jobs.Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, ok := l.held[lease]; ok {
		h.lost = true
		h.fence.Stop()
		h.stop(errLost)
	}
}

// stopRuns ends the attempts of an operation which is undone or failing; those
// that undo go on.
func (l *leases) stopRuns(operation string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for lease, h := range l.held {
		if lease.OperationID == operation && !h.undo {
			h.stop(errStopped)
		}
	}
}

// run is the heartbeat, until ctx ends.
func (l *leases) run(ctx context.Context) {
	for ctx.Err() == nil {
		l.beat(ctx)
		pause(ctx, l.timing.Heartbeat)
	}
}

func (l *leases) beat(ctx context.Context) {
	mine := l.list()
	if len(mine) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, l.timing.Heartbeat)
	defer cancel()
	sent := time.Now()
	held, err := l.store.Renew(ctx, l.worker, mine, l.timing.Lease)
	l.health.database(err)
	if err != nil {
		return // the fences count on
	}
	still := make(map[jobs.Lease]bool, len(held))
	for _, h := range held {
		still[h.Lease] = true
		l.renewed(h, sent)
	}
	for _, lease := range mine {
		if !still[lease] {
			l.lose(lease)
		}
	}
}

// list gives the leases to renew.
func (l *leases) list() []jobs.Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	mine := make([]jobs.Lease, 0, len(l.held))
	for lease, h := range l.held {
		if !h.lost {
			mine = append(mine, lease)
		}
	}
	return mine
}

func (l *leases) renewed(r Held, sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h, ok := l.held[r.Lease]
	if !ok || h.lost {
		return
	}
	h.fence.Reset(l.timing.Fence - time.Since(sent))
	if r.Interrupt && !h.undo {
		h.stop(errStopped)
	}
}

// isLost tells whether err says that the attempt has nothing more to say.
func isLost(err error) bool { return errors.Is(err, jobs.ErrLeaseLost) || errors.Is(err, errLost) }
