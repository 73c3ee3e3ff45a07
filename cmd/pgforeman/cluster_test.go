package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

// orders is a cluster of two nodes.
func orders() jobs.ClusterView {
	return jobs.ClusterView{
		ID: "c1", Name: "orders", Tenant: "default", State: "degraded", CreatedAt: clock(0), Operation: opID,
		Spec: jobs.ClusterSpec{
			Name: "orders", Nodes: 2, EtcdMembers: 3, Proxies: 1, PostgresVersion: "17", CPUs: 0.5, MemoryMB: 512, SynchronousMode: "on",
			Parameters: map[string]string{"work_mem": "8MB", "max_connections": "200"},
			Databases:  []jobs.DatabaseSpec{{Name: "shopdb", Owner: "shop"}}, Users: []jobs.UserSpec{{Name: "shop"}},
			BindAddress: "127.0.0.1", OnFailure: "keep",
		},
		Nodes: []jobs.NodeView{
			{Name: "orders-1", Role: "leader", State: "running", Timeline: 2},
			{Name: "orders-2", Role: "sync_standby", State: "streaming", Timeline: 2, LagBytes: 2048},
		},
		Endpoints: jobs.Endpoints{Primary: "127.0.0.1:25000", Replica: "127.0.0.1:25001"},
	}
}

func ordersStatus() jobs.StatusView {
	return jobs.StatusView{
		ClusterView: orders(),
		Parts: []jobs.PartStatus{
			{Name: "orders-1", Part: "node", Container: "running", Health: "healthy", Role: "leader", State: "running", Timeline: 2},
			{Name: "orders-2", Part: "node", Container: "running", Role: "sync_standby", State: "streaming", Timeline: 2, LagBytes: 2048,
				ClientAddr: "172.20.0.7", Streaming: "streaming", SentLSN: "0/5000148", WriteLSN: "0/5000148", FlushLSN: "0/5000148",
				ReplayLSN: "0/5000060", SyncState: "sync", Receiver: "streaming", SenderHost: "orders-1"},
			{Name: "orders-etcd-1", Part: "etcd", Container: "exited", State: "down: its container is exited", Note: "exit code 137"},
			{Name: "orders-proxy-1", Part: "proxy", Container: "running", State: "running"},
		},
		Trouble: []string{"orders-etcd-1 is down: its container is exited"},
	}
}

// answering is a portal that knows the cluster orders and nothing else.
func answering() *fakePortal {
	return &fakePortal{
		query: func(what string, q jobs.Query) (any, error) {
			switch {
			case what == jobs.QueryClusterList:
				return []jobs.ClusterView{orders()}, nil
			case q.Name != "orders":
				return nil, unknownCluster(q.Name)
			case what == jobs.QueryStatus:
				return ordersStatus(), nil
			}
			return orders(), nil
		},
		credentials: jobs.Credentials{
			Username: "app", Password: "s3cret", Database: "app", CAPEM: "-----BEGIN CERTIFICATE-----\n",
			PrimaryURI: "postgres://app:s3cret@127.0.0.1:25000/app?sslmode=require&target_session_attrs=read-write",
			ReplicaURI: "postgres://app:s3cret@127.0.0.1:25001/app?sslmode=require",
		},
	}
}

