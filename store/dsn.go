package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// errDSN is what is said of a connection string that cannot be read. The string
// itself is never told, nor any part of it: it holds a password, and where it
// cannot be read nobody knows which part is that.
var errDSN = errors.New("the state database's connection string cannot be read; it is like " +
	"postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full, with special characters percent-encoded, " +
	"or key=value pairs, with values that hold spaces in single quotes")

// dsnError tells what is wrong with a connection string, without it. Where it
// was taken apart, what pgx says of a part (the port, sslmode, a file of
// certificates) is told too.
func dsnError(err error) error {
	var parse *pgconn.ParseConfigError
	if !errors.As(err, &parse) {
		return errDSN
	}
	_, why, ok := strings.Cut(parse.Error(), "`"+": ")
	for _, known := range []string{"failed to configure TLS", "invalid port", "unknown target_session_attrs"} {
		if ok && strings.HasPrefix(why, known) {
			return fmt.Errorf("%w (%s)", errDSN, why)
		}
	}
	return errDSN
}
