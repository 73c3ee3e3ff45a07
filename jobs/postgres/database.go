package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// EnsureDatabase makes a database that owner owns, or hands an existing one to
// owner. CREATE DATABASE knows no transaction: dying in it leaves nothing.
//
// Errors: ErrReserved, ErrReadOnly, ErrNotReady while another session uses the
// template; a missing owner is the server's own error.
func (db *DB) EnsureDatabase(ctx context.Context, name, owner string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("make database: %w", err)
	}
	has, err := db.owner(ctx, name)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("make database %q", name)
	switch has {
	case owner:
		return nil
	case "":
		err = db.exec(ctx, what, "CREATE DATABASE "+quote(name)+" OWNER "+quote(owner))
		if !isCode(err, duplicateDatabase, uniqueViolation) {
			return err
		}
	}
	return db.exec(ctx, what, "ALTER DATABASE "+quote(name)+" OWNER TO "+quote(owner))
}

// DropDatabase drops a database and ends the sessions in it. No such database
// is a success. Errors: ErrReserved, ErrReadOnly, ErrNotReady.
func (db *DB) DropDatabase(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("drop database: %w", err)
	}
	return db.exec(ctx, fmt.Sprintf("drop database %q", name), "DROP DATABASE IF EXISTS "+quote(name)+" WITH (FORCE)")
}

// owner is the name of a database's owner, or nothing when there is no such database.
func (db *DB) owner(ctx context.Context, name string) (string, error) {
	rows, err := query(ctx, db, fmt.Sprintf("look for database %q", name),
		`SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = $1`, pgx.RowTo[string], name)
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return rows[0], nil
}
