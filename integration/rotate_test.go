package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/pki"
	"github.com/vcs-iaas/pgforeman/jobs/postgres"
	"github.com/vcs-iaas/pgforeman/store"
)

// longestGap is the write outage that a rotation may cost.
const longestGap = 2 * time.Second

// TestCertificatesAreRotated rotates the certificates of a cluster that is
// written to all the while, once as it comes and once with the program killed in
// its midst: every part shows a new one, nothing is restarted, no session is cut,
// no acknowledged row is lost, and clients trust the same authority as before.
func TestCertificatesAreRotated(t *testing.T) {
	p := startProgram(t)
	po := openPortal(t, p, "default")
	p.must("cluster", "create", "orders", "--nodes", "2", "--etcd-members", "3", "--memory-mb", "512", "--wait")
	app := openApplication(t, p, "orders")
	app.mustPrimary("CREATE TABLE rows (id bigint PRIMARY KEY)")
	r := &rotation{t: t, p: p, app: app}
	first, started := r.shown(), r.starts()
	require.Len(t, first, 3*2+2*2+1, "doors of etcd, nodes and the proxy")
	session, fresh := r.write(1, true, 20*time.Millisecond), r.write(2, false, 150*time.Millisecond)

	p.must("cluster", "rotate", "orders", "--certificates", "--wait")
	second := r.shown()
	r.allNew(first, second)

	po.publish("rotate-2", jobs.ClusterRotate, "orders", map[string]any{"certificates": true})
	for _, step := range []string{"certificates.issue", "certificates.nodes"} {
		eventually(t, 2*time.Minute, "the start of "+step, func() error {
			for _, e := range po.told("rotate-2") {
				if e.Data.Step != nil && e.Data.Step.Name == step {
					return nil
				}
			}
			return fmt.Errorf("%d events", len(po.told("rotate-2")))
		})
		p.signal(syscall.SIGKILL)
		p.start()
	}
	e := po.await("rotate-2", 3*time.Minute, jobs.OperationSucceededEv, jobs.OperationFailedEv)
	require.Equalf(t, jobs.EventTypeName(jobs.OperationSucceededEv), e.Type, "%+v", e.Data.Error)
	po.checkOrder("rotate-2")
	third := r.shown()
	r.allNew(second, third)
	r.allNew(first, third)

	session.end(t)
	fresh.end(t)
	t.Logf("%d rows of one session, longest gap %s; %d rows with a connection each, longest gap %s",
		len(session.acked), session.gap, len(fresh.acked), fresh.gap)
	require.Empty(t, session.errs, "a session was cut")
	require.Empty(t, fresh.errs, "a connection was refused")
	require.Less(t, session.gap, longestGap)
	require.Less(t, fresh.gap, longestGap)
	for _, w := range []*writer{session, fresh} {
		app.sees(app.creds.PrimaryURI, fmt.Sprintf("SELECT count(*)::text FROM rows WHERE id %% 2 = %d", w.nth%2), len(w.acked))
	}
	require.Equal(t, started, r.starts(), "something was restarted")
	r.isWell()
	require.Equal(t, app.creds, openApplication(t, p, "orders").creds, "what clients know stays as it is")
	r.stored(e.Data.ClusterID, third)

	replica := r.replica()
	docker(t, "restart", replica)
	r.isWell()
	require.Equal(t, third, r.shown(), "it comes back with its new certificate")
	require.NotEqual(t, started, r.starts())
}

// rotation is the cluster of the test.
type rotation struct {
	t   *testing.T
	p   *program
	app *application
}

// shown are the serial numbers of the certificates at every door of the cluster.
func (r *rotation) shown() map[string]string {
	r.t.Helper()
	out := map[string]string{}
	pool := x509.NewCertPool()
	require.True(r.t, pool.AppendCertsFromPEM([]byte(r.app.creds.CAPEM)))
	conf := &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS12}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	l := &locked{t: r.t, p: r.p, cluster: "orders"}
	outside := func(container string, port int, open func(context.Context, string, *tls.Config) (*tls.Conn, error)) {
		r.t.Helper()
		conn, err := open(ctx, l.published(container, port), conf)
		require.NoErrorf(r.t, err, "%s at port %d", container, port)
		out[fmt.Sprintf("%s:%d", container, port)] = conn.ConnectionState().PeerCertificates[0].SerialNumber.Text(16)
		_ = conn.Close()
	}
	direct := func(ctx context.Context, at string, conf *tls.Config) (*tls.Conn, error) {
		conn, err := (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", at)
		if err != nil {
			return nil, err
		}
		return conn.(*tls.Conn), nil
	}
	node, _ := l.first("node")
	inner := func(container, door string) {
		r.t.Helper()
		const s = "/opt/secretpg/"
		text := mustInside(r.t, node, "curl", "-sS", "--http1.1", "-o", "/dev/null", "-w", "%{certs}", "--max-time", "10",
			"--cacert", s+"ca.pem", "--cert", s+"node.pem", "--key", s+"node.key", "https://"+door)
		block, _ := pem.Decode([]byte(text[strings.Index(text, "-----BEGIN"):]))
		cert, err := x509.ParseCertificate(block.Bytes)
		require.NoError(r.t, err)
		out[container+" "+door] = cert.SerialNumber.Text(16)
	}
	part := func(container string) string {
		return docker(r.t, "inspect", "-f", `{{index .Config.Labels "io.pgforeman.node"}}`, container)
	}
	for _, c := range r.p.containers("orders", "node") {
		outside(c, 5432, postgres.Handshake)
		outside(c, 8008, direct)
	}
	for _, c := range r.p.containers("orders", "etcd") {
		outside(c, 2379, direct)
		inner(c, part(c)+":2380/members")
	}
	for _, c := range r.p.containers("orders", "proxy") {
		inner(c, part(c)+":8404/")
	}
	return out
}

