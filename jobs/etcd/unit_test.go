package etcd_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/vcs-iaas/pgforeman/jobs/etcd"
)

const (
	namespace = "/pgforeman/"
	scope     = "c1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPrefix(t *testing.T) {
	for _, namespace := range []string{"pgforeman", "/pgforeman", "/pgforeman/"} {
		require.Equal(t, "/pgforeman/c1/", etcd.Prefix(namespace, "c1"))
	}
}

func TestOpenRefuses(t *testing.T) {
	_, err := etcd.Open(etcd.Options{})
	require.Error(t, err)
	_, err = etcd.Open(etcd.Options{Members: []etcd.Endpoint{{}}})
	require.Error(t, err)
	for _, auth := range []etcd.Auth{
		{}, {RootPassword: "x", User: "root", Password: "x", Prefix: "/x/"}, {RootPassword: "x", User: "u", Password: "x"},
	} {
		require.Error(t, etcd.EnsureAuth(t.Context(), []etcd.Endpoint{{Address: "127.0.0.1:1"}}, auth))
	}
}

// A refused connection and a server that accepts and says nothing are both
// unavailable, within the time of a try.
func TestUnavailable(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = silent.Close() }()

	for name, user := range map[string]string{"logged in": "patroni", "anonymous": ""} {
		t.Run(name, func(t *testing.T) {
			client := open(t, etcd.Options{
				Members: []etcd.Endpoint{{Address: "127.0.0.1:1"}, {Address: silent.Addr().String()}},
				User:    user, Password: user,
				TryTimeout: 200 * time.Millisecond,
			})
			_, err := client.Leader(t.Context(), namespace, scope)
			require.ErrorIs(t, err, etcd.ErrUnavailable)
			require.ErrorContains(t, err, silent.Addr().String())

			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = client.Leader(ctx, namespace, scope)
			require.ErrorIs(t, err, context.Canceled)
			require.NotErrorIs(t, err, etcd.ErrUnavailable)
		})
	}
}

// A member that refuses costs no waiting: the failover of a cluster whose
// leader died together with a member depends on it.
func TestRefusedFailsFast(t *testing.T) {
	client := open(t, etcd.Options{
		Members: []etcd.Endpoint{{Address: "127.0.0.1:1"}}, User: "patroni", Password: "p", TryTimeout: time.Hour,
	})
	_, err := client.Leader(t.Context(), namespace, scope)
	require.ErrorIs(t, err, etcd.ErrUnavailable)
}

func open(t *testing.T, opts etcd.Options) *etcd.Client {
	t.Helper()
	client, err := etcd.Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}
