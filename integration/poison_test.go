package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// poison is a message that nobody can carry out.
type poison struct {
	name   string
	kind   string // the end of the subject; cluster.create when empty
	header nats.Header
	body   []byte
	code   jobs.Code // of the dead letter
}

// poisons are messages that end in a dead letter, larger than a NATS server
// takes by default among them: one may be set up to take more.
func poisons() []poison {
	request := func(typ, id, data string) []byte {
		return []byte(fmt.Sprintf(`{"specversion":"1.0","type":%q,"source":"poison","id":%q,"subject":"orders","data":%s}`, typ, id, data))
	}
	create := jobs.RequestTypeName(jobs.ClusterCreate)
	large := strings.Repeat("n", 2<<20)
	return []poison{
		{name: "nothing", body: nil},
		{name: "noise of 2 MiB", body: []byte(large)},
		{name: "a request of 2 MiB", body: request(create, "large", `{"name":"`+large+`"}`)},
		{name: "noise of 6 MiB", body: []byte(strings.Repeat("\x00\xff{", 2<<20))},
		{name: "not UTF-8", body: request(create, "x\xff\xfe", "{}")},
		{name: "deep", body: request(create, "deep", strings.Repeat("[", 50_000)+strings.Repeat("]", 50_000))},
		{name: "the same id twice", body: []byte(`{"id":"a","id":"b","specversion":"1.0"}`)},
		{name: "no id", body: request(create, "", "{}")},
		{name: "an id of 129", body: request(create, strings.Repeat("i", 129), "{}")},
		{name: "an id with NUL", body: []byte(`{"specversion":"1.0","id":"a\u0000b"}`)},
		{name: "not an object", body: []byte(`["id"]`)},
		{name: "no percent encoding", header: nats.Header{"ce-id": {"%zz"}, "ce-type": {create}}, body: []byte("{}")},
		{name: "not UTF-8 in a header", header: nats.Header{"ce-id": {"%ff%fe"}}, body: []byte("{}")},
		{name: "a header twice", header: nats.Header{"ce-id": {"a", "b"}}, body: []byte("{}")},
		{name: "a header in two cases", header: nats.Header{"ce-id": {"a"}, "CE-ID": {"b"}}, body: []byte("{}")},
		{name: "a header of 60 KiB", header: nats.Header{"ce-x": {strings.Repeat("h", 60<<10)}}, body: []byte("not json")},
		// Six times as large in JSON, beside as much of the body as an answer holds.
		{name: "60 KiB of control characters", header: nats.Header{"X-Noise": {strings.Repeat("\x01", 60<<10)}}, body: []byte(large)},
		{name: "NUL and escapes in a header", header: nats.Header{"ce-id": {"%00"}, "X-Noise": {"a\x00\x1b[2J\xff"}}, body: []byte("{}")},
		{name: "a kind that is none", kind: "Cluster.CREATE", body: []byte("{}")},
		{name: "a kind of 2,000 characters", kind: strings.Repeat("k", 2000), body: []byte("{}")},
		{name: "an unknown kind", kind: "cluster.explode", body: request("pgforeman.v1.cluster.explode", "explode", "{}"), code: jobs.CodeUnknownKind},
		{name: "a later version", body: request("pgforeman.v2.cluster.create", "later", `{"name":"orders"}`), code: jobs.CodeUnknownKind},
		{name: "later CloudEvents", body: bytes.Replace(request(create, "events2", "{}"), []byte(`"1.0"`), []byte(`"2.0"`), 1), code: jobs.CodeUnknownKind},
	}
}

