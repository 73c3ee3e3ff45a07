package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store"
)

// With a long history in the tables, what a worker does all the time must go by
// the indexes of unfinished rows: PostgreSQL counts the scans of whole tables.
func TestHistoryIsNotReadByHotQueries(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	db.Exec(t, `INSERT INTO clusters (id, tenant, name, state, spec, deleted_at)
		SELECT gen_random_uuid(), 'acme', 'old-' || i, 'deleted', '{}', now() FROM generate_series(1, 20000) i`)
	db.Exec(t, `INSERT INTO operations (id, tenant, request_id, request_hash, kind, cluster, cluster_id, source, actor, spec, state, stages, finished_at)
		SELECT gen_random_uuid(), tenant, name, '', 'cluster.create', name, id, '', '', '{}', 'succeeded', '{}', now() FROM clusters`)
	db.Exec(t, `INSERT INTO steps (operation_id, stage, name, node, state, weight)
		SELECT id, s, 'one.do', '', 'succeeded', 1 FROM operations, generate_series(0, 4) s`)
	db.Exec(t, "VACUUM ANALYZE")
	scans := func() map[string]int64 {
		counts := map[string]int64{}
		for _, table := range []string{"clusters", "operations", "steps"} {
			var n int64
			db.Scan(t, "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = '"+table+"'", &n)
			counts[table] = n
		}
		return counts
	}
	// A session's counts are certain to be told when it has ended.
	ended := func() bool {
		var n int
		db.Scan(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hot' AND datname = current_database()", &n)
		return n == 0
	}
	before := scans()

	hot := db.Open(t, store.Options{DSN: db.DSN + "?application_name=hot"})
	for i := range 5 {
		o, claimed := running(t, hot, name("c", i))
		held, err := hot.Renew(ctx, "w1", []jobs.Lease{claimed[0].Lease, claimed[1].Lease}, lease)
		require.NoError(t, err)
		require.Len(t, held, 2)
		_, err = hot.NextWake(ctx, time.Minute)
		require.NoError(t, err)
		_, err = hot.Overdue(ctx, 10)
		require.NoError(t, err)
		for _, c := range claimed {
			require.NoError(t, hot.Update(ctx, o.ID, &c.Lease, succeed(c.Step.ID)))
		}
		require.NoError(t, hot.Update(ctx, o.ID, nil, end(jobs.OperationSucceeded)))
		_, _, err = hot.Operation(ctx, "acme", o.ID)
		require.NoError(t, err)
		_, err = hot.LiveClusters(ctx)
		require.NoError(t, err)
		_, err = hot.Prune(ctx, time.Hour, 10)
		require.NoError(t, err)
	}
	hot.Close()
	require.Eventually(t, ended, 30*time.Second, 20*time.Millisecond)
	require.Equal(t, before, scans())
}
