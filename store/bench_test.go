package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/storetest"
)

// BenchmarkSteps claims and completes steps as an engine with nothing else to do
// would: one claimer, the results written as they come. An iteration is a step.
func BenchmarkSteps(b *testing.B) {
	db := storetest.New(b)
	b.ReportMetric(stepsPerSecond(b, db, "r", b.N), "steps/s")
}

// BenchmarkAMillionFinished measures the same with no history and with a million
// finished operations in the tables, in turns, and prints the ratio: 1.00 is as
// fast, 0.90 a tenth slower. An iteration is the whole comparison.
func BenchmarkAMillionFinished(b *testing.B) {
	const million, count = 1_000_000, 20_000
	empty, full := storetest.New(b), storetest.New(b)
	full.Exec(b, fmt.Sprintf(`INSERT INTO clusters (id, tenant, name, state, spec, deleted_at)
		SELECT gen_random_uuid(), 'acme', 'old-' || i, 'deleted', '{}', now() FROM generate_series(1, %d) i`, million))
	full.Exec(b, `INSERT INTO operations (id, tenant, request_id, request_hash, kind, cluster, cluster_id, source, actor, spec, state, stages, finished_at)
		SELECT gen_random_uuid(), tenant, name, '', 'cluster.create', name, id, '', '', '{}', 'succeeded', '{}', now() FROM clusters`)
	full.Exec(b, `INSERT INTO steps (operation_id, stage, name, node, state, weight)
		SELECT id, s, 'one.do', '', 'succeeded', 1 FROM operations, generate_series(0, 2) s`)
	full.Exec(b, "VACUUM ANALYZE")
	for i := range b.N {
		var none, history float64
		for turn := range 3 {
			request := fmt.Sprintf("r%d-%d-", i, turn)
			none += stepsPerSecond(b, empty, request, count)
			history += stepsPerSecond(b, full, request, count)
		}
		b.ReportMetric(none/3, "steps/s-without")
		b.ReportMetric(history/3, "steps/s-with")
		b.ReportMetric(history/none, "ratio")
	}
}

// stepsPerSecond runs n steps, made and started before the clock runs.
func stepsPerSecond(b *testing.B, db *storetest.DB, request string, n int) float64 {
	b.Helper()
	const perOperation = 10
	ctx := context.Background()
	wide := func(jobs.PlanInput) (jobs.Plan, error) {
		stage := jobs.Stage{Title: "all"}
		for i := range perOperation {
			stage.Steps = append(stage.Steps, jobs.Step{Name: "one.do", Node: fmt.Sprint(i)})
		}
		return jobs.Plan{stage}, nil
	}
	operations := (n + perOperation - 1) / perOperation
	for i := range operations {
		a := creation("acme", name(request, i), name("c"+request, i))
		a.Plan = wide
		_, err := db.Admit(ctx, a)
		require.NoError(b, err)
	}
	_, err := db.StartQueued(ctx, operations, 0, start)
	require.NoError(b, err)
	db.Exec(b, "VACUUM ANALYZE")
	b.ResetTimer()
	began := time.Now()

	free, failed := make(chan struct{}, 2000), atomic.Int64{}
	var running sync.WaitGroup
	for done := 0; done < operations*perOperation; {
		claimed, err := db.Claim(ctx, "w", min(500, cap(free)-len(free)), steps, lease)
		require.NoError(b, err)
		for _, c := range claimed {
			free <- struct{}{}
			running.Go(func() {
				defer func() { <-free }()
				if err := db.Update(ctx, c.Operation.ID, &c.Lease, succeed(c.Step.ID)); err != nil {
					failed.Add(1)
				}
			})
		}
		done += len(claimed)
	}
	running.Wait()
	require.Zero(b, failed.Load())
	return float64(operations*perOperation) / time.Since(began).Seconds()
}
