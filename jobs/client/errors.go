package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/vcs-iaas/pgforeman/jobs"
)

var (
	// ErrNoConnection says that the NATS server cannot be reached, or lets
	// nobody in with these credentials.
	ErrNoConnection = errors.New("no connection to NATS")
	// ErrNoStream says that the streams do not exist; a worker makes them when
	// it starts.
	ErrNoStream = errors.New("the streams of pgforeman do not exist on this server; start a worker (pgforeman dev, or pgforeman worker)")
	// ErrNoWorker says that no worker answers queries.
	ErrNoWorker = errors.New("no worker answers; is one running, and does it reach this NATS server (pgforeman dev status, pgforeman doctor)?")
	// ErrRefused says that the server does not allow this user what was tried.
	ErrRefused = errors.New("the NATS server does not allow it to this user")
)

// ConnectError says why there is no connection to a server or a list of them;
// never with the user, password or token that the addresses may hold.
func ConnectError(server string, err error) error {
	switch {
	case errors.Is(err, nats.ErrNoServers):
		return fmt.Errorf("%w at %s: nothing answers there; is pgforeman dev running, or is --server wrong?", ErrNoConnection, Redact(server))
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrNkeysNotSupported):
		return fmt.Errorf("%w at %s: it does not know this user; give the right --creds or --nkey", ErrNoConnection, Redact(server))
	}
	var inURL *url.Error // repeats the address
	if errors.As(err, &inURL) {
		err = inURL.Err
	}
	return fmt.Errorf("%w at %s: %w", ErrNoConnection, Redact(server), err)
}

// Redact takes users, passwords and tokens out of a list of URLs.
func Redact(servers string) string {
	list := strings.Split(servers, ",")
	for i, s := range list {
		u, err := url.Parse(strings.TrimSpace(s))
		switch {
		case err == nil && u.User != nil:
			u.User = nil // a token stands where the user does
			list[i] = u.String()
		case err != nil:
			list[i] = "(an address that is not a URL)"
		}
	}
	return strings.Join(list, ",")
}

// translate puts an error of nats.go into the SDK's words.
func (c *Client) translate(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, jetstream.ErrStreamNotFound),
		errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%s: %w", doing, ErrNoStream)
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%s: %w", doing, ErrNoWorker)
	case errors.Is(err, nats.ErrPermissionViolation):
		return fmt.Errorf("%s: %w", doing, ErrRefused)
	}
	if isTimeout(err) {
		// What the server refuses it does not answer; it says so on the side.
		if last := c.nc.LastError(); last != nil && errors.Is(last, nats.ErrPermissionViolation) {
			return fmt.Errorf("%s: %w", doing, ErrRefused)
		}
		if !c.nc.IsConnected() {
			return fmt.Errorf("%s: %w: %w", doing, ErrNoConnection, err)
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func isTimeout(err error) bool {
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded)
}

// IsNotFound tells whether err says that there is no such cluster, operation or
// dead letter.
func IsNotFound(err error) bool {
	var e *jobs.Error
	return errors.As(err, &e) && (e.Code == jobs.CodeUnknownCluster || e.Code == jobs.CodeUnknownOperation)
}
