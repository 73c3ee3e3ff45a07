package integration

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// TestCancelAtEveryStage makes a cluster for each stage of a creation and cancels
// it when that stage begins: whatever was made by then is undone, nothing of any
// of them is left, and their names are free. One that is over by then says so.
func TestCancelAtEveryStage(t *testing.T) {
	p := startProgram(t)
	po := openPortal(t, p, "acme")
	spec := map[string]any{"nodes": 2, "etcd_members": 1, "memory_mb": 256}
	name := func(stage int) string { return fmt.Sprintf("stage-%d", stage) }

	stages := 1
	for stage := 1; stage <= stages; stage++ {
		id := fmt.Sprintf("create-%d", stage)
		po.publish(id, jobs.ClusterCreate, name(stage), spec)
		var at jobs.EventData
		eventually(t, 5*time.Minute, fmt.Sprintf("stage %d to begin", stage), func() error {
			last := "nothing told"
			for _, e := range po.told(id) {
				at, last = e.Data, e.Data.Message
				switch {
				case e.Type == jobs.EventTypeName(jobs.OperationFailedEv), e.Type == jobs.EventTypeName(jobs.OperationRejected):
					t.Fatalf("%s: %s", id, last)
				case e.Data.Step != nil && e.Data.Step.Stage >= stage:
					return nil
				case e.Type == jobs.EventTypeName(jobs.OperationStarted) && stage == 1:
					return nil
				}
			}
			return fmt.Errorf("%s", last)
		})
		if stage == 1 {
			var op jobs.OperationView
			p.json(&op, "operation", "show", id, "--tenant", "acme")
			stages = len(op.Stages)
		}
		po.publish(fmt.Sprintf("cancel-%d", stage), jobs.OperationCancel, "", map[string]any{"operation_id": at.OperationID})
	}
	require.Greater(t, stages, 5, "a creation has several stages")

	cancelled, reached := 0, map[int]bool{}
	for stage := 1; stage <= stages; stage++ {
		id := fmt.Sprintf("create-%d", stage)
		end := po.await(id, 5*time.Minute, jobs.OperationCancelledEv, jobs.OperationSucceededEv, jobs.OperationFailedEv)
		po.checkOrder(id)
		switch end.Type {
		case jobs.EventTypeName(jobs.OperationCancelledEv):
			cancelled++
			reached[lastStage(p, id)] = true
			require.Empty(t, leftoversOf(t, p, name(stage)), "cancelled at stage %d", stage)
			_, _, code := p.run("cluster", "show", name(stage), "--tenant", "acme")
			require.Equal(t, 3, code, "the name is free again")
		default:
			require.Equal(t, jobs.EventTypeName(jobs.OperationSucceededEv), end.Type, "%+v", end.Data.Error)
			late := po.await(fmt.Sprintf("cancel-%d", stage), time.Minute, jobs.OperationRejected)
			require.Equal(t, jobs.CodeTooLate, late.Data.Error.Code)
			p.must("cluster", "delete", name(stage), "--tenant", "acme", "--yes", "--wait")
			require.Empty(t, leftoversOf(t, p, name(stage)))
		}
	}
	require.GreaterOrEqual(t, cancelled, stages-1, "but for the last stage, a cancel comes in time")
	// Some stages are over before the cancel that was meant for them arrives.
	t.Logf("cancelled at stages %v of %d", slices.Sorted(maps.Keys(reached)), stages)
	require.GreaterOrEqual(t, len(reached), stages/2, "the cancels came at the same few stages")
}

// lastStage is the last stage of which an operation began a step.
func lastStage(p *program, requestID string) int {
	p.t.Helper()
	var op jobs.OperationView
	p.json(&op, "operation", "show", requestID, "--tenant", "acme")
	last := 0
	for _, st := range op.Steps {
		if st.Attempt > 0 {
			last = max(last, st.Stage)
		}
	}
	return last
}
