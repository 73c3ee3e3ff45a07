package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Probe watches something that steps need and of which the engine knows no more
// than a name and how to ask whether it answers: the Docker Engine. Whoever
// calls it for the steps tells the probe how the calls ended, so that a trouble
// is noticed at once and nothing is asked while there is work; when there is
// none, the probe asks by itself.
//
// Only an answer that the probe itself did not get makes a dependency count as
// away: one call that failed or took too long is a reason to ask, no more.
type Probe struct {
	name string
	ask  func(ctx context.Context) error
	news signal

	mu       sync.Mutex
	answered time.Time // when it last answered
	suspect  bool      // a call since then was not answered
	away     bool
}

// NewProbe makes a probe; ask must end when its context does.
func NewProbe(name string, ask func(ctx context.Context) error) *Probe {
	return &Probe{name: name, ask: ask, news: newSignal()}
}

// Answered notes that a call was answered just now.
func (p *Probe) Answered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered, p.suspect = time.Now(), false
	if p.away {
		p.news.raise()
	}
}

// Unanswered notes that a call got no answer. The probe asks at once, unless
// the dependency is known to be away.
func (p *Probe) Unanswered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.away {
		p.suspect = true
		p.news.raise()
	}
}

// isAway tells whether the dependency did not answer when it was last asked.
func (p *Probe) isAway() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.away
}

// run asks until ctx ends.
func (p *Probe) run(ctx context.Context, h *health, timing Timing) {
	for ctx.Err() == nil {
		err := p.look(ctx, timing)
		if ctx.Err() != nil {
			return
		}
		h.saw(p.name, err)
		if err != nil {
			p.news.wait(ctx, timing.ProbeAway)
		} else {
			p.news.wait(ctx, timing.Probe)
		}
	}
}

// look finds out whether the dependency answers: from the calls of the steps
// where they say it, else by asking.
func (p *Probe) look(ctx context.Context, timing Timing) error {
	p.mu.Lock()
	fresh := !p.suspect && !p.answered.IsZero() && time.Since(p.answered) < timing.Probe
	p.mu.Unlock()
	if fresh {
		return p.saw(time.Time{}, nil)
	}
	asked := time.Now()
	err := within(ctx, timing.ProbeLimit, p.ask)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s", timing.ProbeLimit)
	}
	return p.saw(asked, err)
}

// saw keeps what became of asking at a time. An answer to somebody else since
// then counts for more than an error.
func (p *Probe) saw(asked time.Time, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil && p.answered.After(asked):
		err = nil
	case err != nil:
		p.answered = time.Time{} // what was before counts no more
	case !asked.IsZero():
		p.answered = time.Now()
	}
	p.suspect, p.away = false, err != nil
	return err
}
