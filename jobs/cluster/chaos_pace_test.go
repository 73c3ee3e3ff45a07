package cluster

import (
	"slices"
	"time"

	"github.com/vcs-iaas/pgforeman/worker"
)

// timing is the engine's clockwork, some seven times faster than the real one
// where the machine keeps up with it.
func (s *sim) timing() worker.Timing {
	return worker.Timing{
		Lease: s.slow(simLease), Fence: s.slow(600 * time.Millisecond), Heartbeat: s.slow(200 * time.Millisecond),
		Duty: s.slow(250 * time.Millisecond), Poll: s.slow(150 * time.Millisecond), RelayPoll: s.slow(250 * time.Millisecond),
		Sweep: s.slow(150 * time.Millisecond), Pull: 2 * time.Second, Unknown: 20 * time.Millisecond,
		Announce: 10 * time.Millisecond, Throttle: 30 * time.Millisecond, Abandon: 300 * time.Millisecond,
		Statement: s.slow(time.Second), Ack: s.slow(time.Second), Patience: s.slow(4 * time.Second),
	}
}

const (
	simLease    = 800 * time.Millisecond
	stepTimeout = time.Second
	// callTimeout is how long a transaction of the store may take.
	callTimeout = 3 * time.Second
	// longest is for how long a call hangs at most where its caller sets no
	// limit, as the Docker adapter's own limits do.
	longest = 1500 * time.Millisecond
	// latest is how late a call may arrive.
	latest = 2200 * time.Millisecond
	// stubborn is for how long faults go on at most after the last request.
	stubborn = 8 * time.Second
)

// slow is a duration as it is where the machine is slow: with leases that run out
// before their heartbeat is through nothing would ever end.
func (s *sim) slow(d time.Duration) time.Duration { return time.Duration(s.pace * float64(d)) }

// measure says how much slower than usual the database answers now: 1 to 8.
func (s *sim) measure() float64 {
	const usual = 15 * time.Millisecond
	var took []time.Duration
	for range 30 {
		at := time.Now()
		s.exec(`SELECT count(*) FROM operations`)
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	return min(max(1, float64(took[len(took)-4])/float64(usual)), 8)
}
