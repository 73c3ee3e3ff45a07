package integration

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// TestNATSRolesDoTheirWork takes a request, a query and events of two tenants
// through the shipped configuration, every role with its own key.
func TestNATSRolesDoTheirWork(t *testing.T) {
	d := startNATSDeployment(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	worker, portal := d.as("WORKER"), d.as("DEFAULT_PORTAL")
	intake := makeStreams(ctx, t, worker.conn)

	// A request is acknowledged by the stream, and reaches the worker.
	request := jobs.RequestSubject("default", "cluster.create")
	js, err := jetstream.New(portal.conn)
	require.NoError(t, err)
	ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: request, Data: []byte("{}"), Header: nats.Header{"Nats-Msg-Id": {"1"}}})
	require.NoError(t, err)
	require.Equal(t, jobs.StreamRequests, ack.Stream)
	msg, err := intake.Next(jetstream.FetchContext(ctx))
	require.NoError(t, err)
	require.Equal(t, request, msg.Subject())
	require.NoError(t, msg.DoubleAck(ctx))

	// A query is answered, to the one who asked.
	eavesdropper := d.as("DEFAULT_SUBSCRIBER")
	service, err := micro.AddService(worker.conn, micro.Config{Name: "pgforeman", Version: "1.0.0"})
	require.NoError(t, err)
	defer func() { require.NoError(t, service.Stop()) }()
	require.NoError(t, service.AddEndpoint("query", micro.HandlerFunc(func(r micro.Request) {
		_ = r.Respond([]byte("answer to " + r.Subject()))
	}), micro.WithEndpointSubject("pgforeman.v1.query.>")))
	require.NoError(t, worker.conn.FlushWithContext(ctx))
	query := jobs.QuerySubject("default", jobs.QueryCredentials)
	answer, err := portal.request(query, nil)
	require.NoError(t, err)
	require.Equal(t, "answer to "+query, string(answer.Data))
	answer, err = d.as("OPERATOR").request(jobs.QuerySubject("acme", jobs.QueryDeadList), nil)
	require.NoError(t, err)
	require.NotEmpty(t, answer.Data)

	// Events reach who is listening; the history has those from before, too.
	event := func(tenant string) string {
		return jobs.EventSubject(tenant, "db", "operation.accepted")
	}
	publish := func(tenant, body string) {
		t.Helper()
		js, err := jetstream.New(worker.conn)
		require.NoError(t, err)
		_, err = js.Publish(ctx, event(tenant), []byte(body))
		require.NoError(t, err)
	}
	publish("acme", "before, for acme")
	publish("default", "before, for default")
	live, err := eavesdropper.conn.SubscribeSync("pgforeman.v1.event.default.>")
	require.NoError(t, err)
	require.NoError(t, eavesdropper.conn.FlushWithContext(ctx))
	d.as("DEFAULT_SETUP").setUp("default")
	d.as("ACME_SETUP").setUp("acme")
	publish("acme", "after, for acme")
	publish("default", "after, for default")

	next, err := live.NextMsgWithContext(ctx)
	require.NoError(t, err)
	require.Equal(t, "after, for default", string(next.Data))
	require.Equal(t, []string{"before, for default", "after, for default"}, history(ctx, t, portal.conn, "default", 2))
	require.Equal(t, []string{"before, for acme", "after, for acme"}, history(ctx, t, d.as("ACME_PORTAL").conn, "acme", 2))
	require.Empty(t, eavesdropper.refused)
	require.Empty(t, portal.refused)
	require.Empty(t, worker.refused)

	old, err := eavesdropper.request("$JS.API.DIRECT.GET.PGFOREMAN_EVENTS", []byte(`{"seq":2}`))
	require.NoError(t, err)
	require.Equal(t, "before, for default", string(old.Data))
}

// makeStreams does what a worker does at its start.
func makeStreams(ctx context.Context, t *testing.T, conn *nats.Conn) jetstream.Consumer {
	t.Helper()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	for stream, subject := range map[string]string{
		jobs.StreamRequests: "pgforeman.v1.request.>",
		jobs.StreamEvents:   "pgforeman.v1.event.>",
		jobs.StreamDead:     "pgforeman.v1.dead.>",
	} {
		_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: stream, Subjects: []string{subject}})
		require.NoError(t, err, stream)
	}
	intake, err := js.CreateOrUpdateConsumer(ctx, jobs.StreamRequests, jetstream.ConsumerConfig{
		Durable: jobs.ConsumerIntake, AckPolicy: jetstream.AckExplicitPolicy,
	})
	require.NoError(t, err)
	return intake
}

