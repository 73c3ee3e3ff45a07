package worker

import (
	"sync"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// teller holds what a step reported until it is told: new things only, and not
// more often than the throttle.
type teller struct {
	throttle time.Duration
	news     chan struct{}

	mu       sync.Mutex
	announce bool              // step.started is still to be told
	last     *jobs.Observation // reported last
	told     *jobs.Observation
	triedAt  time.Time
	moved    bool             // since moves was asked: what moves the step's deadline was reported
	furthest map[string]int64 // by unit: the most that was done
	states   map[string]bool  // sentences without a count
}

// maxStates bounds how many different sentences count as progress: a step that says
// ever new ones, with a number or a time in them, does not run for ever.
const maxStates = 100

// newTeller gives a teller that tells for the first time after timing.Announce:
// a step that is quicker is told with its result, in one transaction.
func newTeller(announce bool, timing Timing) *teller {
	return &teller{
		throttle: timing.Throttle, news: make(chan struct{}, 1), announce: announce,
		furthest: map[string]int64{}, states: map[string]bool{},
		triedAt: time.Now().Add(timing.Announce - timing.Throttle),
	}
}

// report is what Attempt.Progress calls, from any goroutine of the step.
func (t *teller) report(o jobs.Observation) {
	o.Message = clean(o.Message)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last != nil && *t.last == o {
		return
	}
	t.last = &o
	t.moved = t.isProgress(o) || t.moved
	select {
	case t.news <- struct{}{}:
	default:
	}
}

// isProgress tells whether the attempt has come further than ever: more done than
// before, or a state that it has not been in. A copy that fails at the same place
// and begins again, and a part that goes up and down, report something else each
// time and come no further.
func (t *teller) isProgress(o jobs.Observation) bool {
	if o.Total > 0 || o.Done > 0 {
		most, known := t.furthest[o.Unit]
		t.furthest[o.Unit] = max(most, o.Done)
		return !known || o.Done > most
	}
	if t.states[o.Message] || len(t.states) >= maxStates {
		return false
	}
	t.states[o.Message] = true
	return true
}

// moves tells, once, whether the deadline is to be moved.
func (t *teller) moves() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	moved := t.moved
	t.moved = false
	return moved
}

// due is how long to wait before news may be told.
func (t *teller) due() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, t.throttle-time.Since(t.triedAt))
}

// next is what is to be told now.
func (t *teller) next() (announce bool, o *jobs.Observation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.triedAt = time.Now()
	if t.last != t.told {
		o = t.last
	}
	return t.announce, o
}

// sent notes that next's answer has been told.
func (t *teller) sent(o *jobs.Observation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.announce = false
	if o != nil {
		t.told = o
	}
}

// seen is what was reported last, for people.
func (t *teller) seen() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last == nil {
		return ""
	}
	return t.last.Message
}
