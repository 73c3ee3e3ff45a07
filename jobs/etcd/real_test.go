package etcd_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/vcs-iaas/pgforeman/jobs/etcd"
)

const (
	rootPassword = "root-secret"
	userPassword = "user-secret"
)

// TestRealEtcd runs one etcd container through authentication, the leader key
// and the rest, in the order of a cluster's life.
func TestRealEtcd(t *testing.T) {
	if testing.Short() {
		t.Skip("needs Docker")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	endpoint := startEtcd(ctx, t)
	members := []etcd.Endpoint{endpoint}
	auth := etcd.Auth{
		RootPassword: rootPassword, User: "patroni", Password: userPassword, Prefix: etcd.Prefix(namespace, scope),
	}

	t.Run("health", func(t *testing.T) {
		health, err := etcd.Health(ctx, endpoint)
		require.NoError(t, err)
		require.True(t, health.IsLeader)
		require.NotZero(t, health.ID)
		require.Empty(t, health.Alarms)

		other := endpoint
		other.ServerName = "another-member"
		_, err = etcd.Health(ctx, other)
		require.ErrorIs(t, err, etcd.ErrUnavailable, "the certificate has another name")
	})
	t.Run("authentication died half-way", func(t *testing.T) {
		died, die := context.WithCancel(ctx)
		half := raw(ctx, t, endpoint, "", "")
		_, err := half.RoleAdd(died, "root")
		require.NoError(t, err)
		_, err = half.UserAdd(died, "root", "another password")
		require.NoError(t, err)
		die()
	})
	t.Run("authentication", func(t *testing.T) {
		for range 3 {
			require.NoError(t, etcd.EnsureAuth(ctx, members, auth))
		}
		health, err := etcd.Health(ctx, endpoint)
		require.NoError(t, err, "health needs no credentials")
		require.True(t, health.IsLeader)

		wrong := auth
		wrong.RootPassword = "wrong"
		err = etcd.EnsureAuth(ctx, members, wrong)
		require.ErrorIs(t, err, etcd.ErrAuth)
		require.NotContains(t, err.Error(), "wrong")
	})
	t.Run("the user is held to its prefix", func(t *testing.T) {
		user := raw(ctx, t, endpoint, "patroni", userPassword)
		_, err := user.Put(ctx, "/pgforeman/c1/config", "{}")
		require.NoError(t, err)
		_, err = user.Put(ctx, "/pgforeman/c2/config", "{}")
		require.ErrorContains(t, err, "permission denied")
		_, err = user.Get(ctx, "/pgforeman/c2/config")
		require.ErrorContains(t, err, "permission denied")

		_, err = open(t, etcd.Options{Members: members}).Leader(ctx, namespace, scope)
		require.ErrorIs(t, err, etcd.ErrAuth, "without credentials")
		_, err = open(t, etcd.Options{Members: members, User: "patroni", Password: "x"}).Leader(ctx, namespace, scope)
		require.ErrorIs(t, err, etcd.ErrAuth, "with a wrong password")
	})
	t.Run("a second run rotates the user's password", func(t *testing.T) {
		auth.Password = "rotated-secret"
		require.NoError(t, etcd.EnsureAuth(ctx, members, auth))
		_, err := open(t, etcd.Options{Members: members, User: "patroni", Password: userPassword}).Leader(ctx, namespace, scope)
		require.ErrorIs(t, err, etcd.ErrAuth)
	})

	// The first member is dead: everything below also goes past it.
	dead := etcd.Endpoint{Address: "127.0.0.1:1"}
	client := open(t, etcd.Options{Members: []etcd.Endpoint{dead, endpoint}, User: "patroni", Password: auth.Password})
	patroni := raw(ctx, t, endpoint, "patroni", auth.Password)

	t.Run("leader", func(t *testing.T) { testLeader(ctx, t, client, patroni) })
	t.Run("watch", func(t *testing.T) { testWatch(ctx, t, client, patroni) })
	t.Run("members", func(t *testing.T) {
		list, err := client.Members(ctx)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.NotEmpty(t, list[0].ClientURLs)
	})
	t.Run("delete", func(t *testing.T) {
		count, err := client.CountKeys(ctx, etcd.Prefix(namespace, scope))
		require.NoError(t, err)
		require.Positive(t, count)
		deleted, err := client.DeletePrefix(ctx, etcd.Prefix(namespace, scope))
		require.NoError(t, err)
		require.Equal(t, count, deleted)
		deleted, err = client.DeletePrefix(ctx, etcd.Prefix(namespace, scope))
		require.NoError(t, err)
		require.Zero(t, deleted)
		_, err = client.DeletePrefix(ctx, "")
		require.Error(t, err)
	})
}

// takeLead writes what Patroni writes when a node becomes the leader.
func takeLead(ctx context.Context, t *testing.T, cl *clientv3.Client, node string) clientv3.LeaseID {
	t.Helper()
	lease, err := cl.Grant(ctx, 60)
	require.NoError(t, err)
	for k, v := range map[string]string{"leader": node, "members/" + node: "{}"} {
		_, err = cl.Put(ctx, etcd.Prefix(namespace, scope)+k, v, clientv3.WithLease(lease.ID))
		require.NoError(t, err)
	}
	return lease.ID
}

func testLeader(ctx context.Context, t *testing.T, client *etcd.Client, patroni *clientv3.Client) {
	_, err := client.Leader(ctx, namespace, scope)
	require.ErrorIs(t, err, etcd.ErrNoLeader)
	revoked, err := client.RevokeLeader(ctx, namespace, scope, etcd.Leader{Node: "node-1"})
	require.NoError(t, err)
	require.False(t, revoked, "nothing to revoke")

	lease := takeLead(ctx, t, patroni, "node-1")
	first, err := client.Leader(ctx, namespace, scope)
	require.NoError(t, err)
	require.Equal(t, "node-1", first.Node)
	require.Equal(t, int64(lease), first.LeaseID)

	takeLead(ctx, t, patroni, "node-2")
	for _, seen := range []etcd.Leader{first, {Node: "node-1"}} {
		revoked, err = client.RevokeLeader(ctx, namespace, scope, seen)
		require.NoError(t, err)
		require.False(t, revoked, "another node leads by now")
	}
	takeLead(ctx, t, patroni, "node-1")
	revoked, err = client.RevokeLeader(ctx, namespace, scope, first)
	require.NoError(t, err)
	require.False(t, revoked, "the node came back and took the key again")

	now, err := client.Leader(ctx, namespace, scope)
	require.NoError(t, err)
	revoked, err = client.RevokeLeader(ctx, namespace, scope, now)
	require.NoError(t, err)
	require.True(t, revoked)
	_, err = client.Leader(ctx, namespace, scope)
	require.ErrorIs(t, err, etcd.ErrNoLeader)
	left, err := client.CountKeys(ctx, etcd.Prefix(namespace, scope)+"members/")
	require.NoError(t, err)
	require.Equal(t, int64(1), left, "the other node's member key stays")
}

func testWatch(ctx context.Context, t *testing.T, client *etcd.Client, patroni *clientv3.Client) {
	watchCtx, stop := context.WithCancel(ctx)
	defer stop()
	seen := make(chan string, 16)
	ended := make(chan error, 1)
	go func() {
		ended <- client.WatchLeader(watchCtx, namespace, scope, func(l etcd.Leader) { seen <- l.Node })
	}()
	next := func() string {
		select {
		case node := <-seen:
			return node
		case err := <-ended:
			t.Fatalf("the watch ended: %v", err)
		case <-ctx.Done():
			t.Fatal("no news of the leader")
		}
		return ""
	}
	require.Empty(t, next())
	takeLead(ctx, t, patroni, "node-3")
	require.Equal(t, "node-3", next())
	revoked, err := client.RevokeLeader(ctx, namespace, scope, etcd.Leader{Node: "node-3"})
	require.NoError(t, err)
	require.True(t, revoked)
	require.Empty(t, next())
	stop()
	require.ErrorIs(t, <-ended, context.Canceled)
}

// raw is the SDK's own client: what Patroni and a killed worker do is done by it.
func raw(ctx context.Context, t *testing.T, endpoint etcd.Endpoint, user, password string) *clientv3.Client {
	t.Helper()
	cl, err := clientv3.New(clientv3.Config{
		Context: ctx, Endpoints: []string{endpoint.TLS.ServerName}, TLS: endpoint.TLS,
		Username: user, Password: password, DialTimeout: 30 * time.Second, Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", endpoint.Address)
		})},
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = cl.Close() })
	return cl
}
