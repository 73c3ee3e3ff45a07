package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What a caller can tell apart. Everything else is wrapped as it came.
var (
	// ErrUnavailable says that no member answered in time, or that there is no
	// quorum. Trying again later may help.
	ErrUnavailable = errors.New("etcd is unavailable")
	// ErrAuth says that the user or password is wrong, or that the user may not do this.
	ErrAuth = errors.New("etcd refuses the credentials")
	// ErrNoLeader says that Patroni's leader key does not exist.
	ErrNoLeader = errors.New("no node holds the leader key")
)

// translate turns what the SDK returned into this package's sentinels. ctx is
// the caller's, whose own end is not the server's fault.
func translate(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	switch err = rpctypes.Error(err); {
	case isAny(err, rpctypes.ErrAuthFailed, rpctypes.ErrInvalidAuthToken, rpctypes.ErrPermissionDenied,
		rpctypes.ErrUserEmpty, rpctypes.ErrInvalidAuthMgmt, rpctypes.ErrAuthOldRevision):
		return fmt.Errorf("%w: %w", ErrAuth, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: no answer in time", ErrUnavailable)
	}
	switch code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	default:
		return err
	}
}

func isAny(err error, targets ...error) bool {
	for _, target := range targets {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func code(err error) codes.Code {
	var server rpctypes.EtcdError
	if errors.As(err, &server) {
		return server.Code()
	}
	return status.Code(err)
}
