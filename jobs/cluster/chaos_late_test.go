package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// heldBack is a call that was sent while its worker held the lease, and is on its
// way until the step has been claimed again. The worker's heartbeats are lost
// meanwhile, so its leases run out.
type heldBack struct {
	lateness
	w       *simWorker
	lease   jobs.Lease
	step    string
	at      time.Time
	claimed chan struct{} // closed when the step has a newer attempt
	arrived chan struct{} // closed when the call has had its effect
}

// lateness is how a call is late.
type lateness struct {
	inside bool // its transaction has begun, and what it writes is late
	alone  bool // the other workers cannot claim either: the same one does
}

const (
	// enoughLate is how many results of a seed are overtaken, maxLate how many are
	// held back for that.
	enoughLate = 5
	maxLate    = 20
)

// leased remembers which step a lease is of, and lets go what an older attempt of
// it has on its way: now it can do harm.
func (s *sim) leased(claimed []jobs.Claimed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range claimed {
		s.leases[c.Lease] = c.Operation.ID + "/" + c.Step.String()
		for _, h := range s.held {
			if h.lease.StepID == c.Lease.StepID && h.lease.Attempt < c.Lease.Attempt {
				s.overtaken(h, c.Lease)
			}
		}
	}
}

// overtaken lets a call go that was held back. The caller holds s.mu.
func (s *sim) overtaken(h *heldBack, by jobs.Lease) {
	select {
	case <-h.claimed:
		return
	default:
	}
	close(h.claimed)
	f := faultBehind
	if by.Owner == h.lease.Owner {
		f = faultSelf
	}
	s.stat(f).times++
	s.pending[h.step] = append(s.pending[h.step], struckAt{f, h.at})
	s.story = append(s.story, fmt.Sprintf("%6d ms  %s: what attempt %d of %s had sent arrives after attempt %d of %s has begun",
		time.Since(s.began).Milliseconds(), h.lease.Owner, h.lease.Attempt, h.step, by.Attempt, by.Owner))
}

// lateSoFar is how many calls came after a newer attempt had begun. The caller
// holds s.mu.
func (s *sim) lateSoFar() (n int) {
	for _, f := range []fault{faultBehind, faultSelf} {
		if st := s.seen[f]; st != nil {
			n += st.times
		}
	}
	return n
}

// holdBack says whether this call of an attempt, which is its last, is one that
// the seed holds back.
func (s *sim) holdBack(w *simWorker, lease jobs.Lease) *heldBack {
	s.mu.Lock()
	defer s.mu.Unlock()
	step, known := s.leases[lease]
	if !known || !s.plan.on.Load() {
		return nil
	}
	_, ran := s.ranAt[runKey{step, lease.Attempt, false}]
	_, undone := s.ranAt[runKey{step, lease.Attempt, true}]
	if !ran && !undone {
		return nil // it tells how far it is, or why it failed
	}
	// Every other one, until the seed has seen enough of them arrive too late.
	s.results++
	if s.results%2 == 0 || s.lateSoFar() >= enoughLate || len(s.plan.late) == 0 {
		return nil
	}
	h := s.hold(w, lease, step, s.plan.late[0])
	if h != nil {
		s.plan.late = s.plan.late[1:]
	}
	return h
}

// holdRelease is holdBack for a step that a worker gives back as it stops: every
// other one is late.
func (s *sim) holdRelease(w *simWorker, lease jobs.Lease) *heldBack {
	s.mu.Lock()
	defer s.mu.Unlock()
	step, known := s.leases[lease]
	if s.releases++; !known || !s.plan.on.Load() || s.releases%2 == 0 {
		return nil
	}
	return s.hold(w, lease, step, lateness{})
}

// hold holds one call of a worker at a time. The caller holds s.mu.
func (s *sim) hold(w *simWorker, lease jobs.Lease, step string, l lateness) *heldBack {
	if slices.ContainsFunc(s.held, func(h *heldBack) bool { return h.w == w }) {
		return nil
	}
	h := &heldBack{lateness: l, w: w, lease: lease, step: step, at: time.Now(), claimed: make(chan struct{}), arrived: make(chan struct{})}
	s.held = append(s.held, h)
	return h
}

