package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/storetest"
	"github.com/vcs-iaas/pgforeman/worker"
	"github.com/vcs-iaas/pgforeman/worker/natstest"
)

// sim is one seed's world: a host, a state database, a NATS server, workers, a
// portal, and what was seen of them.
type sim struct {
	t       *testing.T
	seed    uint64
	began   time.Time
	pace    float64 // how much slower than usual the machine is
	plan    *plan
	host    *simHost
	parts   *simParts
	db      *storetest.DB
	watch   *pgxpool.Pool // the observer's own way to the database
	server  *natstest.Server
	natsURL string
	js      jetstream.JetStream

	dbAway, dockerAway atomic.Bool

	mu         sync.Mutex
	closed     bool
	made       int
	workers    []*simWorker
	secrets    map[string]string // value → name
	late       map[string]bool   // what a worker made last that had slept
	ranAt      map[runKey]time.Time
	leases     map[jobs.Lease]string   // → operation/step
	held       []*heldBack             // calls that are late
	results    int                     // of attempts that ended well
	releases   int                     // of steps by workers that stop
	askedAt    map[attemptOf]time.Time // attempts that meant to end
	pending    map[string][]struckAt
	seen       map[fault]*faultStat
	struckAt   map[string]bool // boundaries at which a worker died or slept
	checked    map[string]int
	violations []violation
	story      []string
}

// runKey is an attempt that ended well.
type runKey struct {
	step    string // operation/step
	attempt int
	undo    bool
}

type struckAt struct {
	fault fault
	at    time.Time
}

// faultStat is what became of one kind of fault.
type faultStat struct {
	times    int
	recovery []time.Duration
}

type violation struct{ invariant, text string }

func newSim(t *testing.T, seed uint64) *sim {
	s := &sim{
		t: t, seed: seed, began: time.Now(), host: newSimHost(),
		secrets: map[string]string{}, late: map[string]bool{}, ranAt: map[runKey]time.Time{}, pending: map[string][]struckAt{},
		leases: map[jobs.Lease]string{}, askedAt: map[attemptOf]time.Time{},
		seen: map[fault]*faultStat{}, checked: map[string]int{}, struckAt: map[string]bool{},
	}
	s.host.started = func(container string) { s.overcome("container " + container) }
	s.parts = newSimParts(s.host)
	s.host.taken[25001], s.host.taken[25004] = true, true
	s.db = storetest.New(t)
	s.db.Exec(t, observers)
	cfg, err := pgxpool.ParseConfig(s.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 2
	cfg.ConnConfig.RuntimeParams["application_name"] = observer
	if s.watch, err = pgxpool.NewWithConfig(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.watch.Close)
	s.pace = s.measure()
	s.plan = newPlan(seed, s.slow(simLease))
	s.server = natstest.Start(t)
	s.natsURL = s.server.URL()
	if s.js, err = jetstream.New(s.server.Connect()); err != nil {
		t.Fatal(err)
	}
	if err := worker.EnsureStreams(t.Context(), s.js, 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	for range 3 {
		if err := s.spawn(); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// close ends all workers. None may be left suspended.
func (s *sim) close() {
	s.mu.Lock()
	s.closed = true
	workers := slices.Clone(s.workers)
	s.mu.Unlock()
	for _, w := range workers {
		w.gate.thaw()
		w.stop()
	}
	for _, w := range workers {
		select {
		case <-w.done:
		case <-time.After(patience):
			s.t.Errorf("worker %s does not stop", w.name)
		}
	}
}

// patience bounds every wait: the machine may be loaded.
const patience = 2 * time.Minute

// until looks again and again; it tells whether ok was true in time.
func (s *sim) until(limit time.Duration, ok func() bool) bool {
	end := time.After(limit)
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			return false
		case <-tick.C:
		}
	}
	return true
}

// pass lets time go by.
func (s *sim) pass(d time.Duration) { <-time.After(d) }

func (s *sim) log(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.story = append(s.story, fmt.Sprintf("%6d ms  ", time.Since(s.began).Milliseconds())+fmt.Sprintf(format, args...))
}

// violate notes that an invariant does not hold.
func (s *sim) violate(invariant, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violations = append(s.violations, violation{invariant, fmt.Sprintf(format, args...)})
}

// check counts n things of which an invariant was checked.
func (s *sim) check(invariant string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checked[invariant] += n
}

// struck notes a fault; it is overcome when key works again ("" never waits).
func (s *sim) struck(f fault, key string) { s.waits(f, key, true) }

func (s *sim) waits(f fault, key string, count bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stat(f)
	if count {
		st.times++
	}
	if key != "" {
		s.pending[key] = append(s.pending[key], struckAt{f, time.Now()})
	}
}

// stat is what became of a fault so far. The caller holds s.mu.
func (s *sim) stat(f fault) *faultStat {
	if s.seen[f] == nil {
		s.seen[f] = &faultStat{}
	}
	return s.seen[f]
}

// overcome notes that what a fault had struck works again.
func (s *sim) overcome(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pending[key] {
		s.seen[p.fault].recovery = append(s.seen[p.fault].recovery, time.Since(p.at))
	}
	delete(s.pending, key)
}

// worked notes that a call had an answer.
func (s *sim) worked(point string) {
	s.overcome(point)
	switch {
	case point == "store.Update":
		s.overcome("database")
	case point == "store.Published":
		s.overcome("nats")
	case point[:6] == "engine":
		s.overcome("docker")
	}
}

// isAway tells whether what is behind the point is away.
func (s *sim) isAway(point string) fault {
	switch point[:5] {
	case "store", "state":
		if s.dbAway.Load() {
			return faultDB
		}
	case "engin", "probe":
		if s.dockerAway.Load() {
			return faultDocker
		}
	}
	return noFault
}

// fell notes at which boundary a worker died or slept.
func (s *sim) fell(f fault, where string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.struckAt[string(f)+" "+where] = true
}

func (s *sim) ran(k runKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ranAt[k] = time.Now()
}

func (s *sim) secretsMade(secrets map[string][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, value := range secrets {
		s.secrets[string(value)] = name
	}
}
