package postgres_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/vcs-iaas/pgforeman/jobs/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRealCluster asks two real nodes everything that this package can ask. The
// Patroni client and the dynamic configuration are tried along the way.
func TestRealCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Docker")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := newTestCluster(ctx, t)
	first := c.startNode(ctx, "a")
	await(ctx, t, "the first node leads", func() error { return is(first.patroni.IsPrimary(ctx)) })
	second := c.startNode(ctx, "b")
	login := postgres.Login{User: "postgres", Password: superPassword}
	primary := first.open(t, login)
	await(ctx, t, "the second node streams", func() error { return is(second.patroni.IsReplica(ctx)) })
	standby := second.open(t, login)

	t.Run("patroni", func(t *testing.T) { testPatroni(ctx, t, first, second) })
	t.Run("replication", func(t *testing.T) { testReplication(ctx, t, second.name, primary, standby) })
	t.Run("probe", func(t *testing.T) { testProbe(ctx, t, primary, standby) })
	t.Run("roles", func(t *testing.T) { testRoles(ctx, t, first, primary, standby) })
	t.Run("databases", func(t *testing.T) { testDatabases(ctx, t, primary) })
	t.Run("the log holds no secret", func(t *testing.T) {
		logs, err := c.engine.Logs(ctx, first.name, 100_000)
		require.NoError(t, err)
		require.True(t, strings.Contains(logs, "CREATE DATABASE"), "log_statement is on")
		for _, secret := range []string{"SCRAM-SHA-256$", "app-secret", superPassword} {
			require.False(t, strings.Contains(logs, secret), "the log contains %s", secret)
		}
	})
	t.Run("who is refused", func(t *testing.T) {
		_, err := first.open(t, postgres.Login{User: "postgres", Password: "wrong"}).InRecovery(ctx)
		require.ErrorIs(t, err, postgres.ErrAuth)
		require.NotContains(t, err.Error(), "wrong")

		other := first
		other.postgres.ServerName = second.name
		_, err = other.open(t, login).InRecovery(ctx)
		require.ErrorIs(t, err, postgres.ErrIdentity)

		plain := first
		plain.postgres.TLS = nil
		_, err = plain.open(t, login).InRecovery(ctx)
		require.ErrorIs(t, err, postgres.ErrAuth, "plain text is refused")
	})
}

func testPatroni(ctx context.Context, t *testing.T, first, second testNode) {
	status, err := first.patroni.Status(ctx)
	require.NoError(t, err)
	require.True(t, status.IsPrimary() && status.Running())
	require.Equal(t, first.name, status.Patroni.Name)
	await(ctx, t, "Patroni records both nodes", func() error {
		cluster, err := first.patroni.Cluster(ctx)
		if err != nil {
			return err
		}
		leader, _ := cluster.Leader()
		member, _ := cluster.Member(second.name)
		return is(leader.Name == first.name && member.Role == "sync_standby" && !member.Lag.Unknown, nil)
	})
	config, err := first.patroni.Config(ctx)
	require.NoError(t, err)
	require.Contains(t, string(config), `"maximum_lag_on_failover": 1048576`)
}

