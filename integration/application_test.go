package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// application is an application that holds nothing but the credentials.
type application struct {
	t     *testing.T
	creds jobs.Credentials
}

// openApplication asks for a cluster's credentials as its owner would.
func openApplication(t *testing.T, p *program, cluster string) *application {
	t.Helper()
	a := &application{t: t}
	p.json(&a.creds, "cluster", "credentials", cluster)
	require.NotEmpty(t, a.creds.Password)
	require.NotEmpty(t, a.creds.CAPEM)
	return a
}

// dial connects with certificates verified in full.
func (a *application) dial(ctx context.Context, uri string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(uri)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(a.creds.CAPEM)) {
		return nil, fmt.Errorf("ca_pem holds no certificate")
	}
	cfg.TLSConfig = &tls.Config{RootCAs: pool, ServerName: cfg.Host, MinVersion: tls.VersionTLS12}
	cfg.Fallbacks = nil
	cfg.ConnectTimeout = 5 * time.Second
	return pgx.ConnectConfig(ctx, cfg)
}

// primary runs SQL through the primary's port, once.
func (a *application) primary(sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := a.dial(ctx, a.creds.PrimaryURI)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.Background()) }()
	_, err = conn.Exec(ctx, sql, args...)
	return err
}

// ask reads one value through a port.
func (a *application) ask(uri, sql string, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := a.dial(ctx, uri)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.Background()) }()
	return conn.QueryRow(ctx, sql).Scan(into)
}

// mustPrimary runs SQL through the primary's port; a loss of the connection is
// tried again.
func (a *application) mustPrimary(sql string, args ...any) {
	a.t.Helper()
	eventually(a.t, 2*time.Minute, sql, func() error { return a.primary(sql, args...) })
}

// sees waits until a value read through a port is as wanted.
func (a *application) sees(uri, sql string, want any) {
	a.t.Helper()
	eventually(a.t, 2*time.Minute, sql, func() error {
		var got string
		if err := a.ask(uri, sql, &got); err != nil {
			return err
		}
		if got != fmt.Sprint(want) {
			return fmt.Errorf("%q, want %v", got, want)
		}
		return nil
	})
}
