package integration

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// TestWorkerProcess runs "pgforeman worker" as production does: against a NATS
// server and a state database of somebody else. It carries a creation out, ends
// in order on SIGTERM, and the process after it goes on with what is there.
func TestWorkerProcess(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	w := s.worker("alone")
	po := openPortal(t, s.program, "acme")
	po.publish("c", jobs.ClusterCreate, "orders", map[string]any{"nodes": 1, "etcd_members": 1, "memory_mb": 256})
	po.await("c", 5*time.Minute, jobs.OperationSucceededEv)
	status, metrics, err := w.get("/metrics")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, metrics, `pgforeman_dependency_up{dependency="database"} 1`)

	pid := w.pid()
	w.signal(syscall.SIGTERM)
	require.Zero(t, w.awaitExit(time.Minute), w.log())
	require.Error(t, w.ready(), "it has ended")
	w.start()
	w.awaitReady(time.Minute)
	require.NotEqual(t, pid, w.pid())
	po.publish("d", jobs.ClusterDelete, "orders", map[string]any{})
	po.await("d", 3*time.Minute, jobs.OperationSucceededEv)
	po.checkOrder("d")
	require.Empty(t, leftoversOf(t, s.program, "orders"))
}
