package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs/pki"
)

// natsDeployment is a NATS server that runs with the shipped configuration, and
// with a second tenant made the way tenants.conf says: a copy of the block.
type natsDeployment struct {
	t     *testing.T
	url   string
	ca    []byte
	store string                   // folder of the streams
	keys  map[string]nkeys.KeyPair // by the variable that has the public key
}

func startNATSDeployment(t *testing.T) *natsDeployment {
	t.Helper()
	return startNATSDeploymentWith(t, func(main string) string { return main })
}

// startNATSDeploymentWith starts one whose main part was edited.
func startNATSDeploymentWith(t *testing.T, edit func(main string) string) *natsDeployment {
	t.Helper()
	dir := writeNATSConfig(t, func(tenants string) string { return tenants })
	d := &natsDeployment{t: t, keys: map[string]nkeys.KeyPair{}, store: filepath.Join(dir, "store")}
	d.setEnvironment(dir)
	main := filepath.Join(dir, "nats-server.conf")
	text, err := os.ReadFile(main)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(main, []byte(edit(string(text))), 0o600))

	opts, err := server.ProcessConfigFile(filepath.Join(dir, "nats-server.conf"))
	require.NoError(t, err)
	opts.NoLog, opts.NoSigs = true, true
	srv, err := server.NewServer(opts)
	require.NoError(t, err)
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	require.True(t, srv.ReadyForConnections(30*time.Second), "the server is not ready")
	d.url = srv.ClientURL()
	return d
}

// writeNATSConfig copies the configuration, with a tenant acme beside default.
func writeNATSConfig(t *testing.T, edit func(tenants string) string) string {
	t.Helper()
	dir := t.TempDir()
	main, err := os.ReadFile("../deployments/nats/nats-server.conf")
	require.NoError(t, err)
	tenants, err := os.ReadFile("../deployments/nats/tenants.conf")
	require.NoError(t, err)
	acme := strings.NewReplacer("default", "acme", "DEFAULT", "ACME").Replace(string(tenants))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nats-server.conf"), main, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tenants.conf"), []byte(edit(string(tenants)+acme)), 0o600))
	return dir
}

func (d *natsDeployment) setEnvironment(dir string) {
	t := d.t
	authority, err := pki.NewAuthority("nats", time.Now())
	require.NoError(t, err)
	cert, key, err := authority.Issue(pki.CertRequest{
		CommonName: "nats", DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, time.Now())
	require.NoError(t, err)
	d.ca = authority.CertPEM

	for name, content := range map[string][]byte{"CERT": cert, "KEY": key, "CA": d.ca} {
		path := filepath.Join(dir, strings.ToLower(name)+".pem")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		t.Setenv("PGFOREMAN_NATS_"+name, path)
	}
	t.Setenv("PGFOREMAN_NATS_LISTEN", "127.0.0.1:-1")
	t.Setenv("PGFOREMAN_NATS_MONITOR", "127.0.0.1:-1")
	t.Setenv("PGFOREMAN_NATS_STORE", filepath.Join(dir, "store"))
	t.Setenv("PGFOREMAN_NATS_STORE_KEY", "0123456789abcdef0123456789abcdef")
	for _, role := range []string{
		"WORKER", "OPERATOR", "SYSTEM",
		"DEFAULT_PORTAL", "DEFAULT_SUBSCRIBER", "DEFAULT_SETUP", "ACME_PORTAL", "ACME_SUBSCRIBER", "ACME_SETUP",
	} {
		pair, err := nkeys.CreateUser()
		require.NoError(t, err)
		public, err := pair.PublicKey()
		require.NoError(t, err)
		d.keys[role] = pair
		t.Setenv("PGFOREMAN_NKEY_"+role, public)
	}
}

// as connects in a role, with the private inbox that the configuration gives it.
func (d *natsDeployment) as(role string) *natsUser {
	d.t.Helper()
	inbox := nats.InboxPrefix[:len(nats.InboxPrefix)-1]
	if i := strings.LastIndex(role, "_"); !strings.HasSuffix(role, "WORKER") && !strings.HasSuffix(role, "PORTAL") {
		inbox += "_" + strings.ToLower(role[i+1:])
	}
	return d.dial(d.keys[role], inbox)
}

func (d *natsDeployment) dial(pair nkeys.KeyPair, inbox string) *natsUser {
	d.t.Helper()
	u := &natsUser{t: d.t, refused: make(chan error, 16)}
	conn, err := d.tryDial(pair, nats.CustomInboxPrefix(inbox), nats.ErrorHandler(
		func(_ *nats.Conn, _ *nats.Subscription, err error) {
			select {
			case u.refused <- err:
			default:
			}
		}))
	require.NoError(d.t, err)
	d.t.Cleanup(conn.Close)
	u.conn = conn
	return u
}

func (d *natsDeployment) tryDial(pair nkeys.KeyPair, more ...nats.Option) (*nats.Conn, error) {
	public, err := pair.PublicKey()
	require.NoError(d.t, err)
	roots := x509.NewCertPool()
	require.True(d.t, roots.AppendCertsFromPEM(d.ca))
	options := append([]nats.Option{
		nats.Nkey(public, pair.Sign),
		nats.Secure(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}),
		nats.Timeout(30 * time.Second),
		nats.MaxReconnects(0),
	}, more...)
	return nats.Connect(d.url, options...)
}

