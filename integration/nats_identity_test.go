package integration

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/worker/query"
)

// oneCluster answers as a store with one cluster would, and keeps the audit.
// What it is not asked for, it has not.
type oneCluster struct {
	query.Store
	mu    sync.Mutex
	audit []jobs.AuditEntry
}

func (o *oneCluster) ClusterByName(_ context.Context, tenant, name string) (jobs.Cluster, error) {
	return jobs.Cluster{ID: "c1", Tenant: tenant, Name: name, State: jobs.ClusterReady}, nil
}

func (o *oneCluster) Credentials(context.Context, jobs.Cluster, string) (jobs.Credentials, error) {
	return jobs.Credentials{Username: "app"}, nil
}

func (o *oneCluster) Audit(_ context.Context, e jobs.AuditEntry) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.audit = append(o.audit, e)
	return nil
}

// TestNATSSaysWhoReadsCredentials asks through the shipped configuration, under
// another's name: the audit has the key that the server saw.
func TestNATSSaysWhoReadsCredentials(t *testing.T) {
	d := startNATSDeployment(t)
	store := &oneCluster{}
	service, err := query.Start(query.Options{
		NATS: d.as("WORKER").conn, Store: store, Vault: store, Version: "1.0.0", TrustRequestInfo: true, Log: zerolog.Nop(),
	})
	require.NoError(t, err)
	defer service.Stop()

	ask := func(role, forged string) jobs.AuditEntry {
		t.Helper()
		msg := nats.NewMsg(jobs.QuerySubject("default", jobs.QueryCredentials))
		msg.Data = []byte(`{"name":"orders"}`)
		msg.Header.Set(jobs.HeaderActor, "somebody else\nwith a line")
		msg.Header.Set("Nats-Request-Info", forged)
		answer, err := d.as(role).conn.RequestMsg(msg, 30*time.Second)
		require.NoError(t, err)
		require.Empty(t, answer.Header.Get(jobs.HeaderErrorCode), string(answer.Data))
		store.mu.Lock()
		defer store.mu.Unlock()
		return store.audit[len(store.audit)-1]
	}
	key, err := d.keys["DEFAULT_PORTAL"].PublicKey()
	require.NoError(t, err)
	for _, forged := range []string{`{"acc":"default","user":"the boss"}`, `{"acc":"acme","user":"x"}`, "noise"} {
		e := ask("DEFAULT_PORTAL", forged)
		require.Equal(t, "nats:default/"+key, e.Actor)
		require.Equal(t, "credentials of user app; asked by somebody else with a line", e.Detail)
		require.Equal(t, jobs.OutcomeAnswered, e.Outcome)
	}
}
