package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema is how far a database's schema is.
type Schema struct {
	Version int64 // of the database; 0 = empty
	Wanted  int64 // the newest that this binary knows
}

// Current tells whether this binary can work with the schema: it is as new as
// the binary's, or newer (migrations only ever add while old workers run).
func (s Schema) Current() bool { return s.Version >= s.Wanted }

// Migrate brings the schema up to date and says where it ended. Any number of
// processes may call it at once: an advisory lock lets one work and the others
// find it done.
func Migrate(ctx context.Context, dsn string) (Schema, error) {
	return withMigrations(ctx, dsn, func(p *goose.Provider) error {
		if _, err := p.Up(ctx); err != nil {
			return translate("migrate the state database", err)
		}
		return nil
	})
}

// Status says how far the schema is, and migrates nothing; an empty database gets
// the table in which the version is kept.
func Status(ctx context.Context, dsn string) (Schema, error) {
	return withMigrations(ctx, dsn, func(*goose.Provider) error { return nil })
}

func withMigrations(ctx context.Context, dsn string, do func(*goose.Provider) error) (Schema, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return Schema{}, dsnError(err)
	}
	db := stdlib.OpenDB(*cfg)
	defer func() { _ = db.Close() }() // nothing is left to lose
	// Goose answers "cannot connect" in words of its own; ask first.
	if err := db.PingContext(ctx); err != nil {
		return Schema{}, translate("reach the state database", err)
	}
	provider, err := provider(db)
	if err != nil {
		return Schema{}, fmt.Errorf("read the migrations: %w", err)
	}
	if err := do(provider); err != nil {
		return Schema{}, err
	}
	version, wanted, err := provider.GetVersions(ctx)
	if err != nil {
		return Schema{}, translate("read the schema's version", err)
	}
	return Schema{Version: version, Wanted: wanted}, nil
}

func provider(db *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker))
}
