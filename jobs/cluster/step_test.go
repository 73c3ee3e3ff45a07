package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/docker"
	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/pki"
	"github.com/vcs-iaas/pgforeman/jobs/postgres"
)

func requireCode(t *testing.T, err error, code jobs.Code, permanent bool) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, jobs.ErrorOf(err, "").Code, "%v", err)
	require.Equal(t, permanent, jobs.IsPermanent(err))
}

func TestAdmitRefusesWhatTheHostCannotHold(t *testing.T) {
	t.Parallel()
	w, _, b := fixture(t, func(s *jobs.ClusterSpec) { s.MemoryMB = 8192 })
	_, err := b.try(jobs.Step{Name: stepAllocate})
	requireCode(t, err, jobs.CodeNoResources, true)
	require.Equal(t, nothingLeft, w.left(), "refused before anything is made")
}

func TestImageMissingIsPermanentAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	w, _, b := fixture(t, nil)
	b.run(jobs.Step{Name: stepAllocate})
	b.run(jobs.Step{Name: stepNetwork})
	w.missing = true
	_, err := b.try(jobs.Step{Name: stepEtcdStart, Node: "orders-etcd-1"})
	requireCode(t, err, jobs.CodeImageMissing, true)
	require.ErrorContains(t, err, "pgforeman image build")
	require.ErrorIs(t, err, docker.ErrImageMissing)
}

func TestEngineAwayIsTransient(t *testing.T) {
	requireCode(t, explain(docker.ErrUnavailable), jobs.CodeUnavailable, false)
	plain := errors.New("something")
	require.Equal(t, plain, explain(plain))
	require.NoError(t, explain(nil))
}

func TestAnAllocatedPortThatIsTakenIsExchanged(t *testing.T) {
	t.Parallel()
	w, _, b := fixture(t, nil)
	b.run(jobs.Step{Name: stepAllocate})
	b.run(jobs.Step{Name: stepNetwork})
	w.taken[w.ports["primary"]] = true
	before := w.ports["primary"]
	b.run(jobs.Step{Name: stepProxyStart, Node: "orders-proxy-1"})
	require.NotEqual(t, before, w.ports["primary"])
}

func TestAPortAskedForThatIsTakenFails(t *testing.T) {
	t.Parallel()
	w, _, b := fixture(t, func(s *jobs.ClusterSpec) { s.PrimaryPort = 6543 })
	b.run(jobs.Step{Name: stepAllocate})
	b.run(jobs.Step{Name: stepNetwork})
	w.taken[6543] = true
	_, err := b.try(jobs.Step{Name: stepProxyStart, Node: "orders-proxy-1"})
	requireCode(t, err, jobs.CodePortTaken, true)
	require.ErrorContains(t, err, "6543")
}

func TestWaitingTellsWhatItSawLast(t *testing.T) {
	t.Parallel()
	w, _, b := fixture(t, nil)
	for _, step := range []jobs.Step{{Name: stepAllocate}, {Name: stepNetwork}, {Name: stepEtcdStart, Node: "orders-etcd-1"}} {
		b.run(step)
	}
	_ = w
	b.timeout = 300 * time.Millisecond
	_, err := b.try(jobs.Step{Name: stepEtcdReady})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "1 of 3 etcd members answer, not yet: orders-etcd-2, orders-etcd-3")
	require.Equal(t, int64(3), b.seen[len(b.seen)-1].Total)
}

func TestACopyIsToldInBytes(t *testing.T) {
	t.Parallel()
	_, p, b := fixture(t, nil)
	b.all(createKind())
	p.lagging["orders-2"] = true
	p.copies = []postgres.Basebackup{
		{Name: "orders-3.local", Phase: "streaming database files", Streamed: 1 << 10, Total: 1 << 30},
		{Name: "orders-2.local", Phase: "streaming database files", Streamed: 512 << 20, Total: 1 << 30},
	}
	b.timeout = 200 * time.Millisecond
	_, err := b.try(jobs.Step{Name: stepBasebackup, Node: "orders-2"})
	require.ErrorContains(t, err, "orders-2: copied 512MiB of 1GiB")
}

// TestSynchronousMeansThatPatroniSaysSo: PostgreSQL may call a standby
// synchronous before Patroni would let it take over.
func TestSynchronousMeansThatPatroniSaysSo(t *testing.T) {
	t.Parallel()
	_, p, b := fixture(t, nil)
	b.all(createKind())
	b.timeout = 200 * time.Millisecond
	p.role = "replica"
	_, err := b.try(jobs.Step{Name: stepStreaming, Node: "orders-2"})
	require.ErrorContains(t, err, "no synchronous standby is chosen yet")
	p.role = ""
	b.run(jobs.Step{Name: stepStreaming, Node: "orders-2"})
	require.False(t, streams([]postgres.Standby{{Name: "orders-2", State: "catchup"}}, "orders-2"))
}

func TestCertificatesBearTheNamesThatClientsUse(t *testing.T) {
	s, err := siteOf(newCluster("orders", func(s *jobs.ClusterSpec) { s.BindAddress = "192.0.2.7" }))
	require.NoError(t, err)
	k, err := newKeys(s, time.Now())
	require.NoError(t, err)
	node := s.certificate(part{"orders-1", roleNode})
	require.Subset(t, node.DNSNames, []string{"orders-1", "nodes", "orders", "localhost"})
	require.Len(t, node.IPs, 3)
	for _, p := range s.parts() {
		_, err := pki.ClientTLS(k[caCert], k[certOf(p.name)], k[keyOf(p.name)], p.name)
		require.NoError(t, err, p.name)
	}
	again, err := newKeys(s, time.Now())
	require.NoError(t, err)
	require.NotEqual(t, k[superuserPass], again[superuserPass])
	require.GreaterOrEqual(t, len(k[superuserPass]), 26, "26 letters of 5 bits are 130 bits")
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	w, _, b := fixture(t, func(s *jobs.ClusterSpec) {
		s.Proxies = 2
		s.Users = []jobs.UserSpec{{Name: "shop"}}
		s.Databases = []jobs.DatabaseSpec{{Name: "sales", Owner: "shop"}}
	})
	_, err := b.c.Credentials(t.Context(), b.cluster, "")
	require.Equal(t, jobs.CodeUnavailable, jobs.ErrorOf(err, "").Code)
	b.run(jobs.Step{Name: stepAllocate})

	got, err := b.c.Credentials(t.Context(), b.cluster, "")
	require.NoError(t, err)
	require.Equal(t, "app", got.Username)
	require.Equal(t, string(w.secrets["user.app"]), got.Password)
	require.Equal(t, "postgres://app:"+got.Password+
		"@127.0.0.1:25000,127.0.0.1:25002/app?sslmode=require&target_session_attrs=read-write", got.PrimaryURI)
	require.Contains(t, got.CAPEM, "BEGIN CERTIFICATE")

	got, err = b.c.Credentials(t.Context(), b.cluster, "shop")
	require.NoError(t, err)
	require.Equal(t, "sales", got.Database)

	_, err = b.c.Credentials(t.Context(), b.cluster, "nobody")
	require.ErrorContains(t, err, "it has app, shop")
}
