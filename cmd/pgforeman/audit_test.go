package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func TestAuditList(t *testing.T) {
	entries := []jobs.AuditView{
		{At: clock(9), Actor: "nats:default/UABC", Action: "cluster.credentials", Cluster: "orders", Outcome: "answered", Detail: "credentials of user app, sealed"},
		{At: clock(2), Actor: "portal\x1b[31m", Action: "cluster.create", Cluster: "orders", OperationID: opID, RequestID: "r1", Outcome: "accepted"},
	}
	p := &fakePortal{query: func(what string, q jobs.Query) (any, error) {
		require.Equal(t, jobs.QueryAudit, what)
		require.Equal(t, jobs.Query{Cluster: "orders", Limit: 100}, q)
		return entries, nil
	}}
	golden(t, "audit-list", must(t, p, "audit", "list", "--cluster", "orders"))
	var views []jobs.AuditView
	require.NoError(t, json.Unmarshal([]byte(must(t, p, "audit", "list", "--cluster", "orders", "-o", "json")), &views))
	require.Equal(t, entries, views)
	require.Equal(t, exitUsage, run(t, p, "audit", "list", "--limit", "0").code)
}
