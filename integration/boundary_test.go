package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// buildFailpoints builds the program with its failure points compiled in.
var buildFailpoints = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pgforeman-failpoint-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "pgforeman")
	cmd := exec.Command("go", "build", "-tags", "failpoint", "-o", bin, "../cmd/pgforeman")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program with failure points: %w\n%s", err, out)
	}
	return bin, nil
})

// life is a scenario in which the program may die at any moment: whatever it
// waits for, it starts the program again when that is gone.
type life struct {
	name string
	run  func(m *mortal, n int)
}

// lives are a creation with its deletion, and a cancelled creation.
func lives() []life {
	return []life{
		{"create and delete", func(m *mortal, n int) {
			create, remove, cluster := fmt.Sprintf("create-%d", n), fmt.Sprintf("delete-%d", n), fmt.Sprintf("c%d", n)
			m.publish(create, jobs.ClusterCreate, cluster, map[string]any{"nodes": 1, "etcd_members": 1, "memory_mb": 256})
			m.await(create, jobs.OperationSucceededEv)
			require.Len(m.t, m.containers(cluster, ""), 3)
			m.publish(remove, jobs.ClusterDelete, cluster, map[string]any{})
			m.await(remove, jobs.OperationSucceededEv)
			m.rest(cluster, create, remove)
		}},
		{"create and cancel", func(m *mortal, n int) {
			create, cancel, cluster := fmt.Sprintf("create-%d", n), fmt.Sprintf("cancel-%d", n), fmt.Sprintf("c%d", n)
			m.publish(create, jobs.ClusterCreate, cluster, map[string]any{"nodes": 1, "etcd_members": 1, "memory_mb": 256})
			started := m.await(create, jobs.OperationStarted)
			eventually(m.t, 2*time.Minute, "a container of the cluster", func() error {
				m.live()
				if len(m.containers(cluster, "")) == 0 {
					return fmt.Errorf("none")
				}
				return nil
			})
			m.publish(cancel, jobs.OperationCancel, "", map[string]any{"operation_id": started.Data.OperationID})
			m.await(create, jobs.OperationCancelledEv)
			m.rest(cluster, create, cancel)
		}},
	}
}

// mortal is a program that may die, and its portal.
type mortal struct {
	*program
	po *portal
}

// live starts the program again when it is gone.
func (m *mortal) live() {
	m.t.Helper()
	select {
	case <-m.exited:
		m.restartWith()
	default:
	}
}

// publish publishes until JetStream has the request; the same id makes sure
// that it is one.
func (m *mortal) publish(id string, kind jobs.KindName, cluster string, data any) {
	m.t.Helper()
	body, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "test/portal", "type": "pgforeman.v1." + string(kind), "subject": cluster, "data": data,
	})
	require.NoError(m.t, err)
	eventually(m.t, 3*time.Minute, "the publication of "+id, func() error {
		m.live()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_, err := m.po.js.Publish(ctx, "pgforeman.v1.request."+m.po.tenant+"."+string(kind), body)
		return err
	})
}

// await waits for an event of a request; another end of it fails the test.
func (m *mortal) await(id string, typ jobs.EventType) jobs.Event {
	m.t.Helper()
	var found jobs.Event
	eventually(m.t, 5*time.Minute, string(typ)+" of "+id, func() error {
		m.live()
		last := "nothing told"
		for _, e := range m.po.told(id) {
			last = e.Type + ": " + e.Data.Message
			switch e.Type {
			case jobs.EventTypeName(typ):
				found = e
				return nil
			case jobs.EventTypeName(jobs.OperationFailedEv), jobs.EventTypeName(jobs.OperationRejected):
				m.t.Fatalf("%s ended otherwise: %s %+v", id, last, e.Data.Error)
			}
		}
		return fmt.Errorf("last event: %s", last)
	})
	return found
}

// rest checks what must be when everything has come to rest.
func (m *mortal) rest(cluster string, requests ...string) {
	m.t.Helper()
	eventually(m.t, time.Minute, "nothing of the cluster to be left", func() error {
		m.live()
		if left := leftoversOf(m.t, m.program, cluster); left != "" {
			return fmt.Errorf("left: %s", left)
		}
		return nil
	})
	for _, id := range requests {
		m.po.checkOrder(id)
	}
}

// TestKilledAtEveryBoundary kills the program with SIGKILL before and after the
// commits and side effects of operations on the real Engine, and lets it start
// again: everything ends as if it had never died. A run without a kill counts
// the boundaries; then a sample of them is taken, spread evenly, or all of them
// with PGFOREMAN_CHAOS_KILLS=all (make chaos).
func TestKilledAtEveryBoundary(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Docker and minutes")
	}
	bin, err := buildFailpoints()
	require.NoError(t, err)
	p := startProgramOf(t, bin)
	m := &mortal{p, openPortal(t, p, "acme")}
	n := 0
	for _, l := range lives() {
		points := m.pass(l, n)
		n++
		t.Logf("%s: %d boundaries", l.name, len(points))
		require.Greater(t, len(points), 20, "the failure points are not compiled in")
		for _, at := range sample(len(points)) {
			began := time.Now()
			passed := m.pass(l, n, "PGFOREMAN_FAILPOINT_KILL="+strconv.Itoa(at))
			n++
			t.Logf("%s: killed at %q, at rest after %.1f s", l.name, passed[len(passed)-1], time.Since(began).Seconds())
			require.Len(t, passed, at, "the program did not die where it should")
		}
	}
}

// pass starts the program with an environment, runs a life, and gives the
// boundaries that the first process passed.
func (m *mortal) pass(l life, n int, env ...string) []string {
	m.t.Helper()
	log := filepath.Join(m.t.TempDir(), "points")
	m.signal(syscall.SIGTERM)
	m.restartWith(append(env, "PGFOREMAN_FAILPOINT_LOG="+log)...)
	l.run(m, n)
	raw, err := os.ReadFile(log)
	require.NoError(m.t, err)
	return strings.Split(strings.TrimSpace(string(raw)), "\n")
}

// sample picks boundaries: all of them, or two.
func sample(passed int) []int {
	if os.Getenv("PGFOREMAN_CHAOS_KILLS") == "all" {
		all := make([]int, passed)
		for i := range all {
			all[i] = i + 1
		}
		return all
	}
	return []int{max(passed/6, 1), passed / 2}
}
