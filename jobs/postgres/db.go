package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Endpoint is where a server is reached.
type Endpoint struct {
	// Address is host:port of a published port, e.g. 127.0.0.1:49153.
	Address string
	// ServerName is the name that the certificate must bear; empty means TLS.ServerName.
	ServerName string
	// TLS is nil for a server that speaks plain text.
	TLS *tls.Config
}

// Login is who connects. Password is a secret.
type Login struct {
	User     string
	Password string
	Database string // empty means postgres
}

const (
	// connectTimeout bounds one attempt to connect.
	connectTimeout = 5 * time.Second
	// connections is enough for a probe beside a statement that waits.
	connections = 2
)

// DB is a small pool of connections to one server. It is safe for concurrent use.
type DB struct {
	pool *pgxpool.Pool
}

// Open prepares a pool. It does no I/O; connections are made when needed and
// kept until Close.
func Open(endpoint Endpoint, login Login) (*DB, error) {
	conf, err := config(endpoint, login)
	if err != nil {
		return nil, fmt.Errorf("connect to postgresql at %s: %w", endpoint.Address, err)
	}
	// The context counts only for connections made at once, of which there are none.
	pool, err := pgxpool.NewWithConfig(context.Background(), conf)
	if err != nil {
		return nil, fmt.Errorf("connect to postgresql at %s: %w", endpoint.Address, err)
	}
	return &DB{pool: pool}, nil
}

// Close ends all connections and waits for those in use.
func (db *DB) Close() { db.pool.Close() }

func config(endpoint Endpoint, login Login) (*pgxpool.Config, error) {
	host, portText, err := net.SplitHostPort(endpoint.Address)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", portText, err)
	}
	if login.User == "" {
		return nil, errors.New("no user given")
	}
	// ParseConfig is the only way to a config and reads the environment; every
	// field that it could have filled from there is set below.
	conf, err := pgxpool.ParseConfig("host=127.0.0.1 sslmode=disable target_session_attrs=any")
	if err != nil {
		return nil, fmt.Errorf("defaults: %w", err)
	}
	conn := conf.ConnConfig
	conn.Host, conn.Port = host, uint16(port)
	conn.User, conn.Password, conn.Database = login.User, login.Password, login.Database
	if conn.Database == "" {
		conn.Database = "postgres"
	}
	conn.TLSConfig = nil
	if endpoint.TLS != nil {
		conn.TLSConfig = endpoint.TLS.Clone()
		if endpoint.ServerName != "" {
			conn.TLSConfig.ServerName = endpoint.ServerName
		}
	}
	conn.Fallbacks = nil // no second host, and never plain text after TLS
	conn.ValidateConnect = nil
	conn.ConnectTimeout = connectTimeout
	conn.RuntimeParams = map[string]string{"application_name": "pgforeman"}
	// No prepared statements: behind the proxy, a connection's server may change.
	conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	conf.MinConns, conf.MinIdleConns, conf.MaxConns = 0, 0, connections
	conf.MaxConnIdleTime = 30 * time.Second
	return conf, nil
}

// query reads all rows of a statement.
func query[T any](ctx context.Context, db *DB, what, sql string, row func(pgx.CollectableRow) (T, error), args ...any) ([]T, error) {
	rows, err := db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, translate(ctx, err))
	}
	list, err := pgx.CollectRows(rows, row)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, translate(ctx, err))
	}
	return list, nil
}

// value reads the one value of a statement that always gives one row.
func value[T any](ctx context.Context, db *DB, what, sql string, args ...any) (T, error) {
	var got T
	if err := db.pool.QueryRow(ctx, sql, args...).Scan(&got); err != nil {
		return got, fmt.Errorf("%s: %w", what, translate(ctx, err))
	}
	return got, nil
}

func (db *DB) exec(ctx context.Context, what, sql string, args ...any) error {
	if _, err := db.pool.Exec(ctx, sql, args...); err != nil {
		return fmt.Errorf("%s: %w", what, translate(ctx, err))
	}
	return nil
}
