package integration

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// leaseSeconds is how long a worker's lease lasts (worker.Timing).
const leaseSeconds = 6

// TestWorkersShareTheWork has three workers make four clusters. The one with the
// foreman's duty is killed while it holds steps: others run them within ten
// seconds, and everything ends well.
func TestWorkersShareTheWork(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	workers := map[string]*workerProcess{}
	for _, name := range []string{"one", "two", "three"} {
		workers[name] = s.worker(name, "PGFOREMAN_CONCURRENCY=4")
	}
	po := openPortal(t, s.program, "acme")
	var requests []string
	for i := range 4 {
		request := fmt.Sprintf("create-w%d", i)
		requests = append(requests, request)
		po.publish(request, jobs.ClusterCreate, fmt.Sprintf("w%d", i), small)
	}
	victim := s.text("SELECT worker FROM duties WHERE name = 'foreman'")
	name, _, _ := strings.Cut(victim, "-")
	lost := s.killWhileItHolds(workers[name], victim)
	for _, step := range lost {
		s.reclaimed(step, victim)
	}
	s.dutyTaken(victim, lost[0].killedAt)

	for i, request := range requests {
		po.await(request, 5*time.Minute, jobs.OperationSucceededEv)
		po.checkOrder(request)
		po.publish("delete-"+request, jobs.ClusterDelete, fmt.Sprintf("w%d", i), map[string]any{})
	}
	for _, request := range requests {
		po.await("delete-"+request, 3*time.Minute, jobs.OperationSucceededEv)
	}
	t.Logf("steps by worker: %s", s.text(`SELECT string_agg(w || ' ' || n, ', ' ORDER BY w)
		FROM (SELECT split_part(owner, '-', 1) AS w, count(*) AS n FROM steps WHERE owner <> '' GROUP BY 1) x`))
	require.Equal(t, "2", s.text("SELECT count(DISTINCT owner) FROM steps WHERE owner NOT IN ('', '"+victim+"')"), "both others work")
	require.Equal(t, "0", s.text("SELECT count(*) FROM operations WHERE state <> 'succeeded'"))
	require.Empty(t, leftovers(t, "io.pgforeman.instance="+s.instance()))
}

// lostStep is a step whose worker was killed at a moment of the database's clock.
type lostStep struct {
	id, attempt string
	killedAt    float64
}

// killWhileItHolds kills a worker with SIGKILL as soon as it holds a step, and
// gives the steps that it held.
func (s *site) killWhileItHolds(w *workerProcess, owner string) []lostStep {
	s.t.Helper()
	held := "steps WHERE state = 'running' AND owner = '" + owner + "'"
	none := func() error {
		if s.text("SELECT count(*) FROM "+held) == "0" {
			return fmt.Errorf("it holds none")
		}
		return nil
	}
	var at float64
	eventuallySoon(s.t, 2*time.Minute, "worker "+owner+" to hold a step", func() error {
		if err := none(); err != nil {
			return err
		}
		// What it holds while it stands still, it holds in death.
		w.signal(syscall.SIGSTOP)
		at = s.seconds("clock_timestamp()")
		if err := none(); err != nil {
			w.signal(syscall.SIGCONT)
			return err
		}
		w.signal(syscall.SIGKILL)
		return nil
	})
	w.awaitExit(time.Minute)
	var lost []lostStep
	for _, row := range strings.Fields(s.text("SELECT coalesce(string_agg(id || '/' || attempt, ' '), '') FROM " + held)) {
		id, attempt, _ := strings.Cut(row, "/")
		lost = append(lost, lostStep{id: id, attempt: attempt, killedAt: at})
	}
	require.NotEmpty(s.t, lost)
	return lost
}

// reclaimed waits until another worker runs the step, and says how long that
// took by the database's clock: a claim sets the lease's end.
func (s *site) reclaimed(step lostStep, owner string) {
	s.t.Helper()
	eventually(s.t, time.Minute, "step "+step.id+" to run elsewhere", func() error {
		if s.text("SELECT owner FROM steps WHERE id = "+step.id) == owner {
			return fmt.Errorf("it is still %s's", owner)
		}
		return nil
	})
	claimed := s.seconds(fmt.Sprintf(
		"(SELECT coalesce(lease_until - interval '%d s', finished_at, clock_timestamp()) FROM steps WHERE id = %s)", leaseSeconds, step.id))
	took := claimed - step.killedAt
	s.t.Logf("step %s runs elsewhere %.1f s after the kill", s.text("SELECT name || ' ' || node FROM steps WHERE id = "+step.id), took)
	require.LessOrEqual(s.t, took, 10.0)
	require.NotEqual(s.t, step.attempt, s.text("SELECT attempt FROM steps WHERE id = "+step.id))
}

// dutyTaken waits until another worker has the foreman's duty.
func (s *site) dutyTaken(from string, killedAt float64) {
	s.t.Helper()
	eventually(s.t, time.Minute, "the foreman's duty to be taken over", func() error {
		if w := s.text("SELECT worker FROM duties WHERE name = 'foreman'"); w == from {
			return fmt.Errorf("it is still %s's", w)
		}
		return nil
	})
	took := s.seconds("clock_timestamp()") - killedAt
	s.t.Logf("the duty was taken over at most %.1f s after the kill", took)
}

// seconds is a moment of the database's clock.
func (s *site) seconds(moment string) float64 {
	s.t.Helper()
	v, err := strconv.ParseFloat(s.text("SELECT extract(epoch FROM "+moment+")"), 64)
	require.NoError(s.t, err)
	return v
}