// TestPoison sends what nobody can carry out through the shipped NATS
// configuration (which takes 8 MiB here) to a worker: each is a dead letter with
// its original bytes, nothing waits behind it, and it can be discarded. What a
// rejected request says of passwords is in no event, log, list or answer.
func TestPoison(t *testing.T) {
	d := startNATSDeploymentWith(t, func(main string) string {
		edited := strings.Replace(main, "max_payload: 1MB", "max_payload: 8MB", 1)
		require.NotEqual(t, main, edited)
		return edited
	})
	w := startNATSWorker(t, d, "PGFOREMAN_QUOTA_NODES=2", "PGFOREMAN_QUOTA_MEMORY_MB=1024")
	d.as("DEFAULT_SETUP").setUp("default") // "dead discard --wait" reads the events
	user := d.as("DEFAULT_PORTAL")
	events, err := user.conn.SubscribeSync("pgforeman.v1.event.default.>")
	require.NoError(t, err)
	require.NoError(t, user.conn.Flush())
	js, err := jetstream.New(user.conn)
	require.NoError(t, err)
	publish := func(kind string, header nats.Header, body []byte) {
		t.Helper()
		_, err := js.PublishMsg(t.Context(), &nats.Msg{
			Subject: jobs.RequestSubject("default", jobs.KindName(kind)), Header: header, Data: body,
		})
		require.NoError(t, err)
	}
	sent := time.Now()
	byName := map[string]poison{}
	for _, p := range poisons() {
		if p.kind == "" {
			p.kind = string(jobs.ClusterCreate)
		}
		publish(p.kind, p.header, p.body)
		byName[p.name] = p
	}
	_, err = js.PublishMsg(t.Context(), &nats.Msg{
		Subject: jobs.RequestSubject("default", jobs.ClusterCreate), Header: nats.Header{"ce-x": {strings.Repeat("h", 65<<10)}},
	})
	require.ErrorContains(t, err, "64k", "more headers than a stream takes: who publishes is told")
	publish(string(jobs.ClusterCreate), nil, secretive())
	var rejected jobs.Event
	for rejected.Data.RequestID != "secretive" {
		msg, err := events.NextMsg(30 * time.Second)
		require.NoError(t, err, "the request behind the poison waits")
		require.NotContains(t, string(msg.Data), "5ecret")
		require.NoError(t, json.Unmarshal(msg.Data, &rejected))
	}
	require.Equal(t, jobs.EventTypeName(jobs.OperationRejected), rejected.Type)
	require.Greater(t, len(rejected.Data.Error.Faults), 6, "%+v", rejected.Data.Error)
	t.Logf("a request behind %d poisoned ones was rejected after %.1f s", len(byName), time.Since(sent).Seconds())

	next := func(t *testing.T, code jobs.Code) jobs.Event {
		t.Helper()
		msg, err := events.NextMsg(30 * time.Second)
		require.NoError(t, err)
		var e jobs.Event
		require.NoError(t, json.Unmarshal(msg.Data, &e))
		require.Equal(t, jobs.EventTypeName(jobs.OperationRejected), e.Type)
		require.Equal(t, code, e.Data.Error.Code, "%s", msg.Data)
		return e
	}
	t.Run("another tenant in the message", func(t *testing.T) {
		create := jobs.RequestTypeName(jobs.ClusterCreate)
		publish(string(jobs.ClusterCreate), nats.Header{
			"ce-specversion": {"1.0"}, "ce-id": {"t1"}, "ce-source": {"poison"}, "ce-type": {create}, "ce-subject": {"orders"}, "ce-tenant": {"acme"},
		}, []byte("{}"))
		e := next(t, jobs.CodeInvalid)
		require.Equal(t, "tenant", e.Data.Error.Faults[0].Field)
		for i, envelope := range []string{`"tenant":"acme","data":{}`, `"data":{"tenant":"acme"}`} {
			publish(string(jobs.ClusterCreate), nil, []byte(fmt.Sprintf(
				`{"specversion":"1.0","type":%q,"source":"poison","id":"t2-%d","subject":"orders",%s}`, create, i, envelope)))
			e := next(t, jobs.CodeInvalid)
			require.Equal(t, "tenant", e.Data.Error.Faults[0].Field)
		}
	})
	t.Run("over the quota", func(t *testing.T) {
		publish(string(jobs.ClusterCreate), nil, []byte(`{"specversion":"1.0","type":"pgforeman.v1.cluster.create","source":"poison",
			"id":"large-cluster","subject":"large","data":{"nodes":3,"memory_mb":512}}`))
		e := next(t, jobs.CodeQuota)
		require.Contains(t, e.Data.Error.Message, "nodes: asked for 3, used 0, limit 2; memory_mb: asked for 1536, used 0, limit 1024")
	})

	var letters []jobs.DeadLetterView
	eventually(t, time.Minute, "a dead letter of each", func() error {
		w.json(&letters, "DEFAULT_PORTAL", "dead", "list")
		if len(letters) != len(byName) {
			return fmt.Errorf("%d of %d", len(letters), len(byName))
		}
		return nil
	})
	unknown := 0
	for _, l := range letters {
		var full jobs.DeadLetter
		w.json(&full, "DEFAULT_PORTAL", "dead", "show", l.ID)
		p, ok := poisonOf(byName, full)
		require.Truef(t, ok, "the original of %q is not what was sent: %d bytes", full.Reason, len(full.Original))
		delete(byName, p.name)
		want := p.code
		if want == "" {
			want = jobs.CodeUnreadable
		}
		require.Equal(t, want, full.Error.Code, p.name)
		if want == jobs.CodeUnknownKind {
			unknown++
			require.GreaterOrEqualf(t, full.CreatedAt.Sub(sent), 5*time.Second, "%s was left to other workers for a while", p.name)
		}
		out, errs, code := w.cli("DEFAULT_PORTAL", "dead", "show", l.ID)
		require.Zerof(t, code, "%s: %s", p.name, errs)
		require.Less(t, len(out), 64<<10, "%s: a terminal is not flooded", p.name)
		require.NotContains(t, out, "\x1b", "%s: a terminal is not steered", p.name)
		_, errs, code = w.cli("DEFAULT_PORTAL", "dead", "discard", l.ID, "--yes", "--wait")
		require.Zerof(t, code, "%s: %s", p.name, errs)
	}
	require.Empty(t, byName)
	require.Equal(t, 3, unknown)
	w.json(&letters, "DEFAULT_PORTAL", "dead", "list")
	require.Empty(t, letters)

	// Every letter was published too: none blocks those behind it.
	operator, err := jetstream.New(d.as("OPERATOR").conn)
	require.NoError(t, err)
	dead, err := operator.Stream(t.Context(), jobs.StreamDead)
	require.NoError(t, err)
	require.Equal(t, uint64(len(poisons())), dead.CachedInfo().State.Msgs)

	for _, list := range [][]string{{"audit", "list", "-o", "json"}, {"operation", "list", "-o", "json"}} {
		out, errs, code := w.cli("DEFAULT_PORTAL", list...)
		require.Zero(t, code, errs)
		require.NotContains(t, out, "5ecret")
	}
	require.Contains(t, w.log(), "request rejected")
	require.NotContains(t, w.log(), "5ecret")
	require.NotContains(t, w.log(), "fault of pgforeman")
}

