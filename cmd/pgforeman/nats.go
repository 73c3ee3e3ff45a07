package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"github.com/vcs-iaas/pgforeman/jobs/client"
)

// natsIdentity is how a connection proves who it is.
type natsIdentity struct {
	creds string // credentials file, or a file that holds an NKey seed
	nkey  string // NKey seed file
	ca    string // authority of the server's certificate
}

// options are the options of every connection: it never gives up.
func (id natsIdentity) options(name string) ([]nats.Option, error) {
	opts := []nats.Option{nats.Name(name), nats.MaxReconnects(-1)}
	switch {
	case id.nkey != "":
		opt, err := nats.NkeyOptionFromSeed(id.nkey)
		if err != nil {
			return nil, fmt.Errorf("read the NKey seed file %s: %w", id.nkey, err)
		}
		opts = append(opts, opt)
	case id.creds != "":
		opt, err := credentials(id.creds)
		if err != nil {
			return nil, err
		}
		opts = append(opts, opt)
	}
	if id.ca != "" {
		opts = append(opts, nats.RootCAs(id.ca))
	}
	return opts, nil
}

// credentials reads a credentials file, which may hold a bare NKey seed:
// accounts of a server's configuration know no other.
func credentials(path string) (nats.Option, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the credentials file: %w", err)
	}
	if !strings.Contains(string(raw), "-----BEGIN") {
		opt, err := nats.NkeyOptionFromSeed(path)
		if err != nil {
			return nil, fmt.Errorf("read the credentials file %s: %w", path, err)
		}
		return opt, nil
	}
	return nats.UserCredentials(path), nil
}

// A worker's connection that is silent is pinged so often, and given up as dead
// when so many pings were not answered: a connection whose other end vanished
// without a word is made anew after 8 to 12 seconds (by default, nats.go takes
// six minutes).
const (
	natsPingInterval = 4 * time.Second
	natsPingsOut     = 2
)

// connectWorker opens the connection of a worker; it keeps trying when the
// server is away, at the start too.
func connectWorker(url string, id natsIdentity, log zerolog.Logger) (*nats.Conn, error) {
	opts, err := id.options("pgforeman worker")
	if err != nil {
		return nil, err
	}
	opts = append(opts, failpointsNATS()...)
	opts = append(opts, nats.RetryOnFailedConnect(true),
		nats.PingInterval(natsPingInterval), nats.MaxPingsOutstanding(natsPingsOut),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			e := log.Warn().Err(err)
			if sub != nil {
				e = e.Str("subject", sub.Subject)
			}
			e.Msg("nats error")
		}))
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, withCode(exitNoConnection, client.ConnectError(url, err))
	}
	return nc, nil
}
