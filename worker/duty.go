package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// dutyName is the duty that one worker at a time holds.
const dutyName = "foreman"

// Chore is work that one worker at a time does for all: the one which holds the
// foreman's duty. Run blocks until ctx ends; when it ends before, it is started
// again after a while.
type Chore struct {
	Name string
	Run  func(ctx context.Context) error
}

// duty takes the foreman's duty when it is free, and runs the chores while it
// is held. Like a step's lease it ends by this worker's own clock before the
// database gives it to another.
type duty struct {
	w      *Worker
	chores []Chore
	asides *asides
}

// asideEvery is how often a foreman steps aside at most: messages of unknown
// kinds must not keep a pool of workers from having one, nor hold up the
// messages behind them.
const asideEvery = 5 * time.Minute

// asides says when a foreman steps aside, so that a worker of a newer release
// can take what this one does not know.
type asides struct {
	asked  signal
	window time.Duration // how long others have to take over

	mu   sync.Mutex
	last time.Time // when it was asked first, lately
}

func newAsides(window time.Duration) *asides { return &asides{asked: newSignal(), window: window} }

// ask asks the foreman to step aside; it tells whether there is any hope that
// somebody takes over: not when that was tried a while ago, in vain.
func (a *asides) ask() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	ago := time.Since(a.last)
	switch {
	case a.last.IsZero() || ago >= asideEvery:
		a.last = time.Now()
		a.asked.raise()
		return true
	default:
		return ago < a.window
	}
}

// run competes for the duty until ctx ends, and then gives it up at once. One
// that was lost is not given up: it belongs to another by now, or runs out. One
// who steps aside gives it up too, and lets the others look first.
func (d *duty) run(ctx context.Context) {
	for ctx.Err() == nil {
		sent := time.Now()
		mine, err := d.take(ctx)
		d.w.health.nats(d.w.nc)
		if err == nil && mine {
			if aside := d.hold(ctx, sent); aside && ctx.Err() == nil {
				d.giveUp(ctx)
				pause(ctx, d.w.timing.Duty*3/2)
			}
			continue
		}
		pause(ctx, d.w.timing.Duty)
	}
	d.giveUp(ctx) // also what was taken while ctx ended
}

// take takes or renews the duty. It is not interrupted when ctx ends: a statement
// that is given up on this side may still be carried out on the other, after the
// duty was given up, and then nobody would have it until the lease runs out.
func (d *duty) take(ctx context.Context) (mine bool, err error) {
	err = within(context.WithoutCancel(ctx), d.w.timing.Duty, func(ctx context.Context) error {
		mine, err = d.w.store.TakeDuty(ctx, dutyName, d.w.opt.Name, d.w.timing.Lease)
		return err
	})
	d.w.health.database(err)
	return mine, err
}

// hold runs the chores until the duty is lost, ctx ends, or the worker steps
// aside; it tells whether that was it. at is the moment before it was taken.
func (d *duty) hold(ctx context.Context, at time.Time) (aside bool) {
	d.w.log.Info().Msg("foreman duty taken")
	chores, stop := context.WithCancel(ctx)
	defer stop()
	fence := time.AfterFunc(d.w.timing.Fence-time.Since(at), stop)
	defer fence.Stop()

	var running sync.WaitGroup
	for _, c := range d.chores {
		running.Add(1)
		go func() {
			defer running.Done()
			c.keep(chores, d.w.log)
		}()
	}
	aside = d.renew(chores, stop, fence)
	running.Wait()
	d.w.log.Info().Bool("aside", aside).Msg("foreman duty ended")
	return aside
}

// renew renews the duty until its context ends, or ends it to step aside.
func (d *duty) renew(ctx context.Context, stop context.CancelFunc, fence *time.Timer) (aside bool) {
	for {
		aside = d.asides.asked.wait(ctx, d.w.timing.Duty)
		if ctx.Err() != nil {
			return false
		}
		if aside {
			stop()
			return true
		}
		sent := time.Now()
		mine, err := d.take(ctx)
		d.w.health.nats(d.w.nc)
		switch {
		case err != nil: // the fence counts on
		case mine && ctx.Err() == nil:
			fence.Reset(d.w.timing.Fence - time.Since(sent))
		default:
			stop()
		}
	}
}

// giveUp hands the duty over; where that fails it runs out by itself.
func (d *duty) giveUp(ctx context.Context) {
	err := within(context.WithoutCancel(ctx), d.w.timing.Duty, func(ctx context.Context) error {
		return d.w.store.GiveUpDuty(ctx, dutyName, d.w.opt.Name)
	})
	if err != nil {
		d.w.log.Warn().Err(err).Msg("foreman duty not given up, it runs out by itself")
	}
}

// keep runs a chore until ctx ends, again and again when it ends before.
func (c Chore) keep(ctx context.Context, log zerolog.Logger) {
	wait := newBackOff(500*time.Millisecond, 10*time.Second)
	last := ""
	for ctx.Err() == nil {
		began := time.Now()
		err := c.once(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			wait.Reset()
			last = ""
		}
		if text := fmt.Sprint(err); text != last {
			log.Error().Str("chore", c.Name).Err(err).Msg("chore ended, it is started again")
			last = text
		}
		pause(ctx, wait.NextBackOff())
	}
}

func (c Chore) once(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return c.Run(ctx)
}
