package integration

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// movedClock is added to the program: SIGUSR1 puts its wall clock an hour
// forward, SIGUSR2 two hours back.
const movedClock = `package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

func init() {
	jumps := make(chan os.Signal, 8)
	signal.Notify(jumps, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for s := range jumps {
			if s == syscall.SIGUSR1 {
				time.MoveWallClock(3600)
			} else {
				time.MoveWallClock(-7200)
			}
		}
	}()
}
`

// wallClock is added to package time; its monotonic clock and its timers are
// left alone, as they are when a machine's clock is set.
const wallClock = `
var wallOffset atomic.Int64

// MoveWallClock puts the wall clock forward by so many seconds, or back.
func MoveWallClock(seconds int64) { wallOffset.Add(seconds) }
`

// buildMovedClock builds the program with a wall clock that can be moved.
var buildMovedClock = sync.OnceValues(func() (string, error) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("ask for GOROOT: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(goroot)), "src", "time", "time.go")
	now, err := replaceOnce(source, "\tsec, nsec, mono := runtimeNow()\n", "\tsec, nsec, mono := runtimeNow()\n\tsec += wallOffset.Load()\n")
	if err != nil {
		return "", err
	}
	if strings.Count(now, "\nimport (\n") != 1 {
		return "", fmt.Errorf("%s has no import block where it was: adapt the test", source)
	}
	now = strings.Replace(now, "\nimport (\n", "\nimport (\n\t\"internal/runtime/atomic\"\n", 1) + wallClock
	main, err := filepath.Abs("../cmd/pgforeman/moved_clock.go")
	if err != nil {
		return "", err
	}
	return overlay{source: now, main: movedClock}.build("clock")
})

// TestAClockThatJumpsDoesNoHarm moves the wall clock of a worker an hour
// forward, then two hours back, in the middle of creations, while it holds steps
// and the foreman's duty; a worker with the right time stands beside it. Neither
// loses a lease or the duty, no step runs twice, the certificates are good for
// both, and what was made with one time is deleted with another.
func TestAClockThatJumpsDoesNoHarm(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Docker and minutes")
	}
	t.Parallel()
	bin, err := buildMovedClock()
	require.NoError(t, err)
	s := newSite(t)
	jumper := s.newWorker("jumper")
	jumper.bin = bin
	jumper.start() // first, so it is the foreman
	jumper.awaitReady(2 * time.Minute)
	steady := s.worker("steady")
	po := openPortal(t, s.program, "acme")
	foreman := s.text("SELECT worker FROM duties WHERE name = 'foreman'")
	require.True(t, strings.HasPrefix(foreman, "jumper-"), foreman)

	c1 := s.creating(po, "now", "jumper", 0)
	jumper.signal(syscall.SIGUSR1)
	jumper.awaitClock(po, time.Hour)
	c2 := s.creating(po, "future", "jumper", 35) // certificates of both, or of the future
	jumper.signal(syscall.SIGUSR2)
	jumper.awaitClock(po, -time.Hour)
	for _, c := range []string{c1, c2} {
		po.await("create-"+c, 5*time.Minute, jobs.OperationSucceededEv)
	}
	c3 := s.creating(po, "past", "jumper", 35)
	jumper.signal(syscall.SIGUSR1)
	jumper.awaitClock(po, 0)
	po.await("create-"+c3, 5*time.Minute, jobs.OperationSucceededEv)
	jumper.signal(syscall.SIGUSR1)
	jumper.awaitClock(po, time.Hour)
	for _, c := range []string{c1, c2, c3} {
		s.deleted(po, c)
		po.checkOrder("create-" + c)
		require.Empty(t, leftoversOf(t, s.program, c))
	}
	for _, w := range []*workerProcess{jumper, steady} {
		for _, bad := range []string{"lease lost", "left behind", "not saved", "foreman duty ended", "dependency lost", "handed over"} {
			require.NotContains(t, w.log(), bad, w.name)
		}
	}
	require.Equal(t, foreman, s.text("SELECT worker FROM duties WHERE name = 'foreman'"))
	require.Equal(t, "0", s.text("SELECT count(*) FROM steps WHERE failures > 0"))
	t.Logf("steps by worker and attempts: %s", s.text(`SELECT string_agg(x.line, ', ') FROM (
		SELECT split_part(owner, '-', 1) || ' attempt ' || attempt || ': ' || count(*) AS line
		FROM steps WHERE owner <> '' GROUP BY split_part(owner, '-', 1), attempt ORDER BY 1) x`))
}

// holds tells whether the worker holds a step of the request's operation, which
// has come to a percentage.
func (s *site) holds(worker, request string, percent int) bool {
	s.t.Helper()
	return s.text(fmt.Sprintf(`SELECT count(*) FROM steps s JOIN operations o ON o.id = s.operation_id
		WHERE o.request_id = '%s' AND o.percent >= %d AND s.state = 'running' AND s.owner LIKE '%s-%%'`, request, percent, worker)) != "0"
}

// creating begins a creation and waits until the worker holds a step of it at a
// percentage. It gives the cluster.
func (s *site) creating(po *portal, prefix, worker string, percent int) (cluster string) {
	s.t.Helper()
	_, cluster = s.duringCreation(po, prefix, worker+" to hold a step", func(request string) bool {
		return s.holds(worker, request, percent)
	})
	return cluster
}

// awaitClock waits until the foreman's own log is written with a clock that is
// off by so much: it is asked for what it must reject, and says when it did.
func (w *workerProcess) awaitClock(po *portal, off time.Duration) {
	w.t.Helper()
	try := 0
	eventually(w.t, time.Minute, fmt.Sprintf("the clock of %s to be off by %s", w.name, off), func() error {
		try++
		request := fmt.Sprintf("what time is it %s %d", off, try)
		po.publish(request, jobs.ClusterDelete, "nowhere", map[string]any{})
		po.await(request, time.Minute, jobs.OperationRejected)
		is, err := w.clock(request)
		if err == nil && (is-off).Abs() > 2*time.Minute {
			err = fmt.Errorf("it is off by %s", is)
		}
		return err
	})
}

// clock gives how far the worker's clock is off, by the line of its log that
// speaks of a request just made.
func (w *workerProcess) clock(request string) (off time.Duration, err error) {
	for _, text := range strings.Split(w.log(), "\n") {
		var line struct {
			Time    time.Time
			Request string
		}
		if json.Unmarshal([]byte(text), &line) == nil && line.Request == request {
			return time.Until(line.Time), nil
		}
	}
	return 0, fmt.Errorf("worker %s has not written of %s", w.name, request)
}

// eventuallySoon is eventually for what passes quickly.
func eventuallySoon(t *testing.T, limit time.Duration, what string, check func() error) {
	t.Helper()
	eventuallyEvery(t, 10*time.Millisecond, limit, what, check)
}
