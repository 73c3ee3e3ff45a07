package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// attack is a call that a role tries, with a body that would do harm.
type attack struct{ subject, body string }

// streamAttacks are the calls that change, empty or read a stream, or a
// consumer of it.
func streamAttacks(stream string) []attack {
	api := "$JS.API."
	return []attack{
		{api + "STREAM.DELETE." + stream, ""},
		{api + "STREAM.PURGE." + stream, "{}"},
		{api + "STREAM.MSG.DELETE." + stream, `{"seq":1}`},
		{api + "STREAM.MSG.GET." + stream, `{"seq":1}`},
		{api + "STREAM.UPDATE." + stream, `{"name":"` + stream + `","subjects":["x"],"max_msgs":1}`},
		{api + "STREAM.SNAPSHOT." + stream, `{"deliver_subject":"_INBOX.x"}`},
		{api + "STREAM.RESTORE." + stream, "{}"},
		{api + "STREAM.LEADER.STEPDOWN." + stream, ""},
		{api + "DIRECT.GET." + stream + ".pgforeman.v1.event.acme.db.cluster.ready", ""},
		{api + "CONSUMER.DURABLE.CREATE." + stream + ".spy", `{"stream_name":"` + stream + `","config":{"durable_name":"spy","ack_policy":"none"}}`},
		{api + "CONSUMER.DELETE." + stream + "." + jobs.ConsumerIntake, ""},
		{api + "CONSUMER.PAUSE." + stream + "." + jobs.ConsumerIntake, `{"pause_until":"2999-01-01T00:00:00Z"}`},
		{api + "CONSUMER.UNPIN." + stream + "." + jobs.ConsumerIntake, "{}"},
		{api + "CONSUMER.LEADER.STEPDOWN." + stream + "." + jobs.ConsumerIntake, ""},
	}
}