func testReplication(ctx context.Context, t *testing.T, name string, primary, standby *postgres.DB) {
	for db, want := range map[*postgres.DB]bool{primary: false, standby: true} {
		got, err := db.InRecovery(ctx)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	await(ctx, t, "a standby streams", func() error {
		rows, err := primary.Replication(ctx)
		if err != nil || len(rows) != 1 {
			return is(false, err)
		}
		row := rows[0]
		require.Equal(t, name, row.Name)
		return is(row.State == "streaming" && row.Replayed > 0 && row.LagBytes >= 0 && row.SyncState == "sync", nil)
	})
	none, err := standby.Replication(ctx)
	require.NoError(t, err)
	require.Empty(t, none)

	receiver, err := standby.WALReceiver(ctx)
	require.NoError(t, err)
	require.Equal(t, "streaming", receiver.Status)
	require.NotEmpty(t, receiver.Slot)
	require.Positive(t, receiver.Flushed)
	receiver, err = primary.WALReceiver(ctx)
	require.NoError(t, err)
	require.Empty(t, receiver.Status)

	copies, err := primary.Basebackups(ctx)
	require.NoError(t, err)
	require.Empty(t, copies)
	for name, want := range map[string]string{
		"wal_level": "replica", "max_wal_size": "10GB", "max_wal_senders": "20", "shared_buffers": "128MB", "archive_mode": "on",
		"wal_log_hints": "on", "wal_retrieve_retry_interval": "200ms", "max_connections": "100", "search_path": `"it's", public`,
	} {
		got, err := primary.Setting(ctx, name)
		require.NoError(t, err)
		require.Equal(t, want, got, name)
	}
	_, err = primary.Setting(ctx, "nonsense")
	require.Error(t, err)
	require.NoError(t, primary.Checkpoint(ctx))
}

func testProbe(ctx context.Context, t *testing.T, primary, standby *postgres.DB) {
	found, err := standby.ReadProbe(ctx, "one")
	require.NoError(t, err)
	require.False(t, found, "there is no table yet")
	var all sync.WaitGroup
	for range 5 { // the table is made by several at once
		all.Go(func() {
			if err := primary.WriteProbe(ctx, "one"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.NoError(t, standby.WaitProbe(ctx, "one"))
	require.ErrorIs(t, standby.WriteProbe(ctx, "two"), postgres.ErrReadOnly)

	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	err = standby.WaitProbe(short, "never")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "has not arrived")
}

func testRoles(ctx context.Context, t *testing.T, first testNode, primary, standby *postgres.DB) {
	const name = `my "app"`
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if err := primary.EnsureRole(ctx, name, "app-secret"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	works := func(password string) error {
		_, err := first.open(t, postgres.Login{User: name, Password: password}).InRecovery(ctx)
		return err
	}
	require.NoError(t, works("app-secret"))
	require.NoError(t, primary.EnsureRole(ctx, name, "app-secret-2"))
	require.NoError(t, works("app-secret-2"))
	require.ErrorIs(t, works("app-secret"), postgres.ErrAuth)
	require.NoError(t, primary.SetPassword(ctx, name, "app-secret-3"))
	require.NoError(t, works("app-secret-3"))

	for _, reserved := range []string{"postgres", "replicator", "pg_monitor"} {
		require.ErrorIs(t, primary.EnsureRole(ctx, reserved, "x"), postgres.ErrReserved)
		require.ErrorIs(t, primary.DropRole(ctx, reserved), postgres.ErrReserved)
	}
	require.ErrorIs(t, primary.EnsureRole(ctx, "other", ""), postgres.ErrPassword)
	require.ErrorIs(t, standby.EnsureRole(ctx, "other", "x"), postgres.ErrReadOnly)
	user := first.open(t, postgres.Login{User: name, Password: "app-secret-3"})
	require.ErrorIs(t, user.EnsureRole(ctx, "other", "x"), postgres.ErrAuth)
}

func testDatabases(ctx context.Context, t *testing.T, primary *postgres.DB) {
	const owner, name = `my "app"`, `the "db"; DROP`
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			await(ctx, t, "make a database", func() error { return primary.EnsureDatabase(ctx, name, owner) })
		})
	}
	all.Wait()
	require.ErrorIs(t, primary.DropRole(ctx, owner), postgres.ErrInUse)
	require.NoError(t, primary.EnsureRole(ctx, "second", "app-secret"))
	require.NoError(t, primary.EnsureDatabase(ctx, name, "second"), "another owner takes over")
	require.NoError(t, primary.DropRole(ctx, owner))
	require.Error(t, primary.EnsureDatabase(ctx, "orphan", "nobody-at-all"))
	require.ErrorIs(t, primary.EnsureDatabase(ctx, "template1", "second"), postgres.ErrReserved)
	require.ErrorIs(t, primary.DropDatabase(ctx, "postgres"), postgres.ErrReserved)
	for range 2 {
		require.NoError(t, primary.DropDatabase(ctx, name))
		require.NoError(t, primary.DropRole(ctx, "second"))
	}
	require.Error(t, primary.EnsureDatabase(ctx, strings.Repeat("x", 64), "postgres"))
}
