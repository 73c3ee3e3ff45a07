package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// longestName is NAMEDATALEN-1; PostgreSQL silently cuts what is longer.
const longestName = 63

// checkName refuses what PostgreSQL would cut, or keeps for itself.
func checkName(name string) error {
	switch {
	case name == "" || len(name) > longestName || strings.ContainsRune(name, 0):
		return fmt.Errorf("name %q: it takes 1 to %d bytes, none of them zero", name, longestName)
	case name == "postgres" || name == "template0" || name == "template1" || name == "public" || name == "none" ||
		strings.HasPrefix(name, "pg_"):
		return fmt.Errorf("name %q: %w", name, ErrReserved)
	}
	return nil
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// EnsureRole makes a role that may log in with the password, and nothing else,
// or gives an existing one that password. It leaves a role that already has it
// untouched. Privileges that were granted otherwise stay.
//
// Errors: ErrReserved for the cluster's own roles, ErrPassword, ErrReadOnly,
// ErrAuth when the login is no superuser's.
func (db *DB) EnsureRole(ctx context.Context, name, password string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("make role: %w", err)
	}
	found, err := db.role(ctx, name)
	if err != nil {
		return err
	}
	switch {
	case found.super || found.replication:
		return fmt.Errorf("make role %q: %w: a role of the cluster itself has it", name, ErrReserved)
	case found.exists && found.login && matches(found.stored, password):
		return nil
	case found.exists:
		return db.setPassword(ctx, name, password, "ALTER ROLE %s LOGIN PASSWORD %s")
	}
	err = db.setPassword(ctx, name, password, "CREATE ROLE %s LOGIN PASSWORD %s")
	if isCode(err, duplicateObject, uniqueViolation) { // made by another meanwhile
		return db.EnsureRole(ctx, name, password)
	}
	return err
}

// SetPassword gives an existing role, also one of the cluster's own, a password.
func (db *DB) SetPassword(ctx context.Context, name, password string) error {
	found, err := db.role(ctx, name)
	if err != nil {
		return err
	}
	if found.exists && matches(found.stored, password) {
		return nil
	}
	return db.setPassword(ctx, name, password, "ALTER ROLE %s PASSWORD %s")
}

// DropRole drops a role. No such role is a success. Errors: ErrReserved; ErrInUse
// when it owns something or has privileges.
func (db *DB) DropRole(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("drop role: %w", err)
	}
	found, err := db.role(ctx, name)
	if err != nil {
		return err
	}
	if found.super || found.replication {
		return fmt.Errorf("drop role %q: %w: it is the cluster's own", name, ErrReserved)
	}
	return db.exec(ctx, fmt.Sprintf("drop role %q", name), "DROP ROLE IF EXISTS "+quote(name))
}

type role struct {
	exists, login, super, replication bool
	stored                            string // the password's verifier
}

func (db *DB) role(ctx context.Context, name string) (role, error) {
	rows, err := query(ctx, db, fmt.Sprintf("look for role %q", name),
		`SELECT rolcanlogin, rolsuper, rolreplication, coalesce(rolpassword, '') FROM pg_authid WHERE rolname = $1`,
		func(row pgx.CollectableRow) (role, error) {
			r := role{exists: true}
			err := row.Scan(&r.login, &r.super, &r.replication, &r.stored)
			return r, err
		}, name)
	if err != nil || len(rows) == 0 {
		return role{}, err
	}
	return rows[0], nil
}

// quietly keeps a statement out of the server's log and statistics.
const quietly = `
SET LOCAL log_statement = 'none';
SET LOCAL log_min_duration_statement = -1;
SET LOCAL log_min_error_statement = 'panic';
SET LOCAL log_duration = off;
SET LOCAL pg_stat_statements.track_utility = off;
SET LOCAL pgaudit.log = 'none'`

// setPassword runs a statement with the role's name and verifier put in. Utility
// statements take no parameters; the verifier's alphabet needs no escaping, and
// is checked to be it.
func (db *DB) setPassword(ctx context.Context, name, password, format string) error {
	what := fmt.Sprintf("set password of role %q", name)
	secret, err := Verifier(password)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if strings.ContainsAny(secret, `'\`) {
		return errors.New("the verifier has a quote")
	}
	err = pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, quietly, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, fmt.Sprintf(format, quote(name), "'"+secret+"'"), pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, translate(ctx, err))
	}
	return nil
}