// history reads a tenant's copy of the events from its beginning, as the portal's
// SDK does, until it has n of them.
func history(ctx context.Context, t *testing.T, conn *nats.Conn, tenant string, n int) []string {
	t.Helper()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	consumer, err := js.OrderedConsumer(ctx, jobs.StreamEvents, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"pgforeman.v1.event." + tenant + ".>"}, DeliverPolicy: jetstream.DeliverAllPolicy,
	})
	require.NoError(t, err)
	messages, err := consumer.Messages()
	require.NoError(t, err)
	defer messages.Stop()
	var bodies []string
	for range n {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		require.NoError(t, err)
		bodies = append(bodies, string(msg.Data()))
	}
	return bodies
}

// TestNATSRolesAreHeld tries what each role must not do, beside something that
// it may do, so that a role that is refused everything does not pass.
func TestNATSRolesAreHeld(t *testing.T) {
	d := startNATSDeployment(t)
	tests := []struct {
		role                                                 string
		publish, subscribe, refusedPublish, refusedSubscribe string // separated by spaces
	}{
		{
			role:      "DEFAULT_PORTAL",
			publish:   "pgforeman.v1.request.default.cluster.create pgforeman.v1.query.default.cluster.get",
			subscribe: "pgforeman.v1.event.default.> _INBOX.x",
			refusedPublish: `pgforeman.v1.request.acme.cluster.create pgforeman.v1.query.acme.cluster.credentials
				pgforeman.v1.event.default.db.cluster.ready pgforeman.v1.dead.default.cluster.create pgforeman.v1.wake
				$JS.API.STREAM.DELETE.PGFOREMAN_EVENTS $JS.API.STREAM.CREATE.OTHER $JS.API.STREAM.PURGE.PGFOREMAN_EVENTS
				$JS.API.CONSUMER.CREATE.PGFOREMAN_REQUESTS.x $JS.FC.PGFOREMAN_EVENTS.x.y
				PGFOREMAN.API.CONSUMER.CREATE.PGFOREMAN_EVENTS.x.pgforeman.v1.event.default.>
				pgforeman.mirror.default.x $SRV.PING _INBOX.someone`,
			refusedSubscribe: `> pgforeman.> pgforeman.v1.event.> pgforeman.v1.event.acme.> pgforeman.v1.request.default.>
				pgforeman.v1.query.default.> pgforeman.v1.wake pgforeman.mirror.default.> _INBOX_subscriber.> $JS.EVENT.>`,
		},
		{
			role:      "DEFAULT_SUBSCRIBER",
			publish:   "$JS.API.STREAM.INFO.PGFOREMAN_EVENTS",
			subscribe: "pgforeman.v1.event.default.> _INBOX_subscriber.x",
			refusedPublish: `pgforeman.v1.request.default.cluster.create pgforeman.v1.query.default.cluster.credentials
				$JS.API.CONSUMER.CREATE.PGFOREMAN_EVENTS.x pgforeman.v1.event.default.db.cluster.ready`,
			refusedSubscribe: "> _INBOX.> pgforeman.v1.event.acme.> pgforeman.v1.request.default.>",
		},
		{
			role:      "DEFAULT_SETUP",
			publish:   "$JS.API.STREAM.INFO.PGFOREMAN_EVENTS",
			subscribe: "_INBOX_setup.x",
			refusedPublish: `pgforeman.v1.request.default.cluster.create $JS.API.STREAM.DELETE.PGFOREMAN_EVENTS
				$JS.API.STREAM.CREATE.OTHER`,
			refusedSubscribe: "> _INBOX.> pgforeman.v1.event.default.>",
		},
		{
			role:      "WORKER",
			publish:   "pgforeman.v1.wake pgforeman.v1.event.acme.db.cluster.ready",
			subscribe: "pgforeman.v1.query.> pgforeman.v1.wake _INBOX.x",
			refusedPublish: `pgforeman.v1.request.default.cluster.delete pgforeman.v1.query.default.cluster.credentials
				$JS.API.STREAM.DELETE.PGFOREMAN_REQUESTS $JS.API.STREAM.PURGE.PGFOREMAN_REQUESTS $JS.API.STREAM.CREATE.OTHER
				$JS.API.CONSUMER.DELETE.PGFOREMAN_REQUESTS.pgforeman-intake $JS.API.CONSUMER.CREATE.PGFOREMAN_REQUESTS.other
				$JS.ACK.PGFOREMAN_REQUESTS.other.1.1.1.1.0 _INBOX_operator.x`,
			refusedSubscribe: "> pgforeman.v1.request.> _INBOX_operator.> $JS.EVENT.>",
		},
		{
			role:      "OPERATOR",
			publish:   "pgforeman.v1.request.acme.operation.replay pgforeman.v1.query.acme.cluster.get",
			subscribe: "pgforeman.v1.event.> pgforeman.v1.dead.> _INBOX_operator.x",
			refusedPublish: `pgforeman.v1.request.acme.cluster.delete pgforeman.v1.query.acme.cluster.credentials
				pgforeman.v1.event.acme.db.cluster.ready $JS.API.STREAM.DELETE.PGFOREMAN_REQUESTS
				$JS.API.CONSUMER.MSG.NEXT.PGFOREMAN_REQUESTS.pgforeman-intake
				$JS.ACK.PGFOREMAN_REQUESTS.pgforeman-intake.1.1.1.1.0`,
			refusedSubscribe: "> pgforeman.v1.request.> pgforeman.v1.query.> _INBOX.>",
		},
	}
	for _, tt := range tests {
		t.Run(tt.role, func(t *testing.T) {
			user := d.as(tt.role)
			user.t = t
			for _, subject := range strings.Fields(tt.publish) {
				require.True(t, user.mayPublish(subject), "may not publish to %s", subject)
			}
			for _, subject := range strings.Fields(tt.subscribe) {
				require.True(t, user.maySubscribe(subject), "may not subscribe to %s", subject)
			}
			for _, subject := range strings.Fields(tt.refusedPublish) {
				require.False(t, user.mayPublish(subject), "may publish to %s", subject)
			}
			for _, subject := range strings.Fields(tt.refusedSubscribe) {
				require.False(t, user.maySubscribe(subject), "may subscribe to %s", subject)
			}
		})
	}

	t.Run("a stranger", func(t *testing.T) {
		stranger, err := nkeys.CreateUser()
		require.NoError(t, err)
		_, err = d.tryDial(stranger)
		require.ErrorIs(t, err, nats.ErrAuthorization)
	})
	t.Run("without TLS", func(t *testing.T) {
		plain, err := nats.Connect(d.url, nats.Timeout(30*time.Second))
		if err == nil {
			plain.Close()
		}
		require.Error(t, err)
	})
}

