package docker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestImagesWithoutTLS is the README's example: one etcd member, one node, and a
// restart of both on their data.
func TestImagesWithoutTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("starts containers")
	}
	t.Parallel()
	c := newImageCluster(t, false)
	c.startEtcd()
	c.start(c.nodeSpec("a"))
	primary := func() (string, error) { return c.sqlVia(c.named("a"), 5432, "disable", "select pg_is_in_recovery()") }
	c.await("f", primary)
	_, err := c.sql("a", "create table kept as select 42 as n")
	require.NoError(t, err)

	for _, short := range []string{"a", "etcd"} {
		require.NoError(t, c.engine.StopContainer(t.Context(), c.named(short), patience))
	}
	for _, short := range []string{"etcd", "a"} {
		require.NoError(t, c.engine.StartContainer(t.Context(), c.named(short)))
	}
	c.await("42", func() (string, error) { return c.sql("a", "select n from kept where not pg_is_in_recovery()") })
}

// TestImagesWithTLS runs a cluster as the product does and looks at it as its users,
// its administrator and an intruder would.
func TestImagesWithTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("starts containers")
	}
	t.Parallel()
	c := newImageCluster(t, true)
	c.startEtcd()
	c.enableEtcdAuth()
	c.start(c.nodeSpec("a", "ETCD_USERNAME=patroni"))
	c.start(c.spec(HAProxyImage, "proxy", "proxy"))
	c.await("f", func() (string, error) {
		return c.sqlVia(c.named("proxy"), 5000, "verify-ca", "select pg_is_in_recovery()")
	})
	_, err := c.sqlVia(c.named("proxy"), 5001, "verify-ca", "select 1")
	require.Error(t, err, "the replicas' port leads to the leader")

	// A node that joins later is found by its name alone.
	c.start(c.nodeSpec("b", "ETCD_USERNAME=patroni"))
	c.await("t", func() (string, error) {
		return c.sqlVia(c.named("proxy"), 5001, "verify-ca", "select pg_is_in_recovery()")
	})
	c.await("streaming", func() (string, error) { return c.sql("a", "select state from pg_stat_replication") })

	t.Run("settings", func(t *testing.T) { testImageSettings(t, c) })
	t.Run("refused", func(t *testing.T) { testImageRefusals(t, c) })
	t.Run("secrets", func(t *testing.T) { testImageSecrets(t, c) })
	t.Run("health", func(t *testing.T) {
		for short, check := range map[string][]string{
			"a":     {"healthcheck"},
			"etcd":  {"curl", "-fsS", "http://127.0.0.1:2381/health"},
			"proxy": {"curl", "-fsS", "http://127.0.0.1:8405/health"},
		} {
			_, err := c.run(short, check...)
			require.NoError(t, err)
		}
	})
	t.Run("switchover", func(t *testing.T) { testImageSwitchover(t, c) })
}

// enableEtcdAuth does what the worker does through etcd's API.
func (c *imageCluster) enableEtcdAuth() {
	c.t.Helper()
	etcdctl := func(args ...string) (string, error) {
		return c.run("etcd", append([]string{"etcdctl", "--endpoints=https://localhost:2379", "--cacert=/opt/secretpg/ca.pem"}, args...)...)
	}
	eventually(c.t, func() error { _, err := etcdctl("endpoint", "health"); return err })
	for _, command := range []string{
		"user add root:etcd-" + c.name, "user grant-role root root",
		"user add patroni:etcd-" + c.name, "role add patroni",
		"role grant-permission patroni --prefix=true readwrite /pgforeman/" + c.name + "/", "user grant-role patroni patroni",
		"auth enable",
	} {
		_, err := etcdctl(strings.Fields(command)...)
		require.NoError(c.t, err)
	}
}

func testImageSettings(t *testing.T, c *imageCluster) {
	for name, want := range map[string]string{
		"wal_level": "replica", "hot_standby": "on", "max_wal_senders": "20", "max_replication_slots": "20",
		"archive_mode": "on", "archive_command": "/bin/true", "wal_log_hints": "on", "max_wal_size": "10GB",
		"data_checksums": "on", "password_encryption": "scram-sha-256", "ssl": "on", "ssl_min_protocol_version": "TLSv1.2",
		"wal_retrieve_retry_interval": "200ms", "server_encoding": "UTF8", "fsync": "on", "synchronous_commit": "on",
		"unix_socket_directories": "/var/run/postgresql",
	} {
		for _, short := range []string{"a", "b"} {
			got, err := c.sql(short, "show "+name)
			require.NoError(t, err)
			require.Equal(t, want, got, "%s on %s", name, short)
		}
	}
	// A member's state there is up to a loop old.
	c.await(c.named("a")+" Leader running, "+c.named("b")+" Replica streaming", c.members)
}

