package integration

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// TestWorkerKilledWhileCreating kills the program with SIGKILL again and again
// while it creates a cluster, and once while it deletes it: the operations end
// as if nothing had happened, and no step that was complete is run again.
func TestWorkerKilledWhileCreating(t *testing.T) {
	p := startProgram(t)
	po := openPortal(t, p, "acme")
	po.publish("create-1", jobs.ClusterCreate, "orders", map[string]any{"nodes": 2, "etcd_members": 1, "memory_mb": 512})
	for _, percent := range []int{5, 30, 60} {
		eventually(t, 5*time.Minute, fmt.Sprintf("the creation to reach %d %%", percent), func() error {
			told := po.told("create-1")
			if len(told) == 0 {
				return fmt.Errorf("nothing told")
			}
			if last := told[len(told)-1]; last.Data.Percent < percent {
				return fmt.Errorf("at %d %%: %s", last.Data.Percent, last.Data.Message)
			}
			return nil
		})
		p.signal(syscall.SIGKILL)
		p.start()
	}
	e := po.await("create-1", 8*time.Minute, jobs.OperationSucceededEv, jobs.OperationFailedEv)
	require.Equalf(t, jobs.EventTypeName(jobs.OperationSucceededEv), e.Type, "%+v", e.Data.Error)
	po.checkOrder("create-1")
	require.Len(t, p.containers("orders", "node"), 2)
	require.Len(t, p.containers("orders", "etcd"), 1)
	require.Len(t, p.containers("orders", "proxy"), 1)

	ended := map[string]bool{}
	for _, e := range po.told("create-1") {
		if e.Data.Step == nil {
			continue
		}
		step := e.Data.Step.Name + " " + e.Data.Step.Node
		switch e.Type {
		case jobs.EventTypeName(jobs.StepSucceededEv):
			ended[step] = true
		case jobs.EventTypeName(jobs.StepStarted):
			require.Falsef(t, ended[step], "step %s was started again after it had succeeded", step)
		}
	}

	po.publish("delete-1", jobs.ClusterDelete, "orders", nil)
	po.await("delete-1", time.Minute, jobs.OperationStarted)
	p.signal(syscall.SIGKILL)
	p.start()
	e = po.await("delete-1", 3*time.Minute, jobs.OperationSucceededEv, jobs.OperationFailedEv)
	require.Equalf(t, jobs.EventTypeName(jobs.OperationSucceededEv), e.Type, "%+v", e.Data.Error)
	require.Empty(t, leftoversOf(t, p, "orders"))
}

// TestRequestsThatEndBadly goes through what can be wrong with a request, each
// with a clear answer and nothing left behind: faults, a conflict, a cancelled
// creation, a port that is taken with its dead letter, replayed and discarded.
func TestRequestsThatEndBadly(t *testing.T) {
	p := startProgram(t)
	po := openPortal(t, p, "default")

	t.Run("every fault at once", func(t *testing.T) {
		po.publish("bad-1", jobs.ClusterCreate, "Bad_Name", map[string]any{
			"name": strings.Repeat("x", 200), "nodes": 0, "colour": "red", "memory_mb": "much",
		})
		e := po.await("bad-1", time.Minute, jobs.OperationRejected)
		fields := map[string]bool{}
		for _, f := range e.Data.Error.Faults {
			fields[f.Field] = true
		}
		for _, want := range []string{"name", "nodes", "colour", "memory_mb"} {
			require.Truef(t, fields[want], "fault of %s is missing in %v", want, e.Data.Error.Faults)
		}
		_, errs, code := p.run("cluster", "create", "UPPER", "--nodes", "77")
		require.NotZero(t, code)
		require.Contains(t, errs, "nodes")
	})
	t.Run("poison", func(t *testing.T) {
		for _, body := range []string{"not json", "{\"a\":", "\xff\xfe", strings.Repeat("[", 100000), strings.Repeat("n", 900<<10)} {
			po.publishRaw("pgforeman.v1.request.default.cluster.create", []byte(body))
		}
		eventually(t, time.Minute, "five dead letters", func() error {
			var dead []jobs.DeadLetterView
			p.json(&dead, "dead", "list")
			if len(dead) != 5 {
				return fmt.Errorf("%d dead letters", len(dead))
			}
			return nil
		})
		var dead []jobs.DeadLetterView
		p.json(&dead, "dead", "list")
		originals := map[string]bool{}
		for _, d := range dead {
			var full jobs.DeadLetter
			p.json(&full, "dead", "show", d.ID)
			originals[string(full.Original)] = true
			p.must("dead", "discard", d.ID, "--yes")
		}
		require.True(t, originals["not json"])
		require.True(t, originals["\xff\xfe"], "the original bytes are kept")
		require.True(t, originals[strings.Repeat("n", 900<<10)])
		p.json(&dead, "dead", "list")
		require.Empty(t, dead)
	})
	t.Run("cancelled", func(t *testing.T) {
		po.publish("c-1", jobs.ClusterCreate, "brief", map[string]any{"nodes": 2, "etcd_members": 1, "memory_mb": 512})
		started := po.await("c-1", time.Minute, jobs.OperationStarted)
		eventually(t, 3*time.Minute, "a container of the cluster", func() error {
			if len(p.containers("brief", "")) == 0 {
				return fmt.Errorf("none")
			}
			return nil
		})
		p.must("operation", "cancel", started.Data.OperationID, "--yes", "--wait")
		po.await("c-1", 3*time.Minute, jobs.OperationCancelledEv)
		po.checkOrder("c-1")
		require.Empty(t, leftoversOf(t, p, "brief"))
		_, errs, code := p.run("operation", "cancel", started.Data.OperationID, "--yes", "--wait")
		require.NotZero(t, code)
		require.Contains(t, errs, "too_late")
		_, _, code = p.run("cluster", "show", "brief")
		require.Equal(t, 3, code, "the name is free again")
	})
	t.Run("port taken, replayed, discarded", func(t *testing.T) {
		port := strings.TrimPrefix(p.httpAddr, "127.0.0.1:")
		create := []string{"cluster", "create", "clash", "--nodes", "1", "--etcd-members", "1", "--primary-port", port, "--wait"}
		_, errs, code := p.run(create...)
		require.Equal(t, 1, code)
		require.Contains(t, errs, port)
		var dead []jobs.DeadLetterView
		p.json(&dead, "dead", "list")
		require.Len(t, dead, 1)
		require.Equal(t, "clash", dead[0].Cluster)
		require.Contains(t, p.must("dead", "show", dead[0].ID), port)
		for range 2 { // replayed n times it has one effect
			_, _, code = p.run("dead", "replay", dead[0].ID, "--wait")
			require.Equal(t, 1, code, "the port is still taken")
			p.json(&dead, "dead", "list")
			require.Len(t, dead, 1)
		}
		p.must("dead", "discard", dead[0].ID, "--yes", "--wait")
		require.Empty(t, leftoversOf(t, p, "clash"))
		p.json(&dead, "dead", "list")
		require.Empty(t, dead)
	})
}