// TestNATSTenantsCannotImportEachOther edits the tenants' part as a careless
// hand might: an account of one tenant that imports the subjects of another.
func TestNATSTenantsCannotImportEachOther(t *testing.T) {
	for _, subject := range []string{"pgforeman.v1.request.", "pgforeman.v1.query.", "pgforeman.v1.event.", "pgforeman.mirror."} {
		t.Run(subject, func(t *testing.T) {
			d := &natsDeployment{t: t, keys: map[string]nkeys.KeyPair{}}
			dir := writeNATSConfig(t, func(tenants string) string {
				before := `account: PGFOREMAN, subject: "` + subject
				edited := strings.Replace(tenants, before+"acme.>", before+"default.>", 1)
				require.NotEqual(t, tenants, edited)
				return edited
			})
			d.setEnvironment(dir)
			err := loadNATSConfig(dir)
			require.ErrorContains(t, err, "not authorized")
		})
	}
	t.Run("a missing key", func(t *testing.T) {
		d := &natsDeployment{t: t, keys: map[string]nkeys.KeyPair{}}
		dir := writeNATSConfig(t, func(tenants string) string { return tenants })
		d.setEnvironment(dir)
		require.NoError(t, os.Unsetenv("PGFOREMAN_NKEY_WORKER"))
		require.ErrorContains(t, loadNATSConfig(dir), "PGFOREMAN_NKEY_WORKER")
	})
}

func loadNATSConfig(dir string) error {
	opts, err := server.ProcessConfigFile(filepath.Join(dir, "nats-server.conf"))
	if err != nil {
		return err
	}
	opts.NoLog, opts.NoSigs = true, true
	srv, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	srv.Shutdown()
	return nil
}
