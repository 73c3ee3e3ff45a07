package store_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store"
)

func TestMigrateAtOnceAndStatus(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	db.Exec(t, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
	before, err := store.Status(ctx, db.DSN)
	require.NoError(t, err)
	require.Zero(t, before.Version)
	require.False(t, before.Current())
	none(t, atOnce(4, func(int) error { _, err := store.Migrate(ctx, db.DSN); return err }))
	after, err := store.Status(ctx, db.DSN)
	require.NoError(t, err)
	require.True(t, after.Current())
	require.Equal(t, before.Wanted, after.Version)
	admit(t, db.Store, creation("acme", "r1", "orders"))
}

func TestADatabaseThatIsAwayIsUnavailable(t *testing.T) {
	const nobody = "postgres://user:hunter2@127.0.0.1:1/none"
	ctx := context.Background()
	s, err := store.Open(ctx, store.Options{DSN: nobody, CallTimeout: 5 * time.Second})
	require.NoError(t, err, "the store opens before its database does")
	defer s.Close()
	_, claimErr := s.Claim(ctx, "w", 1, nil, time.Second)
	_, admitErr := s.Admit(ctx, creation("acme", "r", "c"))
	_, migrateErr := store.Migrate(ctx, nobody)
	for _, err := range []error{s.Ping(ctx), claimErr, admitErr, s.Update(ctx, unknownID(), nil, start), migrateErr} {
		require.ErrorIs(t, err, jobs.ErrUnavailable)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err = store.Open(ctx, store.Options{DSN: "postgres://user:hunter2@host:port"})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}

func TestConnectionsThatAreCutAreMadeAgain(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o := admit(t, db.Store, creation("acme", "r1", "orders"))
	cut := false
	err := db.Update(ctx, o.ID, nil, func(*jobs.Snapshot) error {
		if !cut {
			cut = true
			db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		}
		return nil
	})
	if err != nil { // it may have been read before the end was noticed
		require.ErrorIs(t, err, jobs.ErrUnavailable)
	}
	require.Eventually(t, func() bool { return db.Update(ctx, o.ID, nil, start) == nil }, 30*time.Second, 10*time.Millisecond)
}

func TestCloseLetsCallersGo(t *testing.T) {
	db := newDB(t)
	s := db.Open(t, store.Options{})
	o := admit(t, s, creation("acme", "r1", "orders"))
	s.Close()
	require.ErrorIs(t, s.Update(context.Background(), o.ID, nil, start), jobs.ErrUnavailable)
}

func TestKeyring(t *testing.T) {
	line, err := store.NewKey()
	require.NoError(t, err)
	k, err := store.ParseKeyring(strings.NewReader("# made today\n\n" + line))
	require.NoError(t, err)
	require.NotContains(t, k.String(), strings.Fields(line)[1])
	for title, text := range map[string]string{
		"empty": "", "no key": "k1", "not base64": "k1 %%%", "short": "k1 aGVsbG8=", "twice": line + line,
	} {
		_, err := store.ParseKeyring(strings.NewReader(text))
		require.Error(t, err, title)
		require.NotContains(t, err.Error(), "aGVsbG8=", title)
	}
}

func TestAKeyFileThatOthersMayReadIsRefused(t *testing.T) {
	line, err := store.NewKey()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(path, []byte(line), 0o600))
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o644: false} {
		require.NoError(t, os.Chmod(path, mode))
		_, err := store.OpenKeyring(path)
		if ok {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, "chmod 600")
		}
	}
}

// TestLeasesAreRenewedWhileEverythingElseWaits: questions that fill the pool must
// not make a worker lose its steps and its duty.
func TestLeasesAreRenewedWhileEverythingElseWaits(t *testing.T) {
	db := newDB(t)
	_, claimed := running(t, db.Store, "orders")
	s := db.Open(t, store.Options{MaxConns: 2})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	other, err := pgx.Connect(ctx, db.DSN)
	require.NoError(t, err)
	defer func() { _ = other.Close(context.Background()) }()
	tx, err := other.Begin(ctx)
	require.NoError(t, err)
	_, err = tx.Exec(ctx, "LOCK TABLE audit IN ACCESS EXCLUSIVE MODE")
	require.NoError(t, err)
	var asked sync.WaitGroup
	for range 4 {
		asked.Go(func() { _, _ = s.AuditTrail(ctx, "acme", "orders", 10) })
	}
	defer asked.Wait()
	defer cancel()
	require.Eventually(t, func() bool {
		var waiting int
		db.Scan(t, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()", &waiting)
		return waiting == 2
	}, 30*time.Second, 20*time.Millisecond)

	soon, done := context.WithTimeout(ctx, 5*time.Second)
	defer done()
	held, err := s.Renew(soon, claimed[0].Lease.Owner, []jobs.Lease{claimed[0].Lease}, time.Minute)
	require.NoError(t, err)
	require.Len(t, held, 1)
	mine, err := s.TakeDuty(soon, "foreman", "w1", time.Minute)
	require.NoError(t, err)
	require.True(t, mine)
	require.NoError(t, s.GiveUpDuty(soon, "foreman", "w1"))
	require.NoError(t, s.Release(soon, []jobs.Lease{claimed[0].Lease}))
}