// natsUser is a connection in a role; refused gets what the server refuses it.
type natsUser struct {
	t       *testing.T
	conn    *nats.Conn
	refused chan error
}

// mayPublish tells whether the server lets the role publish to subject. What it
// lets through has no reply subject and an empty body, which nothing acts on.
func (u *natsUser) mayPublish(subject string) bool {
	u.t.Helper()
	require.NoError(u.t, u.conn.Publish(subject, nil))
	return !u.wasRefused(subject)
}

func (u *natsUser) maySubscribe(subject string) bool {
	u.t.Helper()
	sub, err := u.conn.SubscribeSync(subject)
	require.NoError(u.t, err)
	refused := u.wasRefused(subject)
	if !refused {
		require.NoError(u.t, sub.Unsubscribe())
	}
	return !refused
}

// wasRefused waits for the server's answer to all that was sent before. The
// client hands errors to its handler in order but after the answer to a ping,
// so what was refused is told apart from what was not by a subject that every
// role is refused.
func (u *natsUser) wasRefused(subject string) bool {
	u.t.Helper()
	const never = "nobody.may"
	require.NoError(u.t, u.conn.Publish(never, nil))
	refused := false
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		select {
		case err := <-u.refused:
			require.ErrorIs(u.t, err, nats.ErrPermissionViolation)
			if strings.Contains(err.Error(), never) {
				return refused
			}
			require.Contains(u.t, err.Error(), subject)
			refused = true
		case <-ctx.Done():
			u.t.Fatalf("no answer to %q: %v", subject, u.conn.LastError())
		}
	}
}

// request sends and waits for the one answer.
func (u *natsUser) request(subject string, data []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return u.conn.RequestWithContext(ctx, subject, data)
}

// setUp makes a tenant's copy of the events stream, the way README.md says.
func (u *natsUser) setUp(tenant string) {
	u.t.Helper()
	config, err := os.ReadFile("../deployments/nats/tenant-events.json")
	require.NoError(u.t, err)
	config = bytes.ReplaceAll(config, []byte("default"), []byte(tenant))
	answer, err := u.request("$JS.API.STREAM.CREATE.PGFOREMAN_EVENTS", config)
	require.NoError(u.t, err)
	if bytes.Contains(answer.Data, []byte(`"error"`)) {
		require.NoError(u.t, errors.New(string(answer.Data)))
	}
}
