package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store"
)

// TestLockedByDefault takes a cluster as it comes, with no setting changed, and
// tries from outside what must not be possible. docs/security.md says which of
// its claims each part shows.
func TestLockedByDefault(t *testing.T) {
	p := startProgram(t, "--log-level", "trace")
	seen := watchProcesses(t)
	po := openPortal(t, p, "acme")
	rival := openPortal(t, p, "rival")
	po.publish("req-1", jobs.ClusterCreate, "orders", map[string]any{
		"nodes": 2, "etcd_members": 1, "memory_mb": 512,
		"users":     []any{map[string]any{"name": "shop"}},
		"databases": []any{map[string]any{"name": "shopdb", "owner": "shop"}},
		"labels":    map[string]any{"team": "orders"},
	})
	// Its port is taken: it ends in a dead letter, which the rest needs.
	po.publish("req-2", jobs.ClusterCreate, "clash", map[string]any{
		"nodes": 1, "etcd_members": 1, "memory_mb": 256, "primary_port": json.Number(strings.TrimPrefix(p.httpAddr, "127.0.0.1:")),
	})
	running := po.await("req-1", time.Minute, jobs.OperationStarted).Data.OperationID
	tryCancel(t, p, rival, running)
	ended := po.await("req-1", 8*time.Minute, jobs.OperationSucceededEv, jobs.OperationFailedEv, jobs.OperationRejected)
	require.Equalf(t, jobs.EventTypeName(jobs.OperationSucceededEv), ended.Type, "%s %+v", ended.Data.Message, ended.Data.Error)
	failed := po.await("req-2", 3*time.Minute, jobs.OperationSucceededEv, jobs.OperationFailedEv, jobs.OperationRejected)
	require.Equal(t, jobs.EventTypeName(jobs.OperationFailedEv), failed.Type)

	l := openLocked(t, p, "acme", ended.Data.ClusterID, failed.Data.ClusterID)
	t.Run("PostgreSQL", l.postgresDoors)
	t.Run("replication", l.replication)
	t.Run("Patroni", l.patroniDoors)
	t.Run("etcd", l.etcdDoors)
	t.Run("inside the network", l.networkDoors)
	t.Run("containers", l.containers)
	t.Run("program", l.programDoors)
	t.Run("tenancy", func(t *testing.T) { tryTenancy(t, p, rival, ended.Data.OperationID, failed.Data.OperationID) })
	t.Run("worker in a container", func(t *testing.T) { runWorkerImage(t, p) })
	t.Run("canary", func(t *testing.T) { l.canary(t, po, rival, seen) })
}

// locked is a cluster that is ready, with everything that its makers know and
// nobody else may.
type locked struct {
	t       *testing.T
	p       *program
	tenant  string
	cluster string
	id      string
	app     *application
	secrets map[string][]byte
	other   map[string][]byte // of the cluster that could not be made
}

func openLocked(t *testing.T, p *program, tenant, id, otherID string) *locked {
	t.Helper()
	l := &locked{t: t, p: p, tenant: tenant, cluster: "orders", id: id, app: &application{t: t}}
	p.json(&l.app.creds, "cluster", "credentials", l.cluster, "--tenant", tenant)

	keys, err := store.OpenKeyring(filepath.Join(p.dir, "key"))
	require.NoError(t, err)
	db, err := store.Open(t.Context(), store.Options{DSN: p.stateDSN(), Keyring: keys})
	require.NoError(t, err)
	defer db.Close()
	l.secrets, err = db.Secrets(t.Context(), id)
	require.NoError(t, err)
	l.other, err = db.Secrets(t.Context(), otherID)
	require.NoError(t, err)
	require.NotEmpty(t, l.other)
	for _, name := range []string{"ca.key", "password.superuser", "password.etcd-root", "user.app", "worker.key"} {
		require.NotEmptyf(t, l.secrets[name], "the cluster has no secret %s", name)
	}
	return l
}

// stateFile is what a file of the program's folder holds.
func (p *program) stateFile(name string) string {
	p.t.Helper()
	raw, err := os.ReadFile(filepath.Join(p.dir, name))
	require.NoError(p.t, err)
	return strings.TrimSpace(string(raw))
}

// stateDSN is the connection string of the program's state database.
func (p *program) stateDSN() string {
	p.t.Helper()
	return fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%s/postgres?sslmode=disable", p.stateFile("database-password"), p.stateFile("database-port"))
}

// stateContainer is the name of the state database's container.
func (p *program) stateContainer() string { return "pgforeman-" + p.instance() + "-state" }

// published is where a container's port is reached.
func (l *locked) published(container string, port int) string {
	l.t.Helper()
	for _, line := range strings.Fields(docker(l.t, "port", container, fmt.Sprintf("%d/tcp", port))) {
		if !strings.HasPrefix(line, "[") {
			return line
		}
	}
	l.t.Fatalf("port %d of %s is not published", port, container)
	return ""
}

// first is the first container of a role, and the name of its part.
func (l *locked) first(role string) (container, part string) {
	l.t.Helper()
	found := l.p.containers(l.cluster, role)
	require.NotEmpty(l.t, found, role)
	return found[0], docker(l.t, "inspect", "-f", `{{index .Config.Labels "io.pgforeman.node"}}`, found[0])
}

// inside runs a program in a container, as its user.
func inside(container string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", append([]string{"exec", container}, args...)...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("%s in %s: %w\n%s", args[0], container, err, text)
	}
	return text, nil
}

// mustInside is inside where the program has to succeed.
func mustInside(t *testing.T, container string, args ...string) string {
	t.Helper()
	out, err := inside(container, args...)
	require.NoError(t, err)
	return out
}
