package patroni

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
)

// What a caller can tell apart, beside *StatusError.
var (
	// ErrUnavailable says that Patroni did not answer: it is down, starting, or
	// too slow. Trying again later may help.
	ErrUnavailable = errors.New("patroni is unavailable")
	// ErrIdentity says that whoever answered could not prove to be the node.
	ErrIdentity = errors.New("the node's certificate is not valid")
)

// StatusError is an answer with an HTTP status that means refusal. Patroni
// explains itself in the body.
type StatusError struct {
	Method string
	Path   string
	Code   int
	Body   string // the beginning of what Patroni said
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("patroni answers %s %s with %d: %s", e.Method, e.Path, e.Code, e.Body)
}

// Code is the HTTP status inside an error of this package, or 0.
func Code(err error) int {
	var status *StatusError
	if errors.As(err, &status) {
		return status.Code
	}
	return 0
}

// translate turns a transport error into this package's sentinels.
func translate(ctx context.Context, err error) error {
	var certificate *tls.CertificateVerificationError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	case errors.As(err, &certificate):
		return fmt.Errorf("%w: %w", ErrIdentity, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}
