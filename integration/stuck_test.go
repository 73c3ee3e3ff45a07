package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// TestAStuckCopyIsReported stops a replica in the middle of its copy of the data:
// while bytes flow the copy goes on for longer than the limit, when they stop it
// is ended, tried again, and becomes a dead letter which says how far it was. When
// the cause is gone, a replay goes on at that step.
func TestAStuckCopyIsReported(t *testing.T) {
	t.Setenv("PGFOREMAN_STALL_LIMIT", "15s")
	p := startProgram(t)
	po := openPortal(t, p, "acme")
	po.publish("create-1", jobs.ClusterCreate, "stuck", map[string]any{
		"nodes": 2, "etcd_members": 1, "memory_mb": 512, "synchronous_mode": "off",
	})
	leader, replica := startedNode(p, "stuck-1"), startedNode(p, "stuck-2")
	docker(t, "pause", replica)
	eventually(t, 2*time.Minute, "the leader to take writes", func() error {
		out, err := tryDocker("exec", leader, "psql", "-U", "postgres", "-Atc", "SELECT pg_is_in_recovery()")
		if err == nil && out != "f" {
			err = fmt.Errorf("in recovery: %s", out)
		}
		return err
	})
	// Enough to copy that the copy can be caught in the middle.
	docker(t, "exec", leader, "psql", "-U", "postgres", "-qc",
		"CREATE TABLE bulk AS SELECT i, repeat(md5(i::text), 30) AS t FROM generate_series(1, 600000) i")
	docker(t, "update", "--cpus", "0.2", replica) // a slow copy
	docker(t, "unpause", replica)
	eventually(t, 5*time.Minute, "the copy to be under way", func() error {
		last := "nothing told"
		for _, e := range po.told("create-1") {
			o := e.Data.Progress
			if e.Data.Step == nil || e.Data.Step.Name != "node.basebackup" || o == nil {
				continue
			}
			last = o.Message
			if o.Unit == "bytes" && o.Done > 0 {
				return nil
			}
		}
		return fmt.Errorf("%s", last)
	})
	docker(t, "pause", replica)
	failed := po.await("create-1", 5*time.Minute, jobs.OperationFailedEv, jobs.OperationSucceededEv)
	require.Equal(t, jobs.EventTypeName(jobs.OperationFailedEv), failed.Type, "the copy had ended before it could be stopped")
	require.Equal(t, jobs.CodeStepTimeout, failed.Data.Error.Code)
	require.Contains(t, failed.Data.Error.Message, "no progress for 15s; last seen: stuck-2: ")

	var dead []jobs.DeadLetterView
	p.json(&dead, "dead", "list", "--tenant", "acme")
	require.Len(t, dead, 1)
	var letter jobs.DeadLetter
	p.json(&letter, "dead", "show", dead[0].ID, "--tenant", "acme")
	require.Equal(t, "node.basebackup", letter.Step.Name)
	require.Equal(t, "stuck-2", letter.Step.Node)
	require.Len(t, letter.Attempts, 3)
	for _, a := range letter.Attempts {
		require.False(t, a.EndedAt.IsZero())
		require.Contains(t, a.Error, "no progress for 15s")
		require.Contains(t, a.Observation, "stuck-2: ") // how much is copied, or that its container is paused
	}
	require.Contains(t, p.must("dead", "show", dead[0].ID, "--tenant", "acme"), "dead replay")

	before := attemptsOf(p, "create-1")
	docker(t, "update", "--cpus", "2", replica)
	docker(t, "unpause", replica)
	p.must("dead", "replay", dead[0].ID, "--tenant", "acme", "--wait")
	po.await("create-1", 5*time.Minute, jobs.OperationSucceededEv)
	po.checkOrder("create-1")
	for step, attempt := range attemptsOf(p, "create-1") {
		if before[step].done {
			require.Equal(t, before[step].number, attempt.number, "%s had been done before the replay", step)
		}
	}
	p.must("cluster", "delete", "stuck", "--tenant", "acme", "--yes", "--wait")
	require.Empty(t, leftoversOf(t, p, "stuck"))
}

// startedNode waits for the container of a node and gives its name.
func startedNode(p *program, node string) string {
	p.t.Helper()
	var name string
	p.eventually(3*time.Minute, "the container of "+node, func() error {
		name = docker(p.t, "ps", "--format", "{{.Names}}", "--filter", "status=running",
			"--filter", "label=io.pgforeman.instance="+p.instance(), "--filter", "label=io.pgforeman.node="+node)
		if name == "" || strings.Contains(name, "\n") {
			return fmt.Errorf("running: %q", name)
		}
		return nil
	})
	return name
}

// runs is how often a step of an operation was begun.
type runs struct {
	number int
	done   bool
}

// attemptsOf gives the attempts of each step of a request's operation.
func attemptsOf(p *program, requestID string) map[string]runs {
	p.t.Helper()
	var op jobs.OperationView
	p.json(&op, "operation", "show", requestID, "--tenant", "acme")
	out := map[string]runs{}
	for _, s := range op.Steps {
		out[s.Name+" "+s.Node] = runs{s.Attempt, s.State == string(jobs.StepSucceeded)}
	}
	return out
}
