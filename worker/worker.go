package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// Worker takes requests in and carries their operations out.
type Worker struct {
	opt    Options
	timing Timing
	store  Store
	nc     *nats.Conn
	js     jetstream.JetStream
	log    zerolog.Logger
	rules  *rules
	wakes  *wakes
	asides *asides
	leases *leases
	health *health
}

// New checks the options and makes a worker; Run starts it. Every fault of the
// options is told at once.
func New(opt Options) (*Worker, error) {
	opt = opt.withDefaults()
	r, err := newRules(opt)
	if err = errors.Join(opt.check(), err); err != nil {
		return nil, fmt.Errorf("worker options: %w", err)
	}
	js, err := jetstream.New(opt.NATS, jetstream.WithPublishAsyncTimeout(opt.Timing.Ack))
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	log := opt.Log.With().Str("worker", opt.Name).Logger()
	w := &Worker{opt: opt, timing: opt.Timing, store: opt.Store, nc: opt.NATS, js: js, log: log, rules: r}
	names := []string{dependencyDatabase, dependencyNATS}
	for _, p := range opt.Probes {
		names = append(names, p.name)
	}
	w.health = newHealth(log, names...)
	w.asides = newAsides(4 * w.timing.Unknown)
	w.wakes = newWakes(opt.Name, opt.NATS, log)
	w.leases = newLeases(opt.Store, opt.Name, opt.Timing, w.health)
	return w, nil
}

// Ready tells how each dependency answered last. It asks nothing itself.
func (w *Worker) Ready() []Dependency { return w.health.list() }

// Run works until ctx ends. Then it claims no more and gives the foreman's duty
// up at once; attempts that run have Options.Grace to finish, after which their
// contexts end and their steps are handed over. It returns nil after that, or
// early a *StreamError when a stream cannot be used as it is.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.openStreams(ctx); err != nil {
		return err
	}
	w.log.Info().Int("concurrency", w.opt.Concurrency).Str("instance", w.opt.Instance).Msg("worker started")
	work, drain := context.WithCancelCause(context.WithoutCancel(ctx))
	defer drain(nil)
	beats, stopBeats := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBeats()

	p := newPool(w)
	var fetching, beating sync.WaitGroup
	spawn(&fetching, func() { p.run(ctx, work) })
	spawn(&fetching, func() { (&duty{w: w, chores: w.chores(), asides: w.asides}).run(ctx) })
	spawn(&fetching, func() { w.hear(ctx) })
	for _, p := range w.opt.Probes {
		spawn(&beating, func() { p.run(beats, w.health, w.timing) })
	}
	spawn(&beating, func() { w.leases.run(beats) })

	<-ctx.Done()
	fetching.Wait()
	w.drain(p, drain)
	stopBeats()
	beating.Wait()
	w.js.CleanupPublisher()
	w.log.Info().Msg("worker stopped")
	return nil
}

// drain lets attempts finish for the grace, then ends them.
func (w *Worker) drain(p *pool, end context.CancelCauseFunc) {
	grace, cancel := context.WithTimeout(context.Background(), w.opt.Grace)
	defer cancel()
	if p.wait(grace) {
		return
	}
	w.log.Info().Msg("grace is over, running steps are handed over")
	end(errDrained)
	last, cancel := context.WithTimeout(context.Background(), w.timing.Abandon+3*w.timing.Statement)
	defer cancel()
	if !p.wait(last) {
		w.log.Error().Msg("steps left behind, their leases run out by themselves")
	}
}

// openStreams fails only where a person must change something; when NATS cannot
// be reached the intake tries on.
func (w *Worker) openStreams(ctx context.Context) error {
	err := w.streams(ctx)
	var unfit *StreamError
	if errors.As(err, &unfit) {
		return err
	}
	if err != nil {
		w.log.Warn().Err(err).Msg("streams not checked yet")
	}
	return nil
}

// hear listens for wakes; without them the loops poll.
func (w *Worker) hear(ctx context.Context) {
	if err := w.wakes.listen(ctx); err != nil && ctx.Err() == nil {
		w.log.Warn().Err(err).Msg("wakes are not heard, polling")
	}
}

// chores are what the holder of the foreman's duty does.
func (w *Worker) chores() []Chore {
	in := &intake{w: w, log: newOnceLog(w.log, "intake")}
	re := &relay{w: w, log: newOnceLog(w.log, "relay")}
	sw := &sweep{w: w, log: newOnceLog(w.log, "sweep"), streams: newOnceLog(w.log, "streams"), nextPrune: time.Now().Add(w.timing.Sweep)}
	own := []Chore{{Name: "intake", Run: in.run}, {Name: "relay", Run: re.run}, {Name: "sweep", Run: sw.run}}
	return append(own, w.opt.Chores...)
}

// update applies a rule and, when it is committed, wakes whom it concerns.
func (w *Worker) update(ctx context.Context, operation string, lease *jobs.Lease, rule Rule) error {
	var told, work, unwanted bool
	err := w.store.Update(ctx, operation, lease, func(s *jobs.Snapshot) error {
		if err := rule(s); err != nil {
			return err
		}
		told = len(s.Events) > 0 || s.Dead != nil
		work = hasWork(s)
		op := s.Operation
		unwanted = op.State == jobs.OperationUndoing || op.State == jobs.OperationRunning && op.Error != nil
		return nil
	})
	w.health.database(err)
	if err != nil {
		return err
	}
	if unwanted {
		w.leases.stopRuns(operation)
	}
	if told || work {
		w.wakes.committed(work)
	}
	return nil
}

// hasWork tells whether a pool can do something after a rule.
func hasWork(s *jobs.Snapshot) bool {
	if s.Operation.State.Final() {
		return true // the cluster's next operation may start
	}
	for _, st := range s.Steps {
		if st.State == jobs.StepReady && !st.ReadyAt.After(s.Now) {
			return true
		}
	}
	return false
}

// spawn runs f in a goroutine of the group.
func spawn(wg *sync.WaitGroup, f func()) {
	wg.Add(1)
	go func() {
		defer wg.Done()
		f()
	}()
}
