package worker

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// signal wakes one waiting loop; signals that come before it looks are one.
type signal chan struct{}

func newSignal() signal { return make(signal, 1) }

func (s signal) raise() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// wait waits until the signal, d has passed, or ctx ends; it tells whether it
// was the signal. It is the one place in this package that waits for a while.
func (s signal) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) { signal(nil).wait(ctx, d) }

// wakes tells the loops of this worker, and over core NATS those of all others,
// that there is work or something to publish. A wake that is lost costs a poll.
type wakes struct {
	worker      string
	nc          *nats.Conn
	pool, relay signal
	log         zerolog.Logger
}

// What a wake is about: events only, or work for pools too. The worker's name
// follows, so that it does not wake itself twice.
const (
	wakeEvents = "e "
	wakeWork   = "w "
)

func newWakes(worker string, nc *nats.Conn, log zerolog.Logger) *wakes {
	return &wakes{worker: worker, nc: nc, pool: newSignal(), relay: newSignal(), log: log}
}

// committed is called after every commit that told events or made work.
func (w *wakes) committed(work bool) {
	w.relay.raise()
	payload := wakeEvents
	if work {
		w.pool.raise()
		payload = wakeWork
	}
	if !w.nc.IsConnected() {
		return // the others poll
	}
	if err := w.nc.Publish(jobs.WakeSubject, []byte(payload+w.worker)); err != nil {
		w.log.Debug().Err(err).Msg("wake not sent")
	}
}

// listen hears the wakes of other workers until ctx ends.
func (w *wakes) listen(ctx context.Context) error {
	sub, err := w.nc.Subscribe(jobs.WakeSubject, func(m *nats.Msg) {
		about := string(m.Data)
		if strings.TrimPrefix(strings.TrimPrefix(about, wakeEvents), wakeWork) == w.worker {
			return
		}
		w.relay.raise()
		if strings.HasPrefix(about, wakeWork) {
			w.pool.raise()
		}
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return sub.Unsubscribe()
}
