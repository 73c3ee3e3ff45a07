package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// What a caller can tell apart. Everything else is wrapped as it came.
var (
	// ErrUnavailable says that the server did not answer, went away, or has no
	// connection left. Trying again later may help.
	ErrUnavailable = errors.New("postgresql is unavailable")
	// ErrNotReady says that the server is starting, or that what was asked is in
	// use for the moment. Trying again soon helps.
	ErrNotReady = errors.New("postgresql is not ready")
	// ErrAuth says that the server refuses the user or password, or what they may do.
	ErrAuth = errors.New("postgresql refuses the credentials")
	// ErrReadOnly says that the server is a standby.
	ErrReadOnly = errors.New("postgresql is read-only here")
	// ErrIdentity says that whoever answered could not prove to be the server.
	ErrIdentity = errors.New("the server's certificate is not valid")
	// ErrReserved says that a name belongs to PostgreSQL or to the cluster itself.
	ErrReserved = errors.New("the name is reserved")
	// ErrInUse says that something cannot be dropped because other things depend on it.
	ErrInUse = errors.New("other objects depend on it")
)

// SQLSTATE codes, from the manual's appendix A.
const (
	duplicateDatabase   = "42P04"
	duplicateObject     = "42710"
	duplicateSchema     = "42P06"
	duplicateTable      = "42P07"
	uniqueViolation     = "23505"
	readOnlyTransaction = "25006"
	objectInUse         = "55006"
	dependentObjects    = "2BP01"
)

// translate turns what pgx returned into this package's sentinels. ctx is the
// caller's, whose own end is not the server's fault.
func translate(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		if kind := kindOf(server.Code); kind != nil {
			return fmt.Errorf("%w: %w", kind, err)
		}
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	var (
		certificate *tls.CertificateVerificationError
		connect     *pgconn.ConnectError
		network     net.Error
	)
	switch {
	case errors.As(err, &certificate):
		return fmt.Errorf("%w: %w", ErrIdentity, err)
	case errors.As(err, &connect), errors.As(err, &network), pgconn.Timeout(err),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	default:
		return err
	}
}

func kindOf(code string) error {
	switch code {
	case "28000", "28P01", "42501":
		return ErrAuth
	case "57P03", objectInUse:
		return ErrNotReady
	case readOnlyTransaction:
		return ErrReadOnly
	case "57P01", "57P02", "57P05", "53300":
		return ErrUnavailable
	case dependentObjects:
		return ErrInUse
	}
	if strings.HasPrefix(code, "08") {
		return ErrUnavailable
	}
	return nil
}

// isCode says whether the server answered with one of the codes.
func isCode(err error, codes ...string) bool {
	var server *pgconn.PgError
	if !errors.As(err, &server) {
		return false
	}
	for _, code := range codes {
		if server.Code == code {
			return true
		}
	}
	return false
}

// passing says whether an error is one that waiting cures.
func passing(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, ErrNotReady)
}
