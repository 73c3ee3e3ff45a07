package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store"
	"github.com/vcs-iaas/pgforeman/worker"
)

const (
	simConcurrency = 8
	simPerTenant   = 3
	simAttempts    = 3
)

// simWorker is a real worker with a real catalogue, behind a gate.
type simWorker struct {
	sim  *sim
	name string
	gate *gate

	db   *store.Store
	nc   *nats.Conn
	told context.Context // ends when the worker is to stop
	stop context.CancelFunc
	made chan struct{} // closed when it runs
	done chan struct{} // closed when it has ended

	slept  atomic.Bool  // at least once
	jumped atomic.Int64 // by how much its clock is wrong

	mu   sync.Mutex
	runs map[string]int // steps under way
}

// spawn starts another worker.
func (s *sim) spawn() error {
	w := s.nextWorker()
	if w == nil {
		return nil
	}
	var err error
	w.db, err = store.Open(context.Background(), store.Options{
		DSN: s.db.DSN, Keyring: s.db.Keyring, MaxConns: 4, Instance: "test", CallTimeout: s.slow(callTimeout),
	})
	if err != nil {
		return fmt.Errorf("open the store of %s: %w", w.name, err)
	}
	w.nc, err = nats.Connect(s.natsURL, nats.SetCustomDialer(w), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(10*time.Millisecond, 10*time.Millisecond))
	if err != nil {
		return fmt.Errorf("connect %s to NATS: %w", w.name, err)
	}
	engine, err := w.engine()
	if err != nil {
		return fmt.Errorf("make worker %s: %w", w.name, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	context.AfterFunc(w.told, stop)
	go func() {
		defer close(w.done)
		if err := engine.Run(ctx); err != nil {
			s.violate(invWorkersUp, "worker %s ended: %v", w.name, err)
		}
		w.nc.Close()
		w.db.Close()
	}()
	close(w.made)
	return nil
}

// nextWorker is one that does not run yet; nil when the end has come.
func (s *sim) nextWorker() *simWorker {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.made++
	w := &simWorker{
		sim: s, name: fmt.Sprintf("w%d", s.made), gate: newGate(),
		made: make(chan struct{}), done: make(chan struct{}), runs: map[string]int{},
	}
	w.told, w.stop = context.WithCancel(context.Background())
	s.workers = append(s.workers, w)
	return w
}

func (w *simWorker) engine() (*worker.Worker, error) {
	gated := gatedStore{w: w, db: w.db}
	log := zerolog.Nop()
	if os.Getenv("PGFOREMAN_CHAOS_LOG") != "" {
		log = zerolog.New(zerolog.NewTestWriter(w.sim.t)).With().Timestamp().Logger()
	}
	c, err := New(Deps{
		Engine: gatedEngine{w}, State: gated, Log: log, Ports: PortRange{Low: 25000, High: 25099}, now: w.sim.clock, wall: w.wall, probe: gatedProbe{w},
	})
	if err != nil {
		return nil, err
	}
	return worker.New(worker.Options{
		Name: w.name, Instance: "test", Concurrency: simConcurrency, PerTenant: simPerTenant, Kinds: c.Kinds(), Steps: w.steps(c),
		Store: gated, NATS: w.nc, Log: log, Grace: 50 * time.Millisecond, Timing: w.sim.timing(),
		Chores: []worker.Chore{{Name: "keeper", Run: c.Keeper}, {Name: "reaper", Run: func(ctx context.Context) error { return w.reap(ctx, c) }}},
	})
}

// reap is the reaper at a faster pace.
func (w *simWorker) reap(ctx context.Context, c *Catalogue) error {
	ctx = context.WithValue(ctx, reaping{}, true)
	for ctx.Err() == nil {
		_ = c.reap(ctx, map[string]bool{}) // the next round tries again
		w.pause(ctx, 300*time.Millisecond)
	}
	return nil
}

// clock is the monotonic one, which nobody sets. It runs ten times as fast as the
// real one: some waits of the catalogue are for seconds.
func (s *sim) clock() time.Time { return s.began.Add(10 * time.Since(s.began)) }

// wall is the worker's own clock on the wall, which may be wrong by hours.
func (w *simWorker) wall() time.Time {
	return time.Now().Round(0).Add(time.Duration(w.jumped.Load()))
}

// steps are the catalogue's with shorter limits, and points of failure at both
// ends.
func (w *simWorker) steps(c *Catalogue) []jobs.StepType {
	list := c.Steps()
	for i := range list {
		st := &list[i]
		st.Timeout = w.sim.slow(stepTimeout)
		st.Retry = jobs.Retry{Attempts: simAttempts, Initial: 5 * time.Millisecond, Max: 50 * time.Millisecond}
		run, undo := st.Run, st.Undo
		st.Run = func(ctx context.Context, a *jobs.Attempt) (result jobs.Result, err error) {
			err = w.attempt(ctx, a, false, func(ctx context.Context) error {
				result, err = run(ctx, a)
				return err
			})
			return result, err
		}
		if undo != nil {
			st.Undo = func(ctx context.Context, a *jobs.Attempt) error {
				return w.attempt(ctx, a, true, func(ctx context.Context) error { return undo(ctx, a) })
			}
		}
	}
	return list
}

// attempt runs a step between its two points of failure, and notes when it ended
// well.
func (w *simWorker) attempt(ctx context.Context, a *jobs.Attempt, undo bool, run func(context.Context) error) error {
	key := a.Operation.ID + "/" + a.Step.String()
	ctx = context.WithValue(ctx, attemptKey{}, key)
	if w.sim.rouse(key) {
		w.pause(ctx, 30*time.Millisecond) // what the sleeper had on its way arrives now
	}
	w.settleLate(key)
	w.holds(key, 1)
	defer w.holds(key, -1)
	if err := w.boundary("step.begin", key); err != nil {
		return err
	}
	w.sim.overcome("begin " + key)
	if err := run(ctx); err != nil {
		return err
	}
	if err := w.boundary("step.end", key); err != nil {
		return err
	}
	w.sim.ran(runKey{key, a.Number, undo})
	w.sim.overcome(key)
	return nil
}

func (w *simWorker) boundary(point, key string) error {
	v := w.sim.plan.next(point)
	w.strike(v.before, point+before)
	if _, err := w.gate.pass(); err != nil {
		return err
	}
	switch v.fault {
	case faultFail:
		w.sim.struck(faultFail, key)
		return jobs.Permanent(errors.New("injected: cannot be done"))
	case faultPanic:
		w.sim.struck(faultPanic, key)
		panic("injected")
	}
	w.strike(v.after, point+after)
	_, err := w.gate.pass()
	return err
}

func (w *simWorker) holds(key string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.runs[key] += n; w.runs[key] <= 0 {
		delete(w.runs, key)
	}
}

// rouse wakes the light sleepers that had begun the step; it tells whether there
// was one.
func (s *sim) rouse(key string) (any bool) {
	s.mu.Lock()
	workers := slices.Clone(s.workers)
	s.mu.Unlock()
	for _, w := range workers {
		w.mu.Lock()
		held := w.runs[key] > 0
		w.mu.Unlock()
		any = held && w.gate.disturbed() || any
	}
	return any
}

// strike kills or suspends the worker.
func (w *simWorker) strike(d death, where string) {
	switch {
	case d.fault == faultKill && w.gate.kill():
		w.fell(faultKill, where)
		go func() {
			<-w.made // it may die as it is born
			w.nc.Close()
			w.stop()
		}()
		if err := w.sim.spawn(); err != nil {
			w.sim.violate(invWorkersUp, "%v", err)
		}
	case d.fault == faultFreeze && w.gate.freeze(d.sleep, d.light):
		w.slept.Store(true)
		w.fell(faultFreeze, where)
	}
}

// fell notes what the worker had in its hands.
func (w *simWorker) fell(f fault, where string) {
	w.sim.log("%s: %s %s", w.name, f, where)
	w.sim.fell(f, where)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.runs) == 0 {
		w.sim.struck(f, "")
	}
	first := true
	for key := range w.runs {
		w.sim.waits(f, "begin "+key, first)
		first = false
	}
}