// await waits until the step was claimed again, or it takes too long. A worker
// that dies meanwhile has no effect.
func (h *heldBack) await(w *simWorker) error {
	timer := time.NewTimer(w.sim.slow(latest))
	defer timer.Stop()
	select {
	case <-h.claimed:
	case <-timer.C:
	case <-w.gate.died:
	}
	_, err := w.gate.pass()
	return err
}

// arrive notes that the call has had its effect.
func (s *sim) arrive(h *heldBack) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = slices.DeleteFunc(s.held, func(other *heldBack) bool { return other == h })
	close(h.arrived)
}

// arriving are the calls of a step's older attempts that are about to have their
// effect.
func (s *sim) arriving(step string) (list []*heldBack) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.held {
		if h.step == step {
			list = append(list, h)
		}
	}
	return list
}

// settleLate lets what older attempts of the step have sent come first, so that
// it meets an attempt which has not ended.
func (w *simWorker) settleLate(step string) {
	for _, h := range w.sim.arriving(step) {
		timer := time.NewTimer(w.sim.slow(longest))
		select {
		case <-h.arrived:
		case <-timer.C:
		case <-w.gate.died:
		}
		timer.Stop()
	}
}

// update carries out a call of an attempt. One that is held back comes late as a
// whole; or the transaction has begun, the rule has seen that the lease is held,
// and the statements that write come late.
func (g gatedStore) update(ctx context.Context, operation string, lease *jobs.Lease, rule jobs.Rule) error {
	h := g.w.sim.holdBack(g.w, *lease)
	if h == nil {
		return g.db.Update(ctx, operation, lease, rule)
	}
	defer g.w.sim.arrive(h)
	ctx = context.WithoutCancel(ctx) // it was sent; nobody can call it back
	if h.inside {
		first := true
		return g.db.Update(ctx, operation, lease, func(s *jobs.Snapshot) error {
			if err := rule(s); err != nil || !first {
				return err
			}
			first = false
			return h.await(g.w)
		})
	}
	if err := h.await(g.w); err != nil {
		return err
	}
	return g.db.Update(ctx, operation, lease, rule)
}

// release gives leases back; the worker gives one at a time.
func (g gatedStore) release(ctx context.Context, leases []jobs.Lease) error {
	h := g.w.sim.holdRelease(g.w, leases[0])
	if h == nil {
		return g.db.Release(ctx, leases)
	}
	defer g.w.sim.arrive(h)
	if err := h.await(g.w); err != nil {
		return err
	}
	return g.db.Release(context.WithoutCancel(ctx), leases)
}

// ending is a rule that notes when the attempt of the lease ends its step: no
// other may.
func (s *sim) ending(lease jobs.Lease, rule jobs.Rule) jobs.Rule {
	return func(snap *jobs.Snapshot) error {
		if err := rule(snap); err != nil {
			return err
		}
		if st := snap.Step(lease.StepID); st != nil && st.State != jobs.StepRunning {
			s.asked(lease)
		}
		return nil
	}
}

var errLinkDown = errors.New("nothing comes through")

// lost tells that a call of the worker gets lost because another is on its way:
// its own heartbeats, and the claims of the others where only the worker itself
// is to claim again.
func (w *simWorker) lost(point string) error {
	w.sim.mu.Lock()
	defer w.sim.mu.Unlock()
	for _, h := range w.sim.held {
		mine := h.w == w
		stays := h.w.told.Err() == nil && !h.w.gate.isDead()
		lost := point == "store.Renew" && mine || point == "store.Claim" && !mine && h.alone && stays
		select {
		case <-h.claimed:
		default:
			if lost {
				return w.sim.refuse(point, errLinkDown)
			}
		}
	}
	return nil
}

// asked notes that an attempt means to end.
func (s *sim) asked(lease jobs.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := attemptOf{lease.StepID, lease.Attempt}
	if _, before := s.askedAt[k]; !before {
		s.askedAt[k] = time.Now()
	}
}

// attemptOf is an attempt as the log knows it.
type attemptOf struct {
	step    int64
	attempt int
}
