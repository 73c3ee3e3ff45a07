package integration

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// TestClusterFromANATSMessage follows a cluster through its life as its users
// see it: a request, its events, the running cluster and its settings, the loss
// of the leader and of a proxy, the search for leaked secrets, the deletion.
func TestClusterFromANATSMessage(t *testing.T) {
	p := startProgram(t)
	po := openPortal(t, p, "acme")
	po.publish("req-1", jobs.ClusterCreate, "orders", map[string]any{
		"name": "orders", "nodes": 3, "memory_mb": 512,
		"parameters": map[string]any{"work_mem": "8MB"},
		"users":      []any{map[string]any{"name": "shop"}},
		"databases":  []any{map[string]any{"name": "shopdb", "owner": "shop"}},
	})
	ended := po.await("req-1", 8*time.Minute, jobs.OperationSucceededEv, jobs.OperationFailedEv, jobs.OperationRejected)
	require.Equalf(t, jobs.EventTypeName(jobs.OperationSucceededEv), ended.Type, "%s %+v", ended.Data.Message, ended.Data.Error)
	require.Equal(t, 100, ended.Data.Percent)
	po.checkOrder("req-1")
	ready := po.await("req-1", time.Second, jobs.ClusterReadyEv)
	require.NotNil(t, ready.Data.Endpoints)

	acme := func(args ...string) []string { return append(args, "--tenant", "acme") }
	app := &application{t: t}
	p.json(&app.creds, acme("cluster", "credentials", "orders")...)

	t.Run("inventory", func(t *testing.T) {
		require.Len(t, p.containers("orders", "node"), 3)
		require.Len(t, p.containers("orders", "etcd"), 3)
		require.Len(t, p.containers("orders", "proxy"), 1)
		var show jobs.ClusterView
		p.json(&show, acme("cluster", "show", "orders")...)
		require.Equal(t, "ready", show.State)
		require.Len(t, show.Nodes, 3)
		require.Equal(t, *ready.Data.Endpoints, show.Endpoints)
	})
	t.Run("settings", func(t *testing.T) {
		for name, want := range map[string]string{
			"wal_level": "replica", "hot_standby": "on", "max_wal_senders": "20", "max_replication_slots": "20",
			"archive_mode": "on", "wal_log_hints": "on", "max_wal_size": "10GB", "data_checksums": "on",
			"password_encryption": "scram-sha-256", "ssl": "on", "work_mem": "8MB",
		} {
			app.sees(app.creds.PrimaryURI, "SHOW "+name, want)
		}
	})
	t.Run("write and read", func(t *testing.T) {
		app.mustPrimary("CREATE TABLE rows (id int PRIMARY KEY)")
		app.mustPrimary("INSERT INTO rows SELECT generate_series(1, 100)")
		app.sees(app.creds.ReplicaURI, "SELECT count(*)::text FROM rows", 100)
		app.sees(app.creds.ReplicaURI, "SELECT pg_is_in_recovery()::text", "true")
		app.sees(app.creds.PrimaryURI, "SELECT pg_is_in_recovery()::text", "false")
		shop := &application{t: t}
		p.json(&shop.creds, acme("cluster", "credentials", "orders", "--user", "shop")...)
		require.Equal(t, "shop", shop.creds.Username)
		shop.sees(shop.creds.PrimaryURI, "SELECT current_database() || ' ' || current_user", shop.creds.Database+" shop")
	})
	t.Run("administrator", func(t *testing.T) {
		node := p.containers("orders", "node")[0]
		list := docker(t, "exec", node, "patronictl", "-c", "/etc/patroni/patroni.yml", "list")
		require.Contains(t, list, "Leader")
		require.Equal(t, 2, strings.Count(list, "streaming"), list)
		require.Equal(t, "1", docker(t, "exec", node, "psql", "-U", "postgres", "-Atc", "SELECT 1"))
	})
	t.Run("status", func(t *testing.T) {
		var status jobs.StatusView
		p.json(&status, acme("cluster", "status", "orders")...)
		require.Empty(t, status.Trouble)
		streaming := 0
		for _, part := range status.Parts {
			if part.Streaming == "streaming" {
				streaming++
				require.NotEmpty(t, part.ReplayLSN)
				require.Equal(t, "streaming", part.Receiver)
			}
		}
		require.Equal(t, 2, streaming)
		require.Contains(t, p.must(acme("cluster", "status", "orders")...), "streaming")
	})
	t.Run("secrets", func(t *testing.T) { searchSecrets(t, p, po, "orders", []string{app.creds.Password}) })
	t.Run("duplicate", func(t *testing.T) {
		po.publish("req-2", jobs.ClusterCreate, "orders", map[string]any{"name": "orders"})
		e := po.await("req-2", time.Minute, jobs.OperationRejected, jobs.OperationAccepted)
		require.Equal(t, jobs.EventTypeName(jobs.OperationRejected), e.Type)
		require.Equal(t, jobs.CodeNameTaken, e.Data.Error.Code)
	})
	t.Run("leader killed", func(t *testing.T) { killLeader(t, p, po, app, "orders") })
	t.Run("proxy killed", func(t *testing.T) {
		docker(t, "kill", p.containers("orders", "proxy")[0])
		app.mustPrimary("INSERT INTO rows VALUES (1000)")
	})
	t.Run("deleted", func(t *testing.T) {
		po.publish("req-9", jobs.ClusterDelete, "orders", map[string]any{})
		e := po.await("req-9", 3*time.Minute, jobs.OperationSucceededEv, jobs.OperationFailedEv, jobs.OperationRejected)
		require.Equalf(t, jobs.EventTypeName(jobs.OperationSucceededEv), e.Type, "%s %+v", e.Data.Message, e.Data.Error)
		po.checkOrder("req-9")
		require.Empty(t, leftoversOf(t, p, "orders"))
		_, _, code := p.run(acme("cluster", "show", "orders")...)
		require.Equal(t, 3, code)
		var list []jobs.ClusterView
		p.json(&list, acme("cluster", "list")...)
		require.Empty(t, list)
	})
}

