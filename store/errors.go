package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// errStale: a guarded UPDATE found another state than was read; the transaction
// starts anew.
var errStale = errors.New("the row changed since it was read")

// errClosed: the store was closed.
var errClosed = fmt.Errorf("the store is closed: %w", jobs.ErrUnavailable)

// SQLSTATEs that decide something here; the rest of a class goes by its first
// two digits. Source: PostgreSQL 17, appendix A.
const (
	codeUniqueViolation      = "23505"
	codeSerializationFailure = "40001"
	codeDeadlock             = "40P01"
	codeIdleInTransaction    = "25P03" // this process was suspended in a transaction
	codeQueryCanceled        = "57014" // statement_timeout
	codeLockNotAvailable     = "55P03" // lock_timeout
	codeReadOnly             = "25006" // a standby: the database is failing over
	classConnection          = "08"
	classResources           = "53"  // disk, memory, connections
	classIntervention        = "57P" // shutdown, crash, cannot connect now
)

// translate makes a driver's error one of the domain: jobs.ErrNotFound where no
// row was found, jobs.ErrUnavailable (wrapped) where the database does not
// answer; it says what was being done. Errors of the domain pass as they are.
func translate(doing string, err error) error {
	var domain *jobs.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &domain), errors.Is(err, jobs.ErrLeaseLost), errors.Is(err, jobs.ErrNotFound),
		errors.Is(err, jobs.ErrUnavailable), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, pgx.ErrNoRows):
		return jobs.ErrNotFound
	case unavailable(err):
		return fmt.Errorf("%s: %w: %w", doing, jobs.ErrUnavailable, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// unavailable tells whether err says "not now" rather than "not so".
func unavailable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case codeIdleInTransaction, codeQueryCanceled, codeLockNotAvailable, codeReadOnly,
			codeSerializationFailure, codeDeadlock:
			return true
		default:
			return strings.HasPrefix(pg.Code, classConnection) || strings.HasPrefix(pg.Code, classResources) ||
				strings.HasPrefix(pg.Code, classIntervention)
		}
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed)
}

// again tells whether the same transaction may succeed when tried at once.
func again(err error) bool {
	return errors.Is(err, errStale) || hasCode(err, codeSerializationFailure) || hasCode(err, codeDeadlock)
}

func hasCode(err error, code string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == code
}
