package integration

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// TestAMessageThatWasUnknownIsReplayed replays, under the shipped NATS roles, a
// dead letter of a kind that only this release knows: its message is taken in,
// though a worker may not publish requests, and what is published behind the
// replay is taken in too.
func TestAMessageThatWasUnknownIsReplayed(t *testing.T) {
	d := startNATSDeployment(t)
	w := startNATSWorker(t, d)
	d.as("DEFAULT_SETUP").setUp("default") // "dead replay --wait" reads the events
	user := d.as("DEFAULT_PORTAL")
	events, err := user.conn.SubscribeSync("pgforeman.v1.event.default.>")
	require.NoError(t, err)
	require.NoError(t, user.conn.Flush())
	remove := func(id string) []byte {
		return []byte(`{"specversion":"1.0","type":"` + jobs.RequestTypeName(jobs.ClusterDelete) +
			`","source":"test","id":"` + id + `","subject":"nowhere","data":{}}`)
	}
	rejected := func(id string) {
		t.Helper()
		for {
			msg, err := events.NextMsg(30 * time.Second)
			require.NoErrorf(t, err, "no event of %s", id)
			var e jobs.Event
			require.NoError(t, json.Unmarshal(msg.Data, &e))
			if e.Data.RequestID != id {
				continue
			}
			require.Equal(t, jobs.EventTypeName(jobs.OperationRejected), e.Type)
			require.Equal(t, jobs.CodeUnknownCluster, e.Data.Error.Code)
			return
		}
	}
	// As a worker of the release before has left it.
	subject := jobs.RequestSubject("default", jobs.ClusterDelete)
	unknown := &jobs.Error{Code: jobs.CodeUnknownKind, Message: "unknown kind"}
	require.NoError(t, w.db.Bury(t.Context(), jobs.DeadLetter{
		RequestID: "early", Tenant: "default", Kind: jobs.ClusterDelete, Cluster: "nowhere", State: jobs.DeadOpen,
		Reason: unknown.Message, Error: unknown, Subject: subject, Original: remove("early"), StreamSeq: 1 << 40,
	}))
	var open []jobs.DeadLetterView
	w.json(&open, "DEFAULT_PORTAL", "dead", "list")
	require.Len(t, open, 1)

	out, errs, code := w.cli("DEFAULT_PORTAL", "dead", "replay", open[0].ID, "--detach")
	require.Zerof(t, code, "%s%s", out, errs)
	rejected("early")
	js, err := jetstream.New(user.conn)
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), subject, remove("behind"))
	require.NoError(t, err)
	rejected("behind")
	w.json(&open, "DEFAULT_PORTAL", "dead", "list")
	require.Empty(t, open)
	require.NotContains(t, w.log(), "ermissions violation")
}
