package worker

import (
	"context"
	"errors"
	"sort"
	"sync"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// pool starts queued operations, claims ready steps and runs their attempts.
type pool struct {
	w     *Worker
	names []string      // of the steps it can carry out
	slots chan struct{} // one token for each attempt that runs
	wg    sync.WaitGroup
}

// startBatch is how many operations one pass starts at most.
const startBatch = 32

func newPool(w *Worker) *pool {
	p := &pool{w: w, slots: make(chan struct{}, w.opt.Concurrency)}
	for name := range w.rules.steps {
		p.names = append(p.names, name)
	}
	sort.Strings(p.names)
	return p
}

// run claims until ctx ends. Attempts run under work, which outlives it.
func (p *pool) run(ctx, work context.Context) {
	busy := true // something has happened: the next time may be near
	for ctx.Err() == nil {
		due, err := p.pass(ctx, work, busy)
		p.w.health.database(err)
		if err != nil {
			due = p.w.timing.Poll
		}
		woken := p.w.wakes.pool.wait(ctx, due)
		busy = woken || err != nil || due < p.w.timing.Poll
	}
}

// pass looks once; it returns when to look again if nothing wakes the pool. An
// idle pass is two statements: whoever makes a step wait for its time has a
// busy pass afterwards, and looks when it is due.
func (p *pool) pass(ctx, work context.Context, busy bool) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, p.w.timing.Statement)
	defer cancel()
	started, errStart := p.w.store.StartQueued(ctx, startBatch, p.w.opt.PerTenant, p.w.rules.start)
	if started > 0 {
		p.w.wakes.committed(true)
	}
	// What cannot be started, whyever, keeps nobody from the steps that are ready.
	claimed, err := p.claim(ctx, work)
	if err := errors.Join(errStart, err); err != nil {
		return 0, err
	}
	if p.free() == 0 || !busy && started+claimed == 0 {
		return p.w.timing.Poll, nil // the first attempt that ends wakes the pool
	}
	due, err := p.w.store.NextWake(ctx, p.w.timing.Poll)
	return max(due, p.w.timing.Poll/200), err
}

// claim takes as many steps as there are free slots, and no more: what is
// claimed runs at once.
func (p *pool) claim(ctx, work context.Context) (int, error) {
	free := p.free()
	if free == 0 {
		return 0, nil
	}
	// Whatever is claimed must be known here, even when the worker is told to
	// stop meanwhile: nobody else would run it before its lease runs out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.w.timing.Statement)
	defer cancel()
	at := time.Now()
	claimed, err := p.w.store.Claim(ctx, p.w.opt.Name, free, p.names, p.w.timing.Lease)
	if err != nil {
		return 0, err
	}
	for _, c := range claimed {
		p.launch(work, c, at)
	}
	return len(claimed), nil
}

func (p *pool) free() int { return cap(p.slots) - len(p.slots) }

func (p *pool) launch(work context.Context, c jobs.Claimed, at time.Time) {
	p.slots <- struct{}{}
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		newAttempt(p.w, c).run(work, at)
		<-p.slots
		p.w.wakes.pool.raise()
	}()
}

// wait waits until no attempt runs, or ctx ends; it tells which.
func (p *pool) wait(ctx context.Context) (idle bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.wg.Wait()
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}
