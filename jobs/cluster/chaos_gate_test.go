package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
)

// errKilled is what the calls of a dead worker return. Nobody learns of it.
var errKilled = errors.New("this worker is dead")

// gate stands between a worker and everything outside of it. While the worker
// is suspended its calls wait, and take effect when it wakes, whatever its own
// clock says by then: like a packet that was on its way. When it is dead none has
// an effect.
type gate struct {
	died chan struct{}

	mu     sync.Mutex
	dead   bool
	awaken chan struct{} // closed when a suspended worker wakes; nil while awake
	light  bool          // it wakes as soon as another worker takes over
}

func newGate() *gate { return &gate{died: make(chan struct{})} }

// pass waits until the worker may act. late says that it had to wait.
func (g *gate) pass() (late bool, err error) {
	for {
		g.mu.Lock()
		dead, awaken := g.dead, g.awaken
		g.mu.Unlock()
		switch {
		case dead:
			return late, errKilled
		case awaken == nil:
			return late, nil
		}
		late = true
		select {
		case <-awaken:
		case <-g.died:
		}
	}
}

// kill tells whether the worker lived.
func (g *gate) kill() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return false
	}
	g.dead = true
	close(g.died)
	return true
}

func (g *gate) isDead() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.dead
}

// freeze suspends the worker for a while; it tells whether it was awake. One that
// sleeps lightly wakes at the worst moment, when its work has just begun anew.
func (g *gate) freeze(d time.Duration, light bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead || g.awaken != nil {
		return false
	}
	g.awaken, g.light = make(chan struct{}), light
	time.AfterFunc(d, g.thaw)
	return true
}

func (g *gate) thaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.awaken != nil {
		close(g.awaken)
		g.awaken = nil
	}
}

// disturbed wakes a light sleeper; it tells whether it was one.
func (g *gate) disturbed() bool {
	g.mu.Lock()
	light := g.awaken != nil && g.light
	g.mu.Unlock()
	if light {
		g.thaw()
	}
	return light
}

// call carries out one call of a worker with what goes wrong at it.
func call[T any](ctx context.Context, w *simWorker, point string, do func(context.Context) (T, error)) (T, error) {
	var none T
	v := w.sim.plan.next(point)
	w.strike(v.before, point+before)
	late, err := w.gate.pass()
	if err != nil {
		return none, err
	}
	if late {
		ctx = context.WithoutCancel(ctx)
	}
	if err := ctx.Err(); err != nil {
		return none, w.sim.refuse(point, err)
	}
	key := stricken(ctx, point)
	if away := w.sim.isAway(point); away != noFault {
		if v.delay > 20*time.Millisecond { // some are refused, some hang
			w.hang(ctx)
		}
		return none, w.sim.refuse(point, errors.New("away"))
	}
	switch v.fault {
	case faultError:
		w.sim.struck(faultError, key)
		return none, w.sim.refuse(point, errors.New("injected"))
	case faultHang:
		w.sim.struck(faultHang, key)
		w.hang(ctx)
		return none, w.sim.refuse(point, context.DeadlineExceeded)
	case faultDelay:
		w.sim.struck(faultDelay, key)
		w.pause(ctx, v.delay)
	}
	out, err := do(ctx)
	if v.fault == faultLost {
		w.sim.struck(faultLost, key)
		return none, w.sim.refuse(point, errors.New("reply lost"))
	}
	w.strike(v.after, point+after)
	if _, dead := w.gate.pass(); dead != nil {
		return none, dead
	}
	if err == nil {
		w.sim.worked(point)
		if point == "store.Update" {
			w.sim.overcome("clock " + w.name)
		}
	}
	return out, err
}

// call0 is call for what gives nothing but an error.
func call0(ctx context.Context, w *simWorker, point string, do func(context.Context) error) error {
	_, err := call(ctx, w, point, func(ctx context.Context) (struct{}, error) { return struct{}{}, do(ctx) })
	return err
}

func (w *simWorker) hang(ctx context.Context) { w.wait(ctx, w.sim.slow(longest)) }

func (w *simWorker) pause(ctx context.Context, d time.Duration) { w.wait(ctx, d) }

// wait is the one place of the simulation that waits.
func (w *simWorker) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-w.gate.died:
	}
}

// refuse is an error as the part behind the point tells that it cannot be
// reached.
func (s *sim) refuse(point string, cause error) error {
	var kind error
	switch point[:5] {
	case "store", "state":
		kind = jobs.ErrUnavailable
	case "engin":
		kind = docker.ErrUnavailable
	default:
		kind = errSilent
	}
	return fmt.Errorf("%s: %w: %w", point, kind, cause)
}

// attemptKey finds in a context which step's attempt a call belongs to.
type attemptKey struct{}

// stricken is what has to work again before a fault is overcome: the step, or
// where there is none the call.
func stricken(ctx context.Context, point string) string {
	if step, ok := ctx.Value(attemptKey{}).(string); ok {
		return step
	}
	return point
}

// gatedConn is a worker's connection to NATS: it stands still with the worker.
type gatedConn struct {
	net.Conn
	w *simWorker
}

func (c gatedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if _, dead := c.w.gate.pass(); dead != nil {
		return 0, dead
	}
	return n, err
}

func (c gatedConn) Write(b []byte) (int, error) {
	v := c.w.sim.plan.next("nats.write")
	c.w.strike(v.before, "nats.write"+before)
	if _, err := c.w.gate.pass(); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	c.w.strike(v.after, "nats.write"+after)
	return n, err
}

// Dial is the nats.CustomDialer of a worker.
func (w *simWorker) Dial(network, address string) (net.Conn, error) {
	if _, err := w.gate.pass(); err != nil {
		return nil, err
	}
	conn, err := net.DialTimeout(network, address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return gatedConn{Conn: conn, w: w}, nil
}
