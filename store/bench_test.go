package store_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/storetest"
)

// BenchmarkSteps claims and completes steps as an engine with nothing else to do
// would: one claimer, the results written as they come. An iteration is a step.
func BenchmarkSteps(b *testing.B) {
	const perOperation = 10
	db, ctx := storetest.New(b), context.Background()
	wide := func(jobs.PlanInput) (jobs.Plan, error) {
		stage := jobs.Stage{Title: "all"}
		for i := range perOperation {
			stage.Steps = append(stage.Steps, jobs.Step{Name: "one.do", Node: fmt.Sprint(i)})
		}
		return jobs.Plan{stage}, nil
	}
	operations := (b.N + perOperation - 1) / perOperation
	for i := range operations {
		a := creation("acme", name("r", i), name("c", i))
		a.Plan = wide
		_, err := db.Admit(ctx, a)
		require.NoError(b, err)
	}
	_, err := db.StartQueued(ctx, operations, 0, start)
	require.NoError(b, err)
	db.Exec(b, "VACUUM ANALYZE")
	b.ResetTimer()

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
	b.ReportMetric(float64(operations*perOperation)/b.Elapsed().Seconds(), "steps/s")
}
