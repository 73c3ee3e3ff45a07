package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// requests is how many messages a portal publishes in one seed.
const requests = 30

// run is one seed: requests and faults, then no more faults, then everything has
// to end; then the invariants are checked.
func (s *sim) run() {
	p := newPortal(s)
	s.disturb(p)
	s.calm()
	if !s.settles() {
		s.violate(invSettled, "%s after the last fault this is still open: %s", patience, s.open())
		return
	}
	s.check(invSettled, 1)
	s.log("settled, everything %.1f times as slow as usual", s.pace)
	s.mend(p)
	s.log("mended")
	s.close()
	s.verify()
	s.log("verified")
}

// disturb publishes requests while things go wrong.
func (s *sim) disturb(p *portal) {
	rng := rand.New(rand.NewPCG(s.seed, 3))
	theme := themes[s.seed%uint64(len(themes))]
	outages := map[int]func(*rand.Rand){}
	for range 1 + rng.IntN(3) {
		outages[rng.IntN(requests)] = s.outage(rng, theme)
	}
	for i := range requests {
		if strike, ok := outages[i]; ok {
			strike(rng)
		}
		if rng.IntN(requests) == 0 {
			s.drain(rng)
		}
		if rng.IntN(requests) == 0 {
			s.overdue()
		}
		if rng.IntN(requests/2) == 0 {
			s.crash(rng)
		}
		if rng.IntN(requests/4) == 0 {
			s.jump(rng)
		}
		p.next()
		s.pass(time.Duration(rng.IntN(60)) * time.Millisecond)
	}
	for end := time.Now().Add(s.slow(stubborn)); time.Now().Before(end) && !s.until(300*time.Millisecond, s.hadEnough); {
		switch rng.IntN(8) {
		case 0, 1, 2:
			s.crash(rng)
		case 3, 4, 5:
			p.next()
		case 6:
			s.jump(rng)
		case 7:
			s.drain(rng)
		}
	}
}

// hadEnough tells whether the death that this seed is about has come, late results
// too, and most operations have ended in spite of everything.
func (s *sim) hadEnough() bool {
	s.mu.Lock()
	struck := s.struckAt[string(faultKill)+" "+boundary(int(s.seed))]
	late := s.lateSoFar()
	s.mu.Unlock()
	if !struck || late < enoughLate {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var ended, all int
	err := s.watch.QueryRow(ctx, `SELECT count(*) FILTER (WHERE finished_at IS NOT NULL), count(*) FROM operations`).Scan(&ended, &all)
	return err == nil && ended*4 >= all*3
}

// calm ends all faults, and wakes who is suspended when its time has come.
func (s *sim) calm() {
	s.log("no more faults")
	s.plan.on.Store(false)
	awake := s.until(patience, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, w := range s.workers {
			if w.gate.asleep() {
				return false
			}
		}
		return !s.dbAway.Load() && !s.dockerAway.Load()
	})
	if !awake {
		s.violate(invSettled, "a worker does not wake")
	}
}

func (g *gate) asleep() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.dead && g.awaken != nil
}

// settles waits until everything has ended. A machine that is loaded gets more time
// as long as something goes on.
func (s *sim) settles() bool {
	for range 5 {
		before := s.changed()
		if s.until(patience, s.settled) {
			return true
		}
		if s.changed() == before {
			return false
		}
	}
	return false
}

// changed counts the lines of the log.
func (s *sim) changed() (n int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.watch.QueryRow(ctx, `SELECT count(*) FROM chaos_log`).Scan(&n); err != nil {
		s.t.Errorf("read the log: %v", err)
	}
	return n
}

// settled tells whether every message was taken in, every operation has ended
// for now, and every event is published.
func (s *sim) settled() bool { return s.open() == "" }

// open says what has not ended.
func (s *sim) open() string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	consumer, err := s.js.Consumer(ctx, jobs.StreamRequests, jobs.ConsumerIntake)
	if err != nil {
		return "the consumer: " + err.Error()
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return "the consumer: " + err.Error()
	}
	var operations, outbox, degraded int
	var ready []string
	err = s.watch.QueryRow(ctx, `SELECT (SELECT count(*) FROM operations WHERE state IN ('queued', 'running', 'undoing')),
		(SELECT count(*) FROM outbox), (SELECT count(*) FROM clusters WHERE state = 'degraded'),
		(SELECT coalesce(array_agg(id::text), '{}') FROM clusters WHERE state = 'ready')`).Scan(&operations, &outbox, &degraded, &ready)
	down := s.host.down(ready)
	switch {
	case err != nil:
		return "the database: " + err.Error()
	case info.NumPending+uint64(info.NumAckPending)+uint64(operations+outbox+degraded+down) == 0:
		return ""
	}
	return fmt.Sprintf("%d messages to take in, %d not acked, %d operations, %d events, %d clusters degraded, %d containers down",
		info.NumPending, info.NumAckPending, operations, outbox, degraded, down)
}

// mend replays or discards what failed, as an operator does when the cause is
// gone, and deletes the clusters of which a failed deletion was discarded, until
// nothing is left to mend.
func (s *sim) mend(p *portal) {
	const rounds = 8
	for round := range rounds {
		letters, broken, err := s.toMend()
		if err != nil {
			s.t.Errorf("read the dead letters: %v", err)
			return
		}
		if len(letters)+len(broken) == 0 {
			return
		}
		for _, d := range letters {
			kind := jobs.OperationReplay
			if round > 1 || p.rng.IntN(3) == 0 {
				kind = jobs.OperationDiscard
			}
			m := p.request(kind, d.Tenant, "", jobs.ControlSpec{DeadLetterID: d.ID})
			if p.rng.IntN(3) == 0 {
				p.publish(m)
			}
		}
		for _, c := range broken {
			p.request(jobs.ClusterDelete, c.Tenant, c.Name, map[string]any{})
		}
		if !s.settles() {
			s.violate(invSettled, "%s after dead letters were replayed or discarded this is still open: %s", patience, s.open())
			return
		}
	}
	letters, broken, err := s.toMend()
	s.violate(invSettled, "after %d rounds there are still to mend: dead letters %v, clusters %v (%v)", rounds, letters, broken, err)
}

// toMend is what waits for a person.
func (s *sim) toMend() (letters []openLetterRow, broken []brokenRow, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, err := s.watch.Query(ctx, `SELECT id::text, tenant, letter->>'reason' FROM dead_letters WHERE state = 'open' ORDER BY id`)
	if err != nil {
		return nil, nil, err
	}
	letters, err = pgx.CollectRows(rows, pgx.RowToStructByPos[openLetterRow])
	if err != nil {
		return nil, nil, err
	}
	rows, err = s.watch.Query(ctx, `SELECT tenant, name FROM clusters c WHERE state = 'failed'
		AND NOT EXISTS (SELECT FROM operations o WHERE o.cluster_id = c.id AND o.state = 'failed') ORDER BY id`)
	if err != nil {
		return nil, nil, err
	}
	broken, err = pgx.CollectRows(rows, pgx.RowToStructByPos[brokenRow])
	return letters, broken, err
}

type (
	openLetterRow struct{ ID, Tenant, Reason string }
	brokenRow     struct{ Tenant, Name string }
)