// members asks as an administrator does: docker exec NODE patronictl list.
func (c *imageCluster) members() (string, error) {
	output, err := c.run("b", "patronictl", "-c", "/etc/patroni/patroni.yml", "list", "-f", "json")
	if err != nil {
		return "", err
	}
	var rows []struct{ Member, Role, State string }
	if err := json.Unmarshal([]byte(output), &rows); err != nil {
		return "", err
	}
	members := make([]string, 0, len(rows))
	for _, row := range rows {
		members = append(members, row.Member+" "+row.Role+" "+row.State)
	}
	slices.Sort(members)
	return strings.Join(members, ", "), nil
}

func testImageRefusals(t *testing.T, c *imageCluster) {
	_, err := c.sqlVia(c.named("a"), 5432, "disable", "select 1")
	require.ErrorContains(t, err, "no encryption")
	_, err = c.run("a", "psql", "-wXc", "select 1", "host="+c.named("b")+" user=postgres sslmode=require passfile=/dev/null")
	require.ErrorContains(t, err, "no password supplied")

	// Patroni's REST API and the statistics want a certificate of the cluster.
	trust := []string{"curl", "-fsS", "--cacert", "/opt/secretpg/ca.pem", "--connect-to"}
	for _, address := range []string{c.named("a") + ":8008", c.named("proxy") + ":8404"} {
		request := append(slices.Clone(trust), "::"+address, "https://localhost/metrics")
		_, err := c.run("b", request...)
		require.Error(t, err, address)
		// The server ends the connection right behind its alert: when curl is
		// still sending it sees the end alone (curl's codes 55 and 56).
		require.Regexp(t, `certificate required|exit code 5[56]`, err.Error())
		_, err = c.run("b", append(request, "--cert", "/opt/secretpg/node.pem", "--key", "/opt/secretpg/node.key")...)
		require.NoError(t, err, address)
	}
	// Strangers do not get into etcd: no password, no plaintext.
	_, err = c.run("etcd", "etcdctl", "--endpoints=https://localhost:2379", "--cacert=/opt/secretpg/ca.pem", "get", "--prefix", "/")
	require.ErrorContains(t, err, "user name is empty")
	_, err = c.run("b", "curl", "-fsS", "http://"+c.named("etcd")+":2379/version")
	require.Error(t, err)
}

func testImageSecrets(t *testing.T, c *imageCluster) {
	modes, err := c.run("a", "stat", "-Lc", "%a %u %n", "/etc/patroni/patroni.yml", "/opt/secretpg/pgpass", "/data/patroni")
	require.NoError(t, err)
	require.Equal(t, "600 999 /etc/patroni/patroni.yml\n600 999 /opt/secretpg/pgpass\n700 999 /data/patroni", modes)
	for _, short := range []string{"a", "b"} {
		logs, err := c.engine.Logs(t.Context(), c.named(short), 10_000)
		require.NoError(t, err)
		require.NotContains(t, logs, c.password)
		processes, err := c.run(short, "sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '")
		require.NoError(t, err)
		require.Contains(t, processes, "patroni")
		require.NotContains(t, processes, c.password)
	}
}

// testImageSwitchover moves the leader: the proxy follows, and the old leader becomes a replica.
func testImageSwitchover(t *testing.T, c *imageCluster) {
	eventually(t, func() error {
		_, err := c.run("a", "patronictl", "-c", "/etc/patroni/patroni.yml", "switchover", "--force",
			"--leader", c.named("a"), "--candidate", c.named("b"))
		return err
	})
	through := func(port int) func() (string, error) {
		return func() (string, error) {
			return c.sqlVia(c.named("proxy"), port, "verify-ca", "select coalesce(current_setting('cluster_name'), '') || pg_is_in_recovery() || host(inet_server_addr())")
		}
	}
	address := func(short string) string {
		output, err := c.run(short, "hostname", "-i")
		require.NoError(t, err)
		return output
	}
	c.await(fmt.Sprintf("%sfalse%s", c.name, address("b")), through(5000))
	c.await(fmt.Sprintf("%strue%s", c.name, address("a")), through(5001))
}