func TestClusterViews(t *testing.T) {
	p := answering()
	golden(t, "cluster-list", must(t, p, "cluster", "list"))
	golden(t, "cluster-show", must(t, p, "cluster", "show", "orders"))
	golden(t, "cluster-status", must(t, p, "cluster", "status", "orders"))
	golden(t, "cluster-credentials", must(t, p, "cluster", "credentials", "orders"))
	require.Equal(t, 4, p.closed, "every command closes its connection")
	require.Equal(t, p.credentials.CAPEM, must(t, p, "cluster", "credentials", "orders", "--ca"))

	var view jobs.ClusterView
	require.NoError(t, json.Unmarshal([]byte(must(t, p, "cluster", "show", "orders", "-o", "json")), &view))
	require.Equal(t, orders(), view)
	var status jobs.StatusView
	require.NoError(t, json.Unmarshal([]byte(must(t, p, "cluster", "status", "orders", "-o", "json")), &status))
	require.Equal(t, ordersStatus(), status)
	var creds jobs.Credentials
	out := must(t, p, "cluster", "credentials", "orders", "--user", "shop", "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(out), &creds))
	require.Equal(t, "shop", creds.Username)
	require.Contains(t, out, "require&target", "URIs can be copied")

	p.query = func(string, jobs.Query) (any, error) { return []jobs.ClusterView{}, nil }
	require.Equal(t, "[]\n", must(t, p, "cluster", "list", "-o", "json"))
	require.Contains(t, must(t, p, "cluster", "list"), "no cluster")
}

// TestSpecificationOfFlags compares what is sent with what the contract makes of
// it.
func TestSpecificationOfFlags(t *testing.T) {
	p := &fakePortal{}
	must(t, p, "cluster", "create", "orders", "--detach",
		"--nodes", "2", "--etcd-members", "1", "--proxies", "2", "--postgres-version", "17", "--cpus", "0.5", "--memory-mb", "512",
		"--synchronous-mode", "strict", "--parameter", "work_mem=8MB", "--parameter", "search_path=a,b=c",
		"--database", "shopdb:shop", "--database", "plain", "--user", "shop", "--primary-port", "15000", "--replica-port", "15001",
		"--bind-address", "0.0.0.0", "--label", "team=shop", "--on-failure", "rollback", "--timeout", "90s")
	sent, err := json.Marshal(p.published[0].Data)
	require.NoError(t, err)
	spec, faults := jobs.DecodeClusterSpec(jobs.Request{Kind: p.published[0].Kind, Cluster: p.published[0].Cluster, Data: sent})
	require.Empty(t, faults)
	require.Equal(t, jobs.ClusterSpec{
		Name: "orders", Nodes: 2, EtcdMembers: 1, Proxies: 2, PostgresVersion: "17", CPUs: 0.5, MemoryMB: 512, SynchronousMode: "strict",
		Parameters: map[string]string{"work_mem": "8MB", "search_path": "a,b=c"},
		Databases:  []jobs.DatabaseSpec{{Name: "shopdb", Owner: "shop"}, {Name: "plain", Owner: "app"}},
		Users:      []jobs.UserSpec{{Name: "shop"}}, PrimaryPort: 15000, ReplicaPort: 15001, BindAddress: "0.0.0.0",
		Labels: map[string]string{"team": "shop"}, OnFailure: "rollback", TimeoutSeconds: 90,
	}, spec)

	must(t, p, "cluster", "create", "bare", "--wait=false")
	sent, err = json.Marshal(p.published[1].Data)
	require.NoError(t, err)
	require.JSONEq(t, `{"name": "bare"}`, string(sent), "defaults are the contract's, not sent")
}

func TestSpecificationOfFile(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "spec.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	p := &fakePortal{}
	must(t, p, "cluster", "create", "-f", file(`{"name": "orders", "later": true}`), "--detach")
	require.Equal(t, "orders", p.published[0].Cluster)
	require.JSONEq(t, `{"name": "orders", "later": true}`, string(p.published[0].Data.(json.RawMessage)))
	must(t, p, "cluster", "create", "shop", "-f", file(`{"nodes": 1}`), "--detach")
	require.Equal(t, "shop", p.published[1].Cluster)

	for _, args := range [][]string{
		{"-f", file(`[]`)}, {"-f", file(`{`)}, {"-f", file(`{}`)}, {"-f", file(`{"name": 1}`)}, {"-f", "/does/not/exist"},
		{"-f", file(`{"name": "` + strings.Repeat("x", maxSpecFile) + `"}`)}, {"-f", file(`{"name": "a"}`), "--nodes", "1"}, {},
	} {
		r := run(t, p, append([]string{"cluster", "create"}, args...)...)
		require.Equal(t, exitUsage, r.code, "%v: %v", args, r.err)
	}
	require.Len(t, p.published, 2)
}

func TestCreate(t *testing.T) {
	p := answering()
	p.watch = func(client.Target) ([]jobs.Event, error) { return created(), nil }
	r := run(t, p, "cluster", "create", "orders", "--id", "req-1")
	require.NoError(t, r.err)
	golden(t, "create-stdout", r.stdout)
	golden(t, "create-stderr", r.stderr)
	require.Equal(t, "req-1", p.published[0].ID)
	require.Equal(t, []client.Target{{RequestID: "req-1", Cluster: "orders"}}, p.watched)

	p.query = func(what string, q jobs.Query) (any, error) {
		require.Equal(t, jobs.QueryOperationGet, what)
		require.Equal(t, opID, q.ID)
		return operation(jobs.OperationSucceeded), nil
	}
	var view jobs.OperationView
	require.NoError(t, json.Unmarshal([]byte(must(t, p, "cluster", "create", "orders", "-o", "json")), &view))
	require.Equal(t, operation(jobs.OperationSucceeded), view)
}

func TestDetach(t *testing.T) {
	p := &fakePortal{}
	r := run(t, p, "cluster", "create", "orders", "--detach", "--id", "req-1", "--tenant", "acme")
	require.NoError(t, r.err)
	require.Equal(t, "req-1\n", r.stdout)
	require.Contains(t, r.stderr, "pgforeman operation watch req-1 --tenant acme\n")
	require.JSONEq(t, `{"request_id": "req-1", "kind": "cluster.create", "cluster": "orders", "duplicate": false}`,
		must(t, p, "cluster", "create", "orders", "--detach", "--id", "req-1", "-o", "json"))
	must(t, p, "cluster", "create", "orders", "--detach")
	require.NotEmpty(t, p.published[2].ID, "a request has an id that can be repeated")
	for _, args := range [][]string{{"--detach", "--wait"}, {"--id", "a\nb"}, {"--id", strings.Repeat("x", 129)}} {
		require.Equal(t, exitUsage, run(t, p, append([]string{"cluster", "create", "orders"}, args...)...).code, "%v", args)
	}

	p.refused = errors.New("no answer in time")
	r = run(t, p, "cluster", "create", "orders", "--id", "req-1")
	require.Equal(t, exitFailed, r.code)
	require.Contains(t, r.stderr, "--id req-1 is safe to repeat")
}

func TestDelete(t *testing.T) {
	p := answering()
	r := run(t, p, "cluster", "delete", "orders")
	require.Equal(t, exitUsage, r.code, "a script has to say --yes")
	require.Contains(t, r.stderr, "--yes")
	require.Empty(t, p.published)

	p.watch = func(client.Target) ([]jobs.Event, error) {
		gone := &recording{kind: jobs.ClusterDelete}
		return gone.tell(jobs.OperationSucceededEv, "done", at(100)).events, nil
	}
	require.Equal(t, "cluster orders is deleted\n", must(t, p, "cluster", "delete", "orders", "--yes"))
	require.Equal(t, jobs.ClusterDelete, p.published[0].Kind)
}

func TestRotate(t *testing.T) {
	p := answering()
	r := run(t, p, "cluster", "rotate", "orders")
	require.Equal(t, exitUsage, r.code, "it has to say what to rotate")
	require.Contains(t, r.stderr, "--certificates")
	require.Empty(t, p.published)

	p.watch = func(client.Target) ([]jobs.Event, error) {
		done := &recording{kind: jobs.ClusterRotate}
		return done.tell(jobs.OperationSucceededEv, "done", at(100)).events, nil
	}
	require.Equal(t, "cluster orders has new certificates\n", must(t, p, "cluster", "rotate", "orders", "--certificates"))
	sent, err := json.Marshal(p.published[0].Data)
	require.NoError(t, err)
	require.Equal(t, jobs.ClusterRotate, p.published[0].Kind)
	require.JSONEq(t, `{"certificates": true}`, string(sent))
}
