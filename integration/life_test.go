package integration

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// life is a scenario in which the worker may die at any moment, and what must
// have come of each request at its end.
type life struct {
	name  string
	run   func(m *mortal)
	fates map[string]jobs.EventType
	// dead is how many dead letters there are at the end.
	dead int
	// every says that each of its boundaries is tried in "make chaos"; else
	// those that no such life has, and a few of the others.
	every bool
	few   int
	// env is of the first worker, besides.
	env []string
	// samples are tried in "make test".
	samples []string
}

const shop = "shop"

// lives begin with the longest, so that none is waited for alone.
func lives() []life {
	return []life{
		{
			name: "two nodes", run: twoNodes, few: 20,
			fates: map[string]jobs.EventType{"create": jobs.OperationSucceededEv, "delete": jobs.OperationSucceededEv},
			samples: []string{
				"after docker POST /containers/create shop-2",
				"before etcd revoke the leader key",
			},
		},
		{
			name: "drained", run: drained, env: []string{"PGFOREMAN_GRACE=1ms"},
			fates: map[string]jobs.EventType{"create": jobs.OperationSucceededEv, "delete": jobs.OperationSucceededEv},
		},
		{
			name: "rotated", run: rotated,
			fates: map[string]jobs.EventType{
				"create": jobs.OperationSucceededEv, "rotate": jobs.OperationSucceededEv, "delete": jobs.OperationSucceededEv,
			},
		},
		{
			name: "create and delete", run: createAndDelete, every: true,
			fates: map[string]jobs.EventType{
				"create": jobs.OperationSucceededEv, "delete": jobs.OperationSucceededEv, "cancel": jobs.OperationRejected,
			},
			samples: []string{
				"after nats ack",
				"after docker POST /containers/create shop-etcd-1",
				"before enable etcd authentication",
				"after docker DELETE /containers shop-1",
			},
		},
		{
			name: "create and cancel", run: createAndCancel, every: true, dead: 1,
			fates: map[string]jobs.EventType{
				"create": jobs.OperationCancelledEv, "cancel": jobs.OperationSucceededEv, "again": jobs.OperationRejected,
			},
			samples: []string{
				"after store.Published #3",
				"before store.Admit operation.cancel",
			},
		},
	}
}

// createAndDelete makes the smallest cluster, asks for its credentials, deletes
// it, and tries to cancel the deletion, which cannot be turned back.
func createAndDelete(m *mortal) {
	m.publish("create", jobs.ClusterCreate, shop, map[string]any{"nodes": 1, "etcd_members": 1, "memory_mb": 256})
	m.await("create", jobs.OperationSucceededEv)
	require.Len(m.t, m.containers(""), 3)
	m.credentials(shop)
	m.publish("delete", jobs.ClusterDelete, shop, map[string]any{})
	started := m.await("delete", jobs.OperationStarted)
	m.publish("cancel", jobs.OperationCancel, "", map[string]any{"operation_id": started.Data.OperationID})
	require.Equal(m.t, jobs.CodeTooLate, m.await("cancel", jobs.OperationRejected).Data.Error.Code)
	m.await("delete", jobs.OperationSucceededEv)
}

// createAndCancel cancels a creation that has made something, and cancels it
// again while it is undone. Noise comes in between.
func createAndCancel(m *mortal) {
	m.publish("create", jobs.ClusterCreate, shop, map[string]any{"nodes": 1, "etcd_members": 1, "memory_mb": 256})
	started := m.await("create", jobs.OperationStarted)
	m.publishRaw(jobs.ClusterCreate, []byte("not json"))
	m.eventually(4*time.Minute, "a container of the cluster", func() error {
		if len(m.containers("")) == 0 {
			return fmt.Errorf("none")
		}
		return nil
	})
	target := map[string]any{"operation_id": started.Data.OperationID}
	m.publish("cancel", jobs.OperationCancel, "", target)
	m.publish("again", jobs.OperationCancel, "", target)
	require.Equal(m.t, jobs.CodeTooLate, m.await("again", jobs.OperationRejected).Data.Error.Code)
	m.await("create", jobs.OperationCancelledEv)
}

// twoNodes makes a leader with a replica, kills the leader's container, waits
// until the keeper has brought everything back, and deletes the cluster.
func twoNodes(m *mortal) {
	m.publish("create", jobs.ClusterCreate, shop, map[string]any{"nodes": 2, "etcd_members": 1, "memory_mb": 256})
	m.await("create", jobs.OperationSucceededEv)
	require.Len(m.t, m.containers(""), 4)
	leader := ""
	m.db.Scan(m.t, "SELECT name FROM nodes WHERE role = 'leader'", &leader)
	box := slices.IndexFunc(m.containers("node"), func(name string) bool { return strings.HasPrefix(name, leader+".") })
	require.GreaterOrEqual(m.t, box, 0, leader)
	killed := time.Now()
	docker(m.t, "kill", m.containers("node")[box])
	m.eventually(4*time.Minute, "the cluster to be whole again", func() error {
		var state, nodes string
		m.db.Scan(m.t, "SELECT state FROM clusters", &state)
		m.db.Scan(m.t, "SELECT coalesce(string_agg(name || ' ' || role || ' ' || state, ', ' ORDER BY name), '') FROM nodes WHERE part = 'node'"+
			" AND updated_at > '"+killed.UTC().Format(time.RFC3339Nano)+"'", &nodes)
		if state != "ready" || strings.Count(nodes, "leader running") != 1 || strings.Count(nodes, "sync_standby streaming") != 1 {
			return fmt.Errorf("%s: %s", state, nodes)
		}
		return nil
	})
	m.publish("delete", jobs.ClusterDelete, shop, map[string]any{})
	m.await("delete", jobs.OperationSucceededEv)
}

// drained tells the worker to stop while a step runs, with no time for it to
// finish: the step is handed over.
func drained(m *mortal) {
	m.publish("create", jobs.ClusterCreate, shop, map[string]any{"nodes": 1, "etcd_members": 1, "memory_mb": 256})
	m.eventually(4*time.Minute, "a container of the cluster", func() error {
		if len(m.containers("")) == 0 {
			return fmt.Errorf("none")
		}
		return nil
	})
	m.stop()
	m.first = false
	m.start()
	m.await("create", jobs.OperationSucceededEv)
	m.publish("delete", jobs.ClusterDelete, shop, map[string]any{})
	m.await("delete", jobs.OperationSucceededEv)
}

// rotated gives a cluster new certificates.
func rotated(m *mortal) {
	m.publish("create", jobs.ClusterCreate, shop, map[string]any{"nodes": 1, "etcd_members": 1, "memory_mb": 256})
	m.await("create", jobs.OperationSucceededEv)
	m.publish("rotate", jobs.ClusterRotate, shop, map[string]any{"certificates": true})
	m.await("rotate", jobs.OperationSucceededEv)
	m.publish("delete", jobs.ClusterDelete, shop, map[string]any{})
	m.await("delete", jobs.OperationSucceededEv)
}
