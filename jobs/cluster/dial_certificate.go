package cluster

import (
	"context"
	"crypto/tls"
	_ "embed" // the scripts
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"github.com/vcs-iaas/pgforeman/jobs/patroni"
	"github.com/vcs-iaas/pgforeman/jobs/pki"
	"github.com/vcs-iaas/pgforeman/jobs/postgres"
)

// What runs inside of a container, given to its shell: images of an earlier
// release need not have it.
var (
	//go:embed inside/install.sh
	installScript string
	//go:embed inside/proxy_install.sh
	proxyInstallScript string
	//go:embed inside/proxy_served.sh
	proxyServedScript string
)

// install exchanges the files and lets the part read them. etcd reads them at
// every handshake (client/pkg/transport, TLSInfo.GetCertificate), Patroni and
// with it PostgreSQL when they are told to reload (patroni/__main__.py,
// reload_config), HAProxy takes them over its runtime socket.
func (d *dialer) install(ctx context.Context, s site, k keys, p part) error {
	serial, err := k.serial(p.name)
	if err != nil {
		return err
	}
	pem := slices.Concat(k[certOf(p.name)], k[keyOf(p.name)])
	err = d.change("exec install certificate", func() error {
		_, err := d.inside(ctx, s, p, installScript, pem, "certificates-"+serial)
		return err
	})
	if err != nil {
		return err
	}
	switch p.role {
	case roleNode:
		err = d.change("patroni reload", func() error {
			_, err := ofPatroni(ctx, d, s, k, p.name, func(ctx context.Context, c *patroni.Client) (patroni.Answer, error) {
				return c.Reload(ctx)
			})
			return err
		})
	case roleProxy:
		err = d.change("exec take certificate over", func() error {
			_, err := d.inside(ctx, s, p, proxyInstallScript, nil)
			return err
		})
	}
	return err
}

// inside runs a script in a part's container. A secret goes in by stdin alone.
func (d *dialer) inside(ctx context.Context, s site, p part, script string, stdin []byte, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, scriptTimeout)
	defer cancel()
	cmd := append([]string{"sh", "-c", script, "sh"}, args...)
	done, err := d.engine.Exec(ctx, s.container(p.name), cmd, stdin)
	if err != nil {
		return nil, explain(err)
	}
	if done.ExitCode != 0 {
		return nil, &scriptError{part: p.name, code: done.ExitCode, said: strings.TrimSpace(string(done.Stderr))}
	}
	return done.Stdout, nil
}

// scriptError says how a script in a container ended.
type scriptError struct {
	part string
	code int
	said string
}

func (e *scriptError) Error() string {
	return fmt.Sprintf("a script in %s ended with exit code %d: %s", e.part, e.code, e.said)
}

// served shakes hands at each door of the part. What a proxy has is asked of it:
// its doors are on the cluster's network alone.
func (d *dialer) served(ctx context.Context, s site, k keys, p part) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, scriptTimeout)
	defer cancel()
	switch p.role {
	case roleEtcd:
		return d.shown(ctx, s, k, p.name, map[int]handshake{etcdPort: handshakeTLS})
	case roleNode:
		return d.shown(ctx, s, k, p.name, map[int]handshake{patroniPort: handshakeTLS, postgresPort: postgres.Handshake})
	}
	out, err := d.inside(ctx, s, p, proxyServedScript, nil)
	if err != nil {
		return nil, err
	}
	return proxySerials(out)
}

// handshake opens a TLS connection.
type handshake func(ctx context.Context, address string, conf *tls.Config) (*tls.Conn, error)

func handshakeTLS(ctx context.Context, address string, conf *tls.Config) (*tls.Conn, error) {
	conn, err := (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return conn.(*tls.Conn), nil //nolint:forcetypeassert // tls.Dialer says so
}

// shown are the serial numbers of the certificates behind a part's ports.
func (d *dialer) shown(ctx context.Context, s site, k keys, name string, ports map[int]handshake) ([]string, error) {
	conf, err := s.tls(k, name)
	if err != nil {
		return nil, err
	}
	var out []string
	for port, open := range ports {
		at, err := d.address(ctx, s, name, port)
		if err != nil {
			return nil, err
		}
		conn, err := open(ctx, at, conf)
		if err != nil {
			return nil, fmt.Errorf("shake hands with %s at port %d: %w", name, port, err)
		}
		out = append(out, serialText(conn.ConnectionState().PeerCertificates[0].SerialNumber))
		_ = conn.Close() // it was for the handshake
	}
	return out, nil
}

var (
	pemBlock     = regexp.MustCompile(`(?s)-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----`)
	proxySerial  = regexp.MustCompile(`(?m)^Serial: ([0-9A-Fa-f]+)\s*$`)
	proxyInUse   = regexp.MustCompile(`(?m)^Status: Used\s*$`)
	errProxySays = errors.New("the proxy does not tell its certificates")
)

// proxySerials reads what proxy_served.sh prints.
func proxySerials(out []byte) ([]string, error) {
	at, checks := pemBlock.Find(out), proxySerial.FindSubmatch(out)
	if at == nil || checks == nil || !proxyInUse.Match(out) {
		return nil, errProxySays
	}
	cert, err := pki.Parse(at)
	if err != nil {
		return nil, err
	}
	n, ok := new(big.Int).SetString(string(checks[1]), 16)
	if !ok {
		return nil, errProxySays
	}
	return []string{serialText(cert.SerialNumber), serialText(n)}, nil
}
