package integration

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

// TestSDKInItsRoles uses the SDK with the keys of a portal and of an operator on
// a server with the shipped configuration, where nothing is allowed that is not
// needed.
func TestSDKInItsRoles(t *testing.T) {
	d := startNATSDeployment(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	worker := d.as("WORKER")
	intake := makeStreams(ctx, t, worker.conn)
	d.as("ACME_SETUP").setUp("acme")
	answerClusterList(t, worker)

	portal := d.sdk("ACME_PORTAL", client.Options{Tenant: "acme"})
	receipt, err := portal.Publish(ctx, client.Request{Kind: jobs.ClusterCreate, Cluster: "orders", ID: "req"})
	require.NoError(t, err)
	msg, err := intake.Next(jetstream.FetchContext(ctx))
	require.NoError(t, err)
	require.NoError(t, msg.DoubleAck(ctx))

	js, err := jetstream.New(worker.conn)
	require.NoError(t, err)
	for seq, typ := range []jobs.EventType{jobs.OperationAccepted, jobs.OperationSucceededEv} {
		body, err := json.Marshal(jobs.Event{
			Type: jobs.EventTypeName(typ), Data: jobs.EventData{RequestID: "req", Cluster: "orders", Seq: int64(seq + 1)},
		})
		require.NoError(t, err)
		_, err = js.Publish(ctx, jobs.EventSubject("acme", "orders", typ), body)
		require.NoError(t, err)
	}
	var seen []jobs.EventType
	for e, err := range portal.Watch(ctx, receipt.Target()) {
		require.NoError(t, err)
		seen = append(seen, client.TypeOf(e))
	}
	require.Equal(t, []jobs.EventType{jobs.OperationAccepted, jobs.OperationSucceededEv}, seen)

	var list []jobs.ClusterView
	require.NoError(t, portal.Query(ctx, jobs.QueryClusterList, jobs.Query{}, &list))

	operator := d.sdk("OPERATOR", client.Options{Tenant: "acme", InboxPrefix: "_INBOX_operator"})
	require.NoError(t, operator.Query(ctx, jobs.QueryClusterList, jobs.Query{}, &list))
	_, err = operator.Publish(ctx, client.Request{Kind: jobs.OperationCancel, Data: jobs.ControlSpec{OperationID: "x"}})
	require.NoError(t, err)
	events := 0
	for _, err := range operator.Events(ctx, client.EventFilter{Cluster: "orders"}) {
		require.NoError(t, err)
		events++
	}
	require.Equal(t, 2, events)

	// What a role may not do is said as such.
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = operator.Publish(short, client.Request{Kind: jobs.ClusterDelete, Cluster: "orders"})
	require.ErrorIs(t, err, client.ErrRefused)
}

// sdk connects the SDK in a role.
func (d *natsDeployment) sdk(role string, o client.Options) *client.Client {
	d.t.Helper()
	seed, err := d.keys[role].Seed()
	require.NoError(d.t, err)
	dir := d.t.TempDir()
	o.URL, o.NKey, o.CA = d.url, filepath.Join(dir, "nk"), filepath.Join(dir, "ca.pem")
	require.NoError(d.t, os.WriteFile(o.NKey, seed, 0o600))
	require.NoError(d.t, os.WriteFile(o.CA, d.ca, 0o600))
	c, err := client.Connect(d.t.Context(), o)
	require.NoError(d.t, err)
	d.t.Cleanup(c.Close)
	return c
}

// answerClusterList answers the query of that name with an empty list.
func answerClusterList(t *testing.T, worker *natsUser) {
	t.Helper()
	service, err := micro.AddService(worker.conn, micro.Config{Name: "pgforeman", Version: "1.0.0"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = service.Stop() }) // the connection ends with the test
	require.NoError(t, service.AddEndpoint("list", micro.HandlerFunc(func(r micro.Request) {
		_ = r.Respond([]byte("[]"))
	}), micro.WithEndpointSubject(jobs.QuerySubject("*", jobs.QueryClusterList))))
	require.NoError(t, worker.conn.Flush())
}