// poisonOf finds what a dead letter is the letter of.
func poisonOf(sent map[string]poison, l jobs.DeadLetter) (poison, bool) {
	for _, p := range sent {
		if !bytes.Equal(p.body, l.Original) || !strings.HasSuffix(l.Subject, "."+p.kind) {
			continue
		}
		same := true
		for name, values := range p.header {
			kept := strings.ToValidUTF8(fmt.Sprint(values), "\uFFFD") // JSON holds nothing else
			same = same && fmt.Sprint(l.Header[name]) == kept
		}
		if same && (len(p.header) == 0) == (len(l.Header) == 0) {
			return p, true
		}
	}
	return poison{}, false
}

// secretive is a request by somebody who takes pgforeman for something else: it
// is full of passwords, where there is no place for any.
func secretive() []byte {
	const secret = "5ecretValue"
	body, _ := json.Marshal(map[string]any{ // of strings only
		"specversion": "1.0", "id": "secretive", "source": "poison", "type": jobs.RequestTypeName(jobs.ClusterCreate), "subject": "orders",
		"data": map[string]any{
			"password": secret, "superuser_password": map[string]any{"value": secret}, "nodes": secret, "cpus": secret,
			"synchronous_mode": secret, "postgres_version": secret, "bind_address": secret, "on_failure": secret,
			"users":     []any{map[string]any{"name": "shop", "password": secret}, secret},
			"databases": []any{map[string]any{"name": "shopdb", "owner": secret}},
			"parameters": map[string]any{
				"primary_conninfo": "password=" + secret, "ssl_passphrase_command": "echo " + secret, "work_mem": secret,
				"wal_level": secret, "no_such_setting": secret,
			},
			"labels": map[string]any{"io.pgforeman.x": secret, "long": strings.Repeat(secret, 60)},
		},
	})
	return body
}
