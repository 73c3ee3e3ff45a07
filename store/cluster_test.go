package store_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store"
	"github.com/vcs-iaas/pgforeman/store/storetest"
)

// made admits a cluster and gives its id.
func made(t *testing.T, db *storetest.DB, cluster string) string {
	t.Helper()
	return admit(t, db.Store, creation("acme", "create-"+cluster, cluster)).ClusterID
}

func remove(t *testing.T, db *storetest.DB, id string) {
	t.Helper()
	db.Exec(t, "UPDATE clusters SET state = 'deleted', deleted_at = now() WHERE id = $1", id)
}

func TestSecretsAreKeptOnceAndSealed(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	id := made(t, db, "orders")
	stored := make([]map[string][]byte, 8)
	none(t, atOnce(8, func(i int) error {
		var err error
		stored[i], err = db.PutSecretsOnce(ctx, id, map[string][]byte{"app": []byte(name("password", i)), "ca": {0, 1}})
		return err
	}))
	for _, got := range stored {
		require.Equal(t, stored[0], got, "all attempts agree")
	}
	more, err := db.PutSecretsOnce(ctx, id, map[string][]byte{"app": []byte("late"), "new": []byte("n")})
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"app": stored[0]["app"], "new": []byte("n")}, more)
	require.NoError(t, db.ReplaceSecrets(ctx, id, map[string][]byte{"new": []byte("m")}))
	all, err := db.Secrets(ctx, id)
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"app": stored[0]["app"], "ca": {0, 1}, "new": []byte("m")}, all)

	var sealed []byte
	db.Scan(t, "SELECT sealed FROM secrets WHERE name = 'app'", &sealed)
	require.False(t, bytes.Contains(sealed, []byte("password")))

	remove(t, db, id)
	_, err = db.PutSecretsOnce(ctx, id, map[string][]byte{"x": nil})
	require.ErrorIs(t, err, jobs.ErrNotFound, "a deleted cluster gets no secrets")
	_, err = db.PutSecretsOnce(ctx, unknownID(), map[string][]byte{"x": nil})
	require.ErrorIs(t, err, jobs.ErrNotFound)
	require.NoError(t, db.ForgetCluster(ctx, id))
	all, err = db.Secrets(ctx, id)
	require.NoError(t, err)
	require.Empty(t, all)
}

func TestSecretsThatWereTamperedWithDoNotOpen(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	a, b := made(t, db, "orders"), made(t, db, "billing")
	for _, id := range []string{a, b} {
		_, err := db.PutSecretsOnce(ctx, id, map[string][]byte{"app": []byte("secret of " + id), "other": []byte("x")})
		require.NoError(t, err)
	}
	for title, sql := range map[string]string{
		"moved to another cluster": "UPDATE secrets s SET sealed = o.sealed FROM secrets o WHERE s.cluster_id = $1 AND s.name = 'app' AND o.cluster_id <> $1 AND o.name = 'app'",
		"moved to another name":    "UPDATE secrets s SET sealed = o.sealed FROM secrets o WHERE s.cluster_id = $1 AND s.name = 'app' AND o.cluster_id = $1 AND o.name = 'other'",
		"a bit flipped":            "UPDATE secrets SET sealed = set_byte(sealed, 14, get_byte(sealed, 14) # 1) WHERE cluster_id = $1 AND name = 'app'",
		"cut short":                "UPDATE secrets SET sealed = 'x' WHERE cluster_id = $1 AND name = 'app'",
		"an unknown key":           "UPDATE secrets SET key_id = 'k-lost' WHERE cluster_id = $1 AND name = 'app'",
	} {
		require.NoError(t, db.ReplaceSecrets(ctx, a, map[string][]byte{"app": []byte("fresh")}))
		db.Exec(t, sql, a)
		_, err := db.Secrets(ctx, a)
		require.ErrorContains(t, err, "secret app of cluster "+a, title)
		require.NotContains(t, err.Error(), "fresh")
	}
}

