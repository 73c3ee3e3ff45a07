package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// TestALetterFitsTheServer publishes a dead letter of a large message to a server
// that takes little: it goes without the original.
func TestALetterFitsTheServer(t *testing.T) {
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), MaxPayload: 64 << 10, NoLog: true, NoSigs: true,
	})
	require.NoError(t, err)
	srv.Start()
	defer func() { srv.Shutdown(); srv.WaitForShutdown() }()
	require.True(t, srv.ReadyForConnections(time.Minute))
	nc, err := nats.Connect(srv.ClientURL())
	require.NoError(t, err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, EnsureStreams(ctx, js, 1))

	letter := jobs.DeadLetter{
		ID: "l1", Reason: "noise", Advice: "Discard it.", Original: bytes.Repeat([]byte{0xff}, 60<<10),
		Header: map[string][]string{"X": {"y"}},
	}
	body, err := json.Marshal(letter)
	require.NoError(t, err)
	m := jobs.Outgoing{Subject: jobs.DeadSubject("acme", "cluster.create"), Body: body}
	_, err = js.Publish(ctx, m.Subject, m.Body)
	require.ErrorIs(t, err, nats.ErrMaxPayload, "as it is it does not fit")
	_, err = js.Publish(ctx, m.Subject, fitting(m, nc.MaxPayload()), jetstream.WithMsgID("l1"))
	require.NoError(t, err)

	var told jobs.DeadLetter
	require.NoError(t, json.Unmarshal(fitting(m, nc.MaxPayload()), &told))
	require.Empty(t, told.Original)
	require.Equal(t, "noise", told.Reason)
	require.Contains(t, told.Advice, "61440 bytes")
	require.Equal(t, body, fitting(m, 1<<20), "where there is room it is whole")
	event := jobs.Outgoing{Subject: jobs.EventSubject("acme", "db", jobs.ClusterReadyEv), Body: body}
	require.Equal(t, body, fitting(event, 64<<10))
}
