// Package storetest gives tests a state database of their own. One PostgreSQL
// server serves all tests of a process: a container of the image that the
// clusters' nodes run too, with its data in memory and no care for durability.
// Every test gets a fresh database on it, copied from one that was migrated once.
//
// The container lives as long as something holds its standard input open: when
// the test process ends, however it ends, so does the container. A package whose
// tests use it calls Stop in its TestMain, so that it is gone before the process
// is:
//
//	func TestMain(m *testing.M) {
//		code := m.Run()
//		storetest.Stop()
//		os.Exit(code)
//	}
//
// With PGFOREMAN_TEST_DATABASE_URL set, that server is used instead; its user
// must be allowed to create databases.
package storetest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/vcs-iaas/pgforeman/store"
)

// startTimeout is generous: the machine may be busy with other tests.
const startTimeout = 2 * time.Minute

// DB is a test's own state database.
type DB struct {
	*store.Store
	// DSN leads to the database.
	DSN string
	// Keyring seals its secrets.
	Keyring *store.Keyring
}

// New makes a fresh, migrated database and a Store on it; both are gone when the
// test ends. It skips the test in -short mode.
func New(t testing.TB) *DB {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a PostgreSQL server")
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	s, err := shared.get(ctx)
	if err != nil {
		t.Fatalf("start a PostgreSQL server for the test: %v", err)
	}
	name := fmt.Sprintf("test_%s_%d", s.prefix, s.databases.Add(1))
	if err := s.exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+s.template); err != nil {
		t.Fatalf("create the test's database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		if err := s.exec(ctx, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	db := &DB{DSN: s.dsn(name), Keyring: newKeyring(t)}
	db.Store = db.Open(t, store.Options{})
	return db
}

// Open opens another Store on the same database, such as a second worker's; what
// o leaves out is filled in. It is closed when the test ends.
func (db *DB) Open(t testing.TB, o store.Options) *store.Store {
	t.Helper()
	if o.DSN == "" {
		o.DSN = db.DSN
	}
	if o.Keyring == nil {
		o.Keyring = db.Keyring
	}
	if o.Instance == "" {
		o.Instance = "test"
	}
	s, err := store.Open(context.Background(), o)
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Exec runs SQL on the database, to bring about or look at what no method does.
func (db *DB) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	conn, done := db.connect(t)
	defer done()
	if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Scan reads one row into the places that into points to.
func (db *DB) Scan(t testing.TB, sql string, into ...any) {
	t.Helper()
	conn, done := db.connect(t)
	defer done()
	if err := conn.QueryRow(context.Background(), sql).Scan(into...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func (db *DB) connect(t testing.TB) (*pgx.Conn, func()) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), db.DSN)
	if err != nil {
		t.Fatalf("connect to the test's database: %v", err)
	}
	return conn, func() { _ = conn.Close(context.Background()) } // nothing depends on it
}

func newKeyring(t testing.TB) *store.Keyring {
	t.Helper()
	line, err := store.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	k, err := store.ParseKeyring(strings.NewReader(line))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Stop ends the server, if there is one.
func Stop() { shared.stop() }