func (r *rotation) allNew(before, after map[string]string) {
	r.t.Helper()
	require.Len(r.t, after, len(before))
	for door, serial := range before {
		require.NotEmpty(r.t, after[door], door)
		require.NotEqual(r.t, serial, after[door], "%s shows its old certificate", door)
	}
}

// starts tells since when every container and every PostgreSQL runs.
func (r *rotation) starts() map[string]string {
	r.t.Helper()
	out := map[string]string{}
	for _, c := range r.p.containers("orders", "") {
		out[c] = docker(r.t, "inspect", "-f", "{{.State.StartedAt}}", c)
	}
	for _, c := range r.p.containers("orders", "node") {
		out[c+" postgres"] = mustInside(r.t, c, "psql", "-U", "postgres", "-XAtc", "SELECT pg_postmaster_start_time()")
	}
	return out
}

// isWell waits until nothing is amiss, and replication streams over TLS.
func (r *rotation) isWell() {
	r.t.Helper()
	eventually(r.t, 2*time.Minute, "the cluster to be well", func() error {
		var now jobs.StatusView
		r.p.json(&now, "cluster", "status", "orders")
		if len(now.Trouble) > 0 || now.State != string(jobs.ClusterReady) {
			return fmt.Errorf("%s: %v", now.State, now.Trouble)
		}
		return nil
	})
	for _, node := range r.p.containers("orders", "node") {
		if node == r.replica() {
			continue
		}
		require.Equal(r.t, "1|t|streaming", mustInside(r.t, node, "psql", "-U", "postgres", "-XAtc", `SELECT count(*), bool_and(s.ssl), min(r.state)
			FROM pg_stat_replication r JOIN pg_stat_ssl s USING (pid) WHERE r.client_addr IS NOT NULL`))
	}
}

// replica is the container of the node that does not lead.
func (r *rotation) replica() string {
	r.t.Helper()
	for _, c := range r.p.containers("orders", "node") {
		if mustInside(r.t, c, "psql", "-U", "postgres", "-XAtc", "SELECT pg_is_in_recovery()") == "t" {
			return c
		}
	}
	r.t.Fatal("there is no replica")
	return ""
}

// stored compares what is kept of the certificates with what the doors show.
func (r *rotation) stored(id string, shown map[string]string) {
	r.t.Helper()
	keys, err := store.OpenKeyring(filepath.Join(r.p.dir, "key"))
	require.NoError(r.t, err)
	db, err := store.Open(r.t.Context(), store.Options{DSN: r.p.stateDSN(), Keyring: keys})
	require.NoError(r.t, err)
	defer db.Close()
	secrets, err := db.Secrets(r.t.Context(), id)
	require.NoError(r.t, err)
	for door, serial := range shown {
		part, _, _ := strings.Cut(door, ".")
		cert, err := pki.Parse(secrets[part+".pem"])
		require.NoError(r.t, err, door)
		require.Equal(r.t, cert.SerialNumber.Text(16), serial, door)
	}
}

// writer writes rows through the primary's port until it is told to end.
type writer struct {
	nth   int
	acked []int64
	errs  []error
	gap   time.Duration // the longest between two rows
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// write begins to write the numbers nth, nth+2, nth+4, …, in one session or with a
// connection each.
func (r *rotation) write(nth int, session bool, pace time.Duration) *writer {
	ctx, stop := context.WithCancel(context.Background())
	r.t.Cleanup(stop)
	w := &writer{nth: nth, stop: stop}
	w.done.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		last := time.Now()
		var conn *pgx.Conn
		for id := int64(nth); ctx.Err() == nil; id += 2 {
			err := r.insert(&conn, session, id)
			if err != nil {
				w.errs = append(w.errs, err)
			} else {
				w.acked = append(w.acked, id)
				w.gap = max(w.gap, time.Since(last))
				last = time.Now()
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		w.gap = max(w.gap, time.Since(last))
		if conn != nil {
			_ = conn.Close(context.Background())
		}
	})
	return w
}

func (r *rotation) insert(conn **pgx.Conn, session bool, id int64) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if *conn == nil {
		if *conn, err = r.app.dial(ctx, r.app.creds.PrimaryURI); err != nil {
			return err
		}
	}
	_, err = (*conn).Exec(ctx, "INSERT INTO rows VALUES ($1)", id)
	if err != nil || !session {
		_ = (*conn).Close(context.Background())
		*conn = nil
	}
	return err
}

func (w *writer) end(t *testing.T) {
	t.Helper()
	w.stop()
	w.done.Wait()
	require.Greater(t, len(w.acked), 20)
}