func TestResealMovesToTheFirstKey(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	id := made(t, db, "orders")
	oldLine, err := store.NewKey()
	require.NoError(t, err)
	newLine, err := store.NewKey()
	require.NoError(t, err)
	open := func(text string) *store.Store {
		k, err := store.ParseKeyring(strings.NewReader(text))
		require.NoError(t, err)
		return db.Open(t, store.Options{Keyring: k})
	}
	old, both, fresh := open(oldLine), open(newLine+oldLine), open(newLine)
	_, err = old.PutSecretsOnce(ctx, id, map[string][]byte{"app": []byte("p")})
	require.NoError(t, err)
	_, err = fresh.Secrets(ctx, id)
	require.ErrorContains(t, err, "add that key")
	n, err := both.Reseal(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = both.Reseal(ctx)
	require.NoError(t, err)
	require.Zero(t, n)
	got, err := fresh.Secrets(ctx, id)
	require.NoError(t, err)
	require.Equal(t, "p", string(got["app"]))
}

func TestPorts(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	a, b := made(t, db, "orders"), made(t, db, "billing")
	wants := []jobs.PortWant{{Name: "primary"}, {Name: "replica", Port: 5000}}
	got, err := db.AllocatePorts(ctx, a, "local", wants, 5000, 5004, []int{5001})
	require.NoError(t, err)
	require.Equal(t, map[string]int{"primary": 5002, "replica": 5000}, got, "who asks for a port gets it first")
	again, err := db.AllocatePorts(ctx, a, "local", wants, 6000, 6004, nil)
	require.NoError(t, err)
	require.Equal(t, got, again)

	_, err = db.AllocatePorts(ctx, b, "local", wants, 5000, 5004, nil)
	refused(t, err, jobs.CodePortTaken)
	require.True(t, jobs.IsPermanent(err))
	_, err = db.AllocatePorts(ctx, b, "elsewhere", wants, 5000, 5004, nil)
	require.NoError(t, err, "another host has ports of its own")
	db.Exec(t, "DELETE FROM ports WHERE cluster_id = $1", b)

	free := []jobs.PortWant{{Name: "1"}, {Name: "2"}, {Name: "3"}}
	got, err = db.AllocatePorts(ctx, b, "local", free, 5000, 5004, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"1": 5001, "2": 5003, "3": 5004}, got)
	c := made(t, db, "third")
	_, err = db.AllocatePorts(ctx, c, "local", free, 5000, 5004, nil)
	refused(t, err, jobs.CodeNoResources)
	db.Exec(t, "DELETE FROM ports WHERE cluster_id = $1", a)
	port, err := db.ReallocatePort(ctx, b, "local", "2", 5000, 5004, 5003)
	require.NoError(t, err)
	require.Equal(t, 5000, port, "above it, then from the beginning")
	port, err = db.ReallocatePort(ctx, b, "local", "2", 5000, 5004, 5003)
	require.NoError(t, err)
	require.Equal(t, 5000, port, "it was done already")
	port, err = db.ReallocatePort(ctx, b, "local", "2", 5000, 5004, 5000)
	require.NoError(t, err)
	require.Equal(t, 5002, port)

	remove(t, db, c)
	_, err = db.AllocatePorts(ctx, c, "local", free, 7000, 7004, nil)
	require.ErrorIs(t, err, jobs.ErrNotFound)
}

func TestPortsAreNeverGivenTwice(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	ids := make([]string, 10)
	for i := range ids {
		ids[i] = made(t, db, name("c", i))
	}
	got := make([]map[string]int, len(ids))
	none(t, atOnce(len(ids), func(i int) error {
		var err error
		got[i], err = db.AllocatePorts(ctx, ids[i], "local", []jobs.PortWant{{Name: "p"}, {Name: "r"}}, 5000, 5019, nil)
		return err
	}))
	seen := map[int]bool{}
	for _, ports := range got {
		for _, p := range ports {
			require.False(t, seen[p], "port %d", p)
			seen[p] = true
		}
	}
	require.Len(t, seen, 20)
}

func TestNodesAreReplaced(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	id := made(t, db, "orders")
	require.NoError(t, db.SaveNodes(ctx, id, []jobs.NodeRecord{
		{Name: "orders-proxy-1", Part: "proxy", State: "running"}, {Name: "orders-2", Part: "node", Role: "replica"},
		{Name: "orders-1", Part: "node", Role: "leader", Timeline: 3, LagBytes: 1 << 40},
	}))
	require.NoError(t, db.SaveNodes(ctx, id, []jobs.NodeRecord{
		{Name: "orders-proxy-1", Part: "proxy", State: "down"}, {Name: "orders-1", Part: "node", Role: "leader", Timeline: 4},
	}))
	nodes, err := db.Nodes(ctx, id)
	require.NoError(t, err)
	require.Len(t, nodes, 2)
	require.Equal(t, "orders-1", nodes[0].Name)
	require.Equal(t, 4, nodes[0].Timeline)
	require.Equal(t, "down", nodes[1].State)
	require.NoError(t, db.SaveNodes(ctx, id, nil))
	nodes, err = db.Nodes(ctx, id)
	require.NoError(t, err)
	require.Empty(t, nodes)
}

func TestFactsAreToldOnce(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	id := made(t, db, "orders")
	facts := []jobs.Fact{{Type: jobs.ClusterDegradedEv, Message: "a node is down"}, {Type: jobs.NodeDown, Node: "orders-1"}}
	degrade := &jobs.ClusterChange{State: jobs.ClusterDegraded}
	require.NoError(t, db.TellFacts(ctx, id, facts, degrade))
	require.Len(t, outbox(t, db.Store, ""), 1, "a cluster that is being made is not degraded")
	db.Exec(t, "UPDATE clusters SET state = 'ready' WHERE id = $1", id)
	none(t, atOnce(6, func(int) error { return db.TellFacts(ctx, id, facts, degrade) }))
	events := outbox(t, db.Store, "")[1:]
	require.Equal(t, []string{"cluster.degraded", "node.down"}, types(events))
	require.Equal(t, "orders-1", events[1].Data.Node)
	require.Zero(t, events[1].Data.Seq)
	require.Equal(t, id, events[1].Data.ClusterID)
	require.NoError(t, db.TellFacts(ctx, id, []jobs.Fact{{Type: jobs.ClusterLeaderChanged}}, nil))
	require.Len(t, outbox(t, db.Store, ""), 4)
	require.NoError(t, db.TellFacts(ctx, id, nil, &jobs.ClusterChange{State: jobs.ClusterDeleted}))
	c, err := db.Cluster(ctx, id)
	require.NoError(t, err)
	require.Equal(t, jobs.ClusterDegraded, c.State)
	states, err := db.ClusterStates(ctx, []string{id, unknownID(), "nonsense"})
	require.NoError(t, err)
	require.Equal(t, map[string]jobs.ClusterState{id: jobs.ClusterDegraded}, states)

	remove(t, db, id)
	require.ErrorIs(t, db.TellFacts(ctx, id, facts, nil), jobs.ErrNotFound)
	live, err := db.LiveClusters(ctx)
	require.NoError(t, err)
	require.Empty(t, live)
}
