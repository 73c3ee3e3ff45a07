package integration

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// small is the smallest cluster there is.
var small = map[string]any{"nodes": 1, "etcd_members": 1, "memory_mb": 256}

// TestZombies suspends a worker with SIGSTOP in the middle of a call to the
// Engine, again and again. Each time another worker takes its steps over when
// the lease has run out, the operation ends, and the cluster is gone before the
// zombie goes on: what it asked for comes too late. It must change no row,
// publish nothing, and leave nothing on the Engine.
func TestZombies(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	gate := newDockerGate(t)
	zombie := s.worker("zombie", "PGFOREMAN_DOCKER_HOST="+gate.host) // first, so it is the foreman
	s.worker("other")
	po := openPortal(t, s.program, "acme")
	rounds := []struct {
		name, call string
		late       bool // the request reaches the Engine when all is over
		cancelled  bool // the creation is cancelled, not done and deleted
	}{
		{"a container made late", "^POST /containers/create$", true, false},
		{"a volume made late, cancelled", "^POST /volumes/create$", true, true},
		{"a container started, not known", "^POST /containers/[^/]+/start$", false, false},
		{"a network made late, cancelled", "^POST /networks/create$", true, true},
	}
	for i, r := range rounds {
		trap := gate.set(zombie, r.call, r.late)
		logged := len(zombie.log())
		request, cluster := s.duringCreation(po, fmt.Sprintf("z%d", i), "the worker to be suspended", func(string) bool {
			select {
			case <-trap.sprung:
				return true
			default:
				return false
			}
		})
		s.takenOver("zombie", request)
		if r.cancelled {
			po.publish("cancel-"+request, jobs.OperationCancel, "", map[string]any{"operation_id": s.operationID(request)})
			po.await(request, 2*time.Minute, jobs.OperationCancelledEv)
		} else {
			po.await(request, 3*time.Minute, jobs.OperationSucceededEv)
			s.deleted(po, cluster)
		}
		s.quiet()
		require.Empty(t, leftoversOf(t, s.program, cluster), "before the zombie goes on")
		rows, streams := s.rows(), s.streams(po)

		close(trap.open)
		status := <-trap.done
		zombie.signal(syscall.SIGCONT)
		eventually(t, time.Minute, "the zombie to see that its lease is lost", func() error {
			if !strings.Contains(zombie.log()[logged:], "lease lost, result dropped") {
				return fmt.Errorf("it says: %s", tail(zombie.log()[logged:], 3))
			}
			return zombie.ready()
		})
		made := leftoversOf(t, s.program, cluster)
		t.Logf("%s: the Engine answered %d; made too late: %q", r.name, status, made)
		if r.late {
			require.NotEmpty(t, made, "nothing came late: this round tries nothing")
		}
		require.Equal(t, rows, s.rows(), "%s: the zombie changed a row", r.name)
		require.Equal(t, streams, s.streams(po), "%s: the zombie published", r.name)
	}
	rows, streams := s.rows(), s.streams(po)
	began := time.Now()
	eventually(t, 2*time.Minute, "the reaper to remove what the zombie made", func() error {
		if left := leftovers(t, "io.pgforeman.instance="+s.instance()); left != "" {
			return fmt.Errorf("left: %s", left)
		}
		return nil
	})
	t.Logf("nothing was left %.0f s after the last round", time.Since(began).Seconds())
	require.Equal(t, rows, s.rows())
	require.Equal(t, streams, s.streams(po))
}

// duringCreation lets creations begin until something is so in the middle of
// one: the worker that is meant may be unlucky with its claims. It gives the
// request and the cluster; creations before that are deleted again.
func (s *site) duringCreation(po *portal, prefix, what string, is func(request string) bool) (request, cluster string) {
	s.t.Helper()
	for try := range 8 {
		cluster = fmt.Sprintf("%s-%d", prefix, try)
		request = "create-" + cluster
		po.publish(request, jobs.ClusterCreate, cluster, small)
		was := false
		eventuallySoon(s.t, 3*time.Minute, what+", or the creation to end", func() error {
			if was = is(request); was {
				return nil
			}
			if state := s.state(request); state != string(jobs.OperationSucceeded) {
				return fmt.Errorf("operation is %q", state)
			}
			return nil
		})
		if was {
			return request, cluster
		}
		s.deleted(po, cluster)
	}
	require.Fail(s.t, "waited in vain for "+what)
	return "", ""
}

// deleted deletes a cluster and waits for it.
func (s *site) deleted(po *portal, cluster string) {
	s.t.Helper()
	po.publish("delete-"+cluster, jobs.ClusterDelete, cluster, map[string]any{})
	po.await("delete-"+cluster, 2*time.Minute, jobs.OperationSucceededEv)
}

// takenOver waits until another worker has claimed a step that this one, which
// is suspended, holds.
func (s *site) takenOver(worker, request string) {
	s.t.Helper()
	steps := s.text(`SELECT coalesce(string_agg(s.id::text, ','), '') FROM steps s JOIN operations o ON o.id = s.operation_id
		WHERE o.request_id = '` + request + `' AND s.state = 'running' AND s.owner LIKE '` + worker + `-%'`)
	require.NotEmpty(s.t, steps, "the suspended worker holds no lease")
	eventually(s.t, time.Minute, "another worker to take the steps over", func() error {
		if left := s.text("SELECT count(*) FROM steps WHERE id IN (" + steps + ") AND owner LIKE '" + worker + "-%'"); left != "0" {
			return fmt.Errorf("%s of steps %s are still %s's", left, steps, worker)
		}
		return nil
	})
}

// text reads one value as text.
func (s *site) text(sql string) (value string) {
	s.t.Helper()
	s.db.Scan(s.t, "SELECT ("+sql+")::text", &value)
	return value
}

func (s *site) operationID(request string) string {
	return s.text("SELECT id FROM operations WHERE request_id = '" + request + "'")
}

// state is an operation's, or nothing.
func (s *site) state(request string) string {
	return s.text("SELECT coalesce(max(state), '') FROM operations WHERE request_id = '" + request + "'")
}

// quiet waits until all that was told is published.
func (s *site) quiet() {
	s.t.Helper()
	eventually(s.t, time.Minute, "the outbox to be empty", func() error {
		if n := s.text("SELECT count(*) FROM outbox"); n != "0" {
			return fmt.Errorf("%s messages wait", n)
		}
		return nil
	})
}

// rows is every row of the state database but the foreman's lease, by table.
func (s *site) rows() map[string]string {
	s.t.Helper()
	rows := map[string]string{}
	for _, table := range []string{
		"operations", "requests", "steps", "clusters", "dead_letters", "rejections", "secrets", "ports", "nodes", "outbox", "audit",
	} {
		rows[table] = s.text("SELECT coalesce(string_agg(r, E'\\n'), '') FROM (SELECT t::text AS r FROM " + table + " t ORDER BY 1) all_rows")
	}
	return rows
}

// streams is how far every stream is.
func (s *site) streams(po *portal) map[string]uint64 {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	last := map[string]uint64{}
	for _, name := range []string{jobs.StreamRequests, jobs.StreamEvents, jobs.StreamDead} {
		stream, err := po.js.Stream(ctx, name)
		require.NoError(s.t, err)
		last[name] = stream.CachedInfo().State.LastSeq
	}
	return last
}