// TestSmallestCluster creates one node with one etcd member through the command
// line, and deletes it.
func TestSmallestCluster(t *testing.T) {
	p := startProgram(t)
	out := p.must("cluster", "create", "small", "--nodes", "1", "--etcd-members", "1", "--wait")
	require.Contains(t, out, "ready")
	require.Len(t, p.containers("small", ""), 3)
	app := openApplication(t, p, "small")
	require.NoError(t, app.primary("CREATE TABLE t (id int)"), "the first write after ready")
	p.must("cluster", "delete", "small", "--yes", "--wait")
	require.Empty(t, leftoversOf(t, p, "small"))
}

// leftoversOf lists what is left of a cluster of the program.
func leftoversOf(t *testing.T, p *program, cluster string) string {
	t.Helper()
	return leftovers(t, "io.pgforeman.instance="+p.instance(), "io.pgforeman.cluster="+cluster)
}

// killLeader kills the leader's container with SIGKILL and watches what an
// application, a portal and an operator see of it.
func killLeader(t *testing.T, p *program, po *portal, app *application, cluster string) {
	t.Helper()
	var before jobs.ClusterView
	p.json(&before, "cluster", "show", cluster, "--tenant", po.tenant)
	leader := ""
	for _, n := range before.Nodes {
		if n.Role == "leader" {
			leader = n.Name
		}
	}
	require.NotEmpty(t, leader)
	container := ""
	for _, c := range p.containers(cluster, "node") {
		if docker(t, "inspect", "-f", `{{index .Config.Labels "io.pgforeman.node"}}`, c) == leader {
			container = c
		}
	}
	require.NotEmpty(t, container)
	app.mustPrimary("INSERT INTO rows VALUES (500)")
	began := time.Now()
	docker(t, "kill", container)
	app.mustPrimary("INSERT INTO rows VALUES (501)")
	t.Logf("port 5000 takes writes again %.1f s after the leader was killed", time.Since(began).Seconds())
	app.sees(app.creds.PrimaryURI, "SELECT count(*)::text FROM rows WHERE id IN (500, 501)", 2)
	eventually(t, 3*time.Minute, "the killed node to be a streaming replica", func() error {
		var now jobs.StatusView
		out, errs, code := p.run("cluster", "status", cluster, "--tenant", po.tenant, "-o", "json")
		if code != 0 {
			return fmt.Errorf("cluster status: %s", errs)
		}
		if err := json.Unmarshal([]byte(out), &now); err != nil {
			return err
		}
		for _, n := range now.Nodes {
			if n.Name == leader && n.Role == "leader" {
				return fmt.Errorf("%s is still shown as the leader", leader)
			}
		}
		if len(now.Trouble) > 0 || now.State != "ready" {
			return fmt.Errorf("state %s, trouble %v", now.State, now.Trouble)
		}
		return nil
	})
	eventually(t, time.Minute, "the events of the failover", func() error {
		for _, typ := range []jobs.EventType{jobs.NodeDown, jobs.ClusterLeaderChanged, jobs.ClusterDegradedEv, jobs.ClusterRecovered} {
			if n := len(po.facts(cluster, typ)); n != 1 {
				return fmt.Errorf("%s told %d times", typ, n)
			}
		}
		return nil
	})
}

// searchSecrets looks for the passwords in everything that others can read.
func searchSecrets(t *testing.T, p *program, po *portal, cluster string, known []string) {
	t.Helper()
	secrets := append([]string(nil), known...)
	nodes := p.containers(cluster, "node")
	for _, c := range append(nodes, p.containers(cluster, "etcd")...) {
		for _, f := range strings.Fields(docker(t, "exec", c, "sh", "-c", "ls /opt/secretpg/*-password 2>/dev/null || true")) {
			if s := docker(t, "exec", c, "cat", f); s != "" {
				secrets = append(secrets, s)
			}
		}
	}
	require.GreaterOrEqual(t, len(secrets), 4, "the search needs the generated passwords")
	places := map[string]string{"program's log": p.log()}
	for _, c := range p.containers(cluster, "") {
		places["docker inspect "+c] = docker(t, "inspect", c)
		places["docker logs "+c] = docker(t, "logs", c)
		places["processes of "+c] = docker(t, "top", c, "-eo", "pid,args")
	}
	ps, err := exec.Command("ps", "axww", "-o", "args").CombinedOutput()
	require.NoError(t, err)
	places["process list"] = string(ps)
	po.mu.Lock()
	events, err := json.Marshal(po.events)
	po.mu.Unlock()
	require.NoError(t, err)
	places["events"] = string(events)
	for where, text := range places {
		require.NotEmpty(t, text, where)
		for i, s := range secrets {
			require.Greater(t, len(s), 15)
			require.NotContainsf(t, text, s, "secret %d stands in: %s", i, where)
		}
	}
}
