package store

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// Options configure a Store.
type Options struct {
	// DSN is a PostgreSQL connection string, as a URL or as key=value pairs.
	DSN string
	// Keyring seals the clusters' secrets; without one, only methods that
	// touch secrets fail.
	Keyring *Keyring
	// MaxConns bounds the connections, beside two for leases; 0 means 10.
	MaxConns int
	// Quotas limit what the clusters of a tenant are given together.
	Quotas jobs.Quotas
	// Instance is the pgforeman that this is, named in the events' source;
	// empty means "default".
	Instance string
	// CallTimeout bounds every call, so that a database that hangs is told from
	// one that works; 0 means 15 s.
	CallTimeout time.Duration
}

// Store keeps the state of one pgforeman instance. It is safe for concurrent
// use; Close ends it.
type Store struct {
	pool    *pgxpool.Pool
	q       *dbsqlc.Queries
	leases  *pgxpool.Pool   // beside pool: nothing that is slow makes leases run out
	qLease  *dbsqlc.Queries // on leases
	keys    *Keyring
	quotas  jobs.Quotas
	source  string
	timeout time.Duration

	calls  chan *call // see update.go
	stop   context.CancelFunc
	closed <-chan struct{}
	done   sync.WaitGroup
}

// keepAlive finds the end of an idle connection within 25 s.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}

// leaseConns renew the steps' leases and the duty's, one each, and wait for nothing
// else that is asked of the database.
const leaseConns = 2

// pingTimeout bounds the ping of a connection that was idle for a second.
const pingTimeout = 2 * time.Second

// Open makes a Store. It does not wait for the database: a Store whose database
// is away answers jobs.ErrUnavailable until it is back. The schema must have
// been brought up to date by Migrate.
func Open(ctx context.Context, o Options) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		return nil, dsnError(err)
	}
	if o.MaxConns == 0 {
		o.MaxConns = 10
	}
	if o.Instance == "" {
		o.Instance = "default"
	}
	if o.CallTimeout == 0 {
		o.CallTimeout = 15 * time.Second
	}
	cfg.MaxConns = int32(o.MaxConns)
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	}
	// A connection whose other end vanished without a word: an idle one is found
	// out by keepalives, one that is to be used by a ping that does not wait
	// longer than this; the next one of the pool is taken then.
	cfg.ConnConfig.DialFunc = (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext
	if cfg.PingTimeout == 0 {
		cfg.PingTimeout = pingTimeout
	}
	for name, value := range map[string]string{
		"application_name": "pgforeman",
		"timezone":         "UTC",
		// Whoever waits for a lock must see what was committed meanwhile,
		// whatever the server's default is.
		"default_transaction_isolation": "read committed",
		// A worker that is suspended in the middle of a transaction must not
		// hold its locks for as long as it sleeps.
		"idle_in_transaction_session_timeout": "10s",
		"statement_timeout":                   "30s",
	} {
		if _, given := cfg.ConnConfig.RuntimeParams[name]; !given {
			cfg.ConnConfig.RuntimeParams[name] = value
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open the state database: %w", err)
	}
	cfg = cfg.Copy()
	cfg.MaxConns, cfg.MinConns, cfg.MinIdleConns = leaseConns, 0, 0
	leases, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("open the state database: %w", err)
	}
	running, stop := context.WithCancel(context.Background())
	s := &Store{
		pool: pool, q: dbsqlc.New(pool), leases: leases, qLease: dbsqlc.New(leases), keys: o.Keyring, quotas: o.Quotas, source: "pgforeman/" + o.Instance,
		timeout: o.CallTimeout, calls: make(chan *call), stop: stop, closed: running.Done(),
	}
	for range committers {
		s.done.Go(func() { s.commitCalls(running) })
	}
	return s, nil
}

// Close ends the store: calls that are under way are carried out first.
func (s *Store) Close() {
	s.stop()
	s.done.Wait()
	s.pool.Close()
	s.leases.Close()
}

// Ping tells whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return translate("reach the state database", s.pool.Ping(ctx))
}

// bound limits one call.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// maxTries is how often a transaction is tried that the database gave up for
// the sake of another, or that found a row changed.
const maxTries = 5

// transact runs fn in a transaction, again when that may help. fn must not keep
// anything of a run that ended in an error.
func (s *Store) transact(ctx context.Context, doing string, fn func(context.Context, *dbsqlc.Queries) error) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var err error
	for try := 1; try <= maxTries; try++ {
		err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return fn(ctx, s.q.WithTx(tx)) })
		if !again(err) {
			break
		}
		select {
		case <-ctx.Done():
			return translate(doing, ctx.Err())
		case <-time.After(time.Duration(rand.IntN(try*10)+1) * time.Millisecond):
		}
	}
	return translate(doing, err)
}