// TestNATSAttacks attacks a server with the shipped configuration in which two
// tenants are at work, with every role's key: every call is refused by the
// server, nobody hears what is not theirs, and the streams are as they were.
func TestNATSAttacks(t *testing.T) {
	d := startNATSDeployment(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	worker := d.as("WORKER")
	intake := makeStreams(ctx, t, worker.conn)
	for _, tenant := range []string{"default", "acme"} {
		d.as(strings.ToUpper(tenant) + "_SETUP").setUp(tenant)
	}
	work(ctx, t, d, worker.conn)
	before := d.streams(ctx, t, worker.conn)
	require.Equal(t, map[string]uint64{jobs.StreamRequests: 2, jobs.StreamEvents: 2, jobs.StreamDead: 2}, before)

	all := append(append(streamAttacks(jobs.StreamRequests), streamAttacks(jobs.StreamEvents)...), streamAttacks(jobs.StreamDead)...)
	all = append(all, attack{"$JS.API.STREAM.CREATE.SPY", `{"name":"SPY","subjects":["pgforeman.>"]}`},
		attack{"$JS.API.STREAM.CREATE.SPY", `{"name":"SPY","sources":[{"name":"PGFOREMAN_REQUESTS"}]}`},
		attack{"$JS.API.ACCOUNT.PURGE.PGFOREMAN", ""}, attack{"$JS.API.META.LEADER.STEPDOWN", ""}, attack{"$JS.API.SERVER.REMOVE", "{}"},
		attack{"$SYS.REQ.SERVER.PING", ""}, attack{"$SYS.REQ.ACCOUNT.PGFOREMAN.CONNZ", ""}, attack{"$SYS.REQ.SERVER.PING.JSZ", ""})
	forged := []attack{
		{jobs.EventSubject("acme", "db", jobs.ClusterReadyEv), `{"forged":true}`},
		{jobs.EventSubject("default", "db", jobs.ClusterReadyEv), `{"forged":true}`},
		{jobs.DeadSubject("acme", jobs.ClusterCreate), `{"forged":true}`},
		{jobs.WakeSubject, "x"},
	}
	foreign := []attack{
		{jobs.RequestSubject("acme", jobs.ClusterDelete), `{"id":"forged"}`},
		{jobs.RequestSubject("acme", jobs.OperationDiscard), `{"id":"forged"}`},
		{jobs.QuerySubject("acme", jobs.QueryCredentials), `{"name":"db"}`},
		{jobs.QuerySubject("acme", jobs.QueryAudit), "{}"},
		{"$JS.API.CONSUMER.CREATE.PGFOREMAN_REQUESTS.spy", `{"stream_name":"PGFOREMAN_REQUESTS","config":{"name":"spy","ack_policy":"none"}}`},
		{"$JS.API.CONSUMER.MSG.NEXT.PGFOREMAN_REQUESTS." + jobs.ConsumerIntake, "1"},
		{"$JS.ACK.PGFOREMAN_REQUESTS.pgforeman-intake.1.1.1.1.0", "+ACK"},
	}
	for role, may := range map[string][]string{
		// Of its own account's copy of its own events; what they get by it is tried below.
		"DEFAULT_PORTAL":     {"$JS.API.CONSUMER.DELETE.PGFOREMAN_EVENTS."},
		"DEFAULT_SUBSCRIBER": {"$JS.API.DIRECT.GET.PGFOREMAN_EVENTS."},
		"DEFAULT_SETUP":      {"$JS.API.STREAM.UPDATE.PGFOREMAN_EVENTS"},
		"WORKER": {
			"$JS.API.STREAM.UPDATE.", "$JS.API.CONSUMER.MSG.NEXT.PGFOREMAN_REQUESTS.pgforeman-intake",
			"$JS.ACK.PGFOREMAN_REQUESTS.pgforeman-intake.", "pgforeman.v1.event.", "pgforeman.v1.dead.", "pgforeman.v1.wake",
		},
		"OPERATOR": {jobs.RequestSubject("acme", jobs.OperationDiscard), jobs.QuerySubject("acme", jobs.QueryAudit)},
	} {
		t.Run(role, func(t *testing.T) {
			user := d.as(role)
			user.t = t
			tried := 0
			for _, a := range append(append(append([]attack{}, all...), forged...), foreign...) {
				if !mayDo(may, a.subject) {
					require.Truef(t, user.isRefused(a), "%s may call %s", role, a.subject)
					tried++
				}
			}
			require.Greater(t, tried, len(all)-4)
		})
	}
	t.Run("consumers of others' events", func(t *testing.T) { trySpying(ctx, t, d) })
	t.Run("a copy of others' events", func(t *testing.T) { tryForeignCopy(ctx, t, d) })
	t.Run("inboxes", func(t *testing.T) { tryInboxes(ctx, t, d, worker.conn) })

	before[jobs.StreamEvents]++ // tryForeignCopy's own
	require.Equal(t, before, d.streams(ctx, t, worker.conn), "the streams are not as they were")
	info, err := intake.Info(ctx)
	require.NoError(t, err)
	require.Equal(t, uint64(2), info.NumPending, "the requests still wait for the worker")
}

func mayDo(may []string, subject string) bool {
	for _, prefix := range may {
		if strings.HasPrefix(subject, prefix) {
			return true
		}
	}
	return false
}

// work is what two tenants and a worker have published before.
func work(ctx context.Context, t *testing.T, d *natsDeployment, worker *nats.Conn) {
	t.Helper()
	js, err := jetstream.New(worker)
	require.NoError(t, err)
	for _, tenant := range []string{"default", "acme"} {
		portal, err := jetstream.New(d.as(strings.ToUpper(tenant) + "_PORTAL").conn)
		require.NoError(t, err)
		_, err = portal.Publish(ctx, jobs.RequestSubject(tenant, jobs.ClusterCreate), []byte("of "+tenant))
		require.NoError(t, err)
		_, err = js.Publish(ctx, jobs.EventSubject(tenant, "db", jobs.ClusterReadyEv), []byte("of "+tenant))
		require.NoError(t, err)
		_, err = js.Publish(ctx, jobs.DeadSubject(tenant, jobs.ClusterCreate), []byte("of "+tenant))
		require.NoError(t, err)
	}
}

// streams counts the messages of every stream.
func (d *natsDeployment) streams(ctx context.Context, t *testing.T, conn *nats.Conn) map[string]uint64 {
	t.Helper()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	counts := map[string]uint64{}
	for _, name := range []string{jobs.StreamRequests, jobs.StreamEvents, jobs.StreamDead} {
		stream, err := js.Stream(ctx, name)
		require.NoError(t, err)
		counts[name] = stream.CachedInfo().State.Msgs
	}
	return counts
}

// isRefused makes the call and tells whether the server refuses it.
func (u *natsUser) isRefused(a attack) bool {
	u.t.Helper()
	require.NoError(u.t, u.conn.PublishRequest(a.subject, u.conn.NewRespInbox(), []byte(a.body)))
	return u.wasRefused(a.subject)
}

// trySpying makes consumers as a portal may, on the copy of its own events, and
// asks them for the other tenant's.
func trySpying(ctx context.Context, t *testing.T, d *natsDeployment) {
	portal := d.as("DEFAULT_PORTAL")
	require.Equal(t, []string{"of default"}, history(ctx, t, portal.conn, "default", 1), "its own")
	js, err := jetstream.New(portal.conn)
	require.NoError(t, err)
	for _, filter := range []string{"pgforeman.v1.event.acme.>", "pgforeman.v1.event.*.db.>", "pgforeman.>", ">"} {
		consumer, err := js.CreateConsumer(ctx, jobs.StreamEvents, jetstream.ConsumerConfig{FilterSubject: filter, AckPolicy: jetstream.AckNonePolicy})
		require.NoError(t, err)
		require.LessOrEqualf(t, consumer.CachedInfo().NumPending, uint64(1), "%s", filter)
		batch, err := consumer.FetchNoWait(10)
		require.NoError(t, err)
		for msg := range batch.Messages() {
			require.Equal(t, "of default", string(msg.Data()), filter)
		}
	}
	for subject, body := range map[string]string{
		"$JS.API.DIRECT.GET.PGFOREMAN_EVENTS.pgforeman.v1.event.acme.db.cluster.ready": "",
		"$JS.API.DIRECT.GET.PGFOREMAN_EVENTS":                                          `{"last_by_subj":"pgforeman.v1.event.acme.db.cluster.ready"}`,
	} {
		answer, err := d.as("DEFAULT_SUBSCRIBER").request(subject, []byte(body))
		require.NoError(t, err)
		require.Equalf(t, "404", answer.Header.Get("Status"), "%s: %s", subject, answer.Data)
	}
	// A consumer that delivers by itself, into another tenant's subjects.
	victim := d.as("ACME_PORTAL")
	heard, err := victim.conn.SubscribeSync("pgforeman.v1.event.acme.>")
	require.NoError(t, err)
	require.NoError(t, victim.conn.FlushWithContext(ctx))
	for i, deliver := range []string{
		"pgforeman.v1.event.acme.db.cluster.ready", "pgforeman.v1.request.acme.cluster.delete", "PGFOREMAN.API.CONSUMER.CREATE.PGFOREMAN_EVENTS.x.pgforeman.v1.event.acme.>",
	} {
		body, err := json.Marshal(map[string]any{"stream_name": jobs.StreamEvents, "config": map[string]any{
			"name": fmt.Sprint("push", i), "deliver_subject": deliver, "ack_policy": "none", "deliver_policy": "all", "inactive_threshold": int64(time.Minute),
		}})
		require.NoError(t, err)
		answer, err := portal.request(fmt.Sprintf("$JS.API.CONSUMER.CREATE.PGFOREMAN_EVENTS.push%d", i), body)
		require.NoError(t, err)
		t.Logf("deliver to %s: %.200s", deliver, answer.Data)
	}
	require.NoError(t, portal.conn.FlushWithContext(ctx))
	require.NoError(t, victim.conn.FlushWithContext(ctx))
	pending, _, err := heard.Pending()
	require.NoError(t, err)
	require.Zero(t, pending, "the other tenant heard a forged event")
}

// tryForeignCopy uses the role that makes a tenant's copy of its events to copy
// another's.
func tryForeignCopy(ctx context.Context, t *testing.T, d *natsDeployment) {
	config, err := os.ReadFile("../deployments/nats/tenant-events.json")
	require.NoError(t, err)
	setup, portal := d.as("DEFAULT_SETUP"), d.as("DEFAULT_PORTAL")
	for what, edit := range map[string]func(string) string{
		"another filter": func(s string) string {
			return strings.Replace(s, "event.default.>", "event.acme.>", 1)
		},
		"no filter": func(s string) string {
			return strings.Replace(s, `"filter_subject": "pgforeman.v1.event.default.>",`, "", 1)
		},
		"its own API": func(s string) string {
			return strings.Replace(strings.Replace(s, "event.default.>", "event.acme.>", 1), "PGFOREMAN.API", "$JS.API", 1)
		},
		"requests": func(s string) string {
			return strings.Replace(s, `"name": "PGFOREMAN_EVENTS",
    "filter`, `"name": "PGFOREMAN_REQUESTS",
    "filter`, 1)
		},
	} {
		edited := edit(string(config))
		require.NotEqual(t, string(config), edited, what)
		_, err := setup.request("$JS.API.STREAM.UPDATE.PGFOREMAN_EVENTS", []byte(edited))
		require.NoError(t, err, what)
		_, err = setup.request("$JS.API.STREAM.CREATE.PGFOREMAN_EVENTS", []byte(edited))
		require.NoError(t, err, what)
	}
	publishTo, err := jetstream.New(d.as("WORKER").conn)
	require.NoError(t, err)
	_, err = publishTo.Publish(ctx, jobs.EventSubject("default", "db", jobs.ClusterDegradedEv), []byte("second of default"))
	require.NoError(t, err)
	require.Equal(t, []string{"of default", "second of default"}, history(ctx, t, portal.conn, "default", 2))
	own, err := jetstream.New(portal.conn)
	require.NoError(t, err)
	stream, err := own.Stream(ctx, jobs.StreamEvents)
	require.NoError(t, err)
	require.Equal(t, uint64(2), stream.CachedInfo().State.Msgs, "the copy holds another tenant's events")
}

// TestNATSForeignCopy makes a tenant's copy of another tenant's events where there
// is no copy yet: it stays empty, and one of its own is filled.
func TestNATSForeignCopy(t *testing.T) {
	d := startNATSDeployment(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	worker := d.as("WORKER")
	makeStreams(ctx, t, worker.conn)
	work(ctx, t, d, worker.conn)
	config, err := os.ReadFile("../deployments/nats/tenant-events.json")
	require.NoError(t, err)
	answer, err := d.as("ACME_SETUP").request("$JS.API.STREAM.CREATE.PGFOREMAN_EVENTS", config) // default's
	require.NoError(t, err)
	require.NotContains(t, string(answer.Data), `"error"`)
	d.as("DEFAULT_SETUP").setUp("default")
	require.Equal(t, []string{"of default"}, history(ctx, t, d.as("DEFAULT_PORTAL").conn, "default", 1))
	js, err := jetstream.New(d.as("ACME_PORTAL").conn)
	require.NoError(t, err)
	eventually(t, 30*time.Second, "the server to refuse the copy", func() error {
		stream, err := js.Stream(ctx, jobs.StreamEvents)
		if err != nil {
			return err
		}
		info := stream.CachedInfo()
		require.Zero(t, info.State.Msgs, "a tenant has a copy of another's events")
		if info.Mirror == nil || info.Mirror.Active != -1 {
			return fmt.Errorf("%+v", info.Mirror)
		}
		return nil
	})
}

// tryInboxes listens to every inbox that a role may, while others are answered.
func tryInboxes(ctx context.Context, t *testing.T, d *natsDeployment, worker *nats.Conn) {
	answering, err := worker.Subscribe("pgforeman.v1.query.*.cluster.credentials", func(m *nats.Msg) { _ = m.Respond([]byte("the credentials")) })
	require.NoError(t, err)
	defer func() { _ = answering.Unsubscribe() }()
	require.NoError(t, worker.FlushWithContext(ctx))
	var ears []*nats.Subscription
	for role, inbox := range map[string]string{
		"DEFAULT_PORTAL": "_INBOX.>", "DEFAULT_SUBSCRIBER": "_INBOX_subscriber.>", "DEFAULT_SETUP": "_INBOX_setup.>", "OPERATOR": "_INBOX_operator.>",
	} {
		sub, err := d.as(role).conn.SubscribeSync(inbox)
		require.NoError(t, err)
		ears = append(ears, sub)
	}
	victim := d.as("ACME_PORTAL")
	answer, err := victim.request(jobs.QuerySubject("acme", jobs.QueryCredentials), nil)
	require.NoError(t, err)
	require.Equal(t, "the credentials", string(answer.Data))
	for _, ear := range ears {
		pending, _, err := ear.Pending()
		require.NoError(t, err)
		require.Zero(t, pending, ear.Subject)
	}
}

// TestNATSStreamsAreEncrypted looks for a request's text on the server's disk;
// that a server without encryption has it there shows that the search works.
func TestNATSStreamsAreEncrypted(t *testing.T) {
	for name, edit := range map[string]func(string) string{
		"as shipped": func(main string) string { return main },
		"without": func(main string) string {
			return strings.Replace(strings.Replace(main, "cipher: chachapoly", "", 1), "key: $PGFOREMAN_NATS_STORE_KEY", "", 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			const text = "a request that nobody else should read"
			d := startNATSDeploymentWith(t, edit)
			makeStreams(t.Context(), t, d.as("WORKER").conn)
			js, err := jetstream.New(d.as("DEFAULT_PORTAL").conn)
			require.NoError(t, err)
			_, err = js.Publish(t.Context(), jobs.RequestSubject("default", jobs.ClusterCreate), []byte(text))
			require.NoError(t, err)
			found, files := false, 0
			require.NoError(t, filepath.WalkDir(d.store, func(path string, e fs.DirEntry, err error) error {
				if err != nil || !e.Type().IsRegular() {
					return err
				}
				raw, err := os.ReadFile(path)
				found, files = found || strings.Contains(string(raw), text), files+1
				return err
			}))
			require.Positive(t, files)
			require.Equal(t, name == "without", found)
		})
	}
}

// TestNATSConfigurationIsDurable reads what the shipped configuration makes of
// the server's settings.
func TestNATSConfigurationIsDurable(t *testing.T) {
	d := startNATSDeployment(t)
	opts, err := server.ProcessConfigFile(filepath.Join(filepath.Dir(d.store), "nats-server.conf"))
	require.NoError(t, err)
	require.True(t, opts.SyncAlways)
	require.NotNil(t, opts.TLSConfig)
	require.EqualValues(t, 1<<20, opts.MaxPayload)
	require.False(t, opts.AllowNonTLS)
	require.Empty(t, opts.NoAuthUser)
	require.Empty(t, opts.Username)
}
