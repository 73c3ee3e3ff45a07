package jobs_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

const createSubject = "pgforeman.v1.request.acme.cluster.create"

// message is a good request of structured mode, changed: nil removes a member.
func message(changes map[string]any) []byte {
	m := map[string]any{
		"specversion": "1.0", "id": "req-1", "source": "portal/7", "type": "pgforeman.v1.cluster.create",
		"subject": "orders", "time": "2026-01-31T13:45:00Z", "data": map[string]any{"nodes": 3},
	}
	for k, v := range changes {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return raw
}

func TestParseRequest(t *testing.T) {
	req, err := jobs.ParseRequest(createSubject, nil, message(nil))
	require.NoError(t, err)
	require.Equal(t, "acme", req.Tenant)
	require.Equal(t, "req-1", req.ID)
	require.Equal(t, jobs.ClusterCreate, req.Kind)
	require.Equal(t, "orders", req.Cluster)
	require.Equal(t, "portal/7", req.Actor)
	require.JSONEq(t, `{"nodes":3}`, string(req.Data))
	require.Equal(t, 2026, req.Time.Year())
}

func TestParseRequestBinaryMode(t *testing.T) {
	header := map[string][]string{
		"ce-specversion": {"1.0"}, "Ce-Id": {"req%20%C3%A9"}, "ce-source": {"portal"},
		"ce-type": {"pgforeman.v1.cluster.create"}, "ce-subject": {"orders"}, "Content-Type": {"application/json; charset=utf-8"},
	}
	req, err := jobs.ParseRequest(createSubject, header, []byte(` {"nodes":3} `))
	require.NoError(t, err)
	require.Equal(t, "req é", req.ID)
	require.Equal(t, "orders", req.Cluster)

	structured, err := jobs.ParseRequest(createSubject, nil, message(nil))
	require.NoError(t, err)
	require.Equal(t, structured.Hash, req.Hash, "the same request in either mode")

	header["Content-Type"] = []string{"application/cloudevents+json"}
	req, err = jobs.ParseRequest(createSubject, header, message(nil))
	require.NoError(t, err)
	require.Equal(t, "req-1", req.ID)

	header["Content-Type"] = []string{"text/plain"}
	req, err = jobs.ParseRequest(createSubject, header, []byte("not JSON"))
	requireFaults(t, err, "data", "datacontenttype")
	require.Equal(t, "orders", req.Cluster)
}

func TestParseRequestUnreadable(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	for name, c := range map[string]struct {
		subject string
		header  map[string][]string
		body    string
		reason  string
		tenant  string
	}{
		"empty":              {createSubject, nil, "", "ends too early", "acme"},
		"not JSON":           {createSubject, nil, "hello", "not JSON", "acme"},
		"cut":                {createSubject, nil, `{"id":"x"`, "ends too early", "acme"},
		"two values":         {createSubject, nil, `{} {}`, "something follows", "acme"},
		"not an object":      {createSubject, nil, `[1]`, "not a JSON object", "acme"},
		"null":               {createSubject, nil, `null`, "not a JSON object", "acme"},
		"no id":              {createSubject, nil, `{"specversion":"1.0"}`, "no id", "acme"},
		"id of another type": {createSubject, nil, `{"id":7}`, "no id", "acme"},
		"empty id":           {createSubject, nil, `{"id":""}`, "printable", "acme"},
		"control in the id":  {createSubject, nil, `{"id":"a\u0007"}`, "printable", "acme"},
		"long id":            {createSubject, nil, `{"id":"` + strings.Repeat("x", 129) + `"}`, "printable", "acme"},
		"id twice":           {createSubject, nil, `{"id":"a","id":"b"}`, "twice", "acme"},
		"not UTF-8":          {createSubject, nil, "{\"id\":\"a\xff\"}", "UTF-8", "acme"},
		"deep":               {createSubject, nil, `{"id":"a","data":` + deep + `}`, "deeper", "acme"},
		"huge":               {createSubject, nil, strings.Repeat("x", 2<<20), "bytes", "acme"},
		"header twice":       {createSubject, map[string][]string{"ce-id": {"a", "b"}}, `{}`, "twice", "acme"},
		"header not encoded": {createSubject, map[string][]string{"ce-id": {"%zz"}}, `{}`, "percent", "acme"},
		"tenant":             {"pgforeman.v1.request.ACME.cluster.create", nil, `{"id":"a"}`, "tenant", "_"},
		"kind":               {"pgforeman.v1.request.acme.cluster.Create", nil, `{"id":"a"}`, "kind", "acme"},
		"subject":            {"pgforeman.v1.acme", nil, `{"id":"a"}`, "subject", "_"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := jobs.ParseRequest(c.subject, c.header, []byte(c.body))
			var u *jobs.Unreadable
			require.ErrorAs(t, err, &u)
			require.Contains(t, u.Reason, c.reason)
			require.Equal(t, c.tenant, u.Tenant)
			require.NotEmpty(t, u.Kind)
		})
	}
}

func TestParseRequestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		changes map[string]any
		faults  []string
	}{
		"all at once": {map[string]any{
			"specversion": "0.3", "source": nil, "type": "pgforeman.v1.cluster.delete", "subject": "No Name",
			"time": "yesterday", "datacontenttype": "text/xml", "tenant": "other", "data_base64": "e30=",
		}, []string{"data_base64", "specversion", "type", "source", "tenant", "time", "datacontenttype", "subject"}},
		"type missing":      {map[string]any{"type": nil}, []string{"type"}},
		"wrong types":       {map[string]any{"source": 7, "time": true}, []string{"source", "time", "source"}},
		"no cluster":        {map[string]any{"subject": nil}, []string{"subject"}},
		"bad name in data":  {map[string]any{"subject": nil, "data": map[string]any{"name": "A"}}, []string{"name"}},
		"NUL":               {map[string]any{"data": map[string]any{"x": []string{"a\x00"}}}, []string{"data.x[0]"}},
		"control in source": {map[string]any{"source": "a\nb"}, []string{"source"}},
		"too large":         {map[string]any{"data": strings.Repeat("x", jobs.MaxBody)}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := jobs.ParseRequest(createSubject, nil, message(c.changes))
			requireFaults(t, err, c.faults...)
			require.Equal(t, "acme", req.Tenant)
			require.Equal(t, "req-1", req.ID)
			require.Equal(t, jobs.ClusterCreate, req.Kind)
			require.NotEmpty(t, req.Hash)
		})
	}
	_, err := jobs.ParseRequest(createSubject, nil, []byte(`{"specversion":"1.0","id":"a","source":"s","subject":"orders",
		"type":"pgforeman.v1.cluster.create","data":{"nodes":1,"nodes":3}}`))
	requireFaults(t, err, "data.nodes")
}

func TestParseRequestTakesTheNameFromTheData(t *testing.T) {
	req, err := jobs.ParseRequest(createSubject, nil, message(map[string]any{"subject": nil, "data": map[string]any{"name": "orders"}}))
	require.NoError(t, err)
	require.Equal(t, "orders", req.Cluster)
	req, err = jobs.ParseRequest("pgforeman.v1.request.acme.operation.cancel", nil,
		message(map[string]any{"subject": nil, "type": "pgforeman.v1.operation.cancel", "data": nil}))
	require.NoError(t, err)
	require.Empty(t, req.Cluster)
	require.Equal(t, "{}", string(req.Data))
}

func TestParseRequestOfAnotherVersion(t *testing.T) {
	for name, c := range map[string]struct {
		subject string
		changes map[string]any
		version string
	}{
		"subject":     {"pgforeman.v2.request.acme.cluster.create", nil, "v2"},
		"type":        {createSubject, map[string]any{"type": "pgforeman.v2.cluster.create"}, "v2"},
		"specversion": {createSubject, map[string]any{"specversion": "2.0"}, "CloudEvents 2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := jobs.ParseRequest(c.subject, nil, message(c.changes))
			var u *jobs.UnknownKind
			require.ErrorAs(t, err, &u)
			require.Equal(t, c.version, u.Version)
			require.Equal(t, "req-1", req.ID)
			require.Equal(t, "orders", req.Cluster)
		})
	}
}

func TestRequestHash(t *testing.T) {
	hash := func(data string) string {
		req, err := jobs.ParseRequest(createSubject, nil, message(map[string]any{"data": json.RawMessage(data)}))
		require.NoError(t, err)
		return req.Hash
	}
	require.Equal(t, hash(`{"a":1,"b":{"c":2,"d":3}}`), hash(`{ "b": {"d":3,"c":2}, "a":1 }`))
	require.NotEqual(t, hash(`{"a":1}`), hash(`{"a":2}`))
	require.NotEqual(t, hash(`{"a":1}`), hash(`{"a":"1"}`))
}

// requireFaults requires exactly faults of these fields, in this order.
func requireFaults(t *testing.T, err error, fields ...string) {
	t.Helper()
	var faults jobs.Faults
	require.ErrorAs(t, err, &faults)
	got := []string{}
	for _, f := range faults {
		got = append(got, f.Field)
		require.NotEmpty(t, f.Message)
	}
	require.Equal(t, fields, got, faults.Error())
}

// FuzzParseRequest looks for a message that panics, or that is accepted with
// something in it that others rely on not to be there.
func FuzzParseRequest(f *testing.F) {
	f.Add(createSubject, "", message(nil))
	f.Add(createSubject, "req-1", []byte(`{"nodes":3}`))
	f.Add("pgforeman.v1.request.acme.operation.cancel", "", message(map[string]any{"subject": nil, "type": "pgforeman.v1.operation.cancel"}))
	f.Add("pgforeman.v2.request.acme.x", "", message(nil))
	f.Add(createSubject, "", []byte(`{"id":"a","data":[[[[[]]]]],"id2":{"a":1,"a":2}}`))
	f.Fuzz(func(t *testing.T, subject, ceID string, body []byte) {
		var header map[string][]string
		if ceID != "" {
			header = map[string][]string{
				"ce-id": {ceID}, "ce-specversion": {"1.0"}, "ce-source": {"fuzz"},
				"ce-type": {"pgforeman.v1.cluster.create"}, "ce-subject": {"orders"},
			}
		}
		req, err := jobs.ParseRequest(subject, header, body)
		if err != nil {
			require.LessOrEqual(t, len(err.Error()), 64<<10)
		}
		if u := (*jobs.Unreadable)(nil); asUnreadable(err, &u) {
			require.NotEmpty(t, u.Tenant)
			require.NotEmpty(t, u.Kind)
			return
		}
		require.True(t, jobs.IsName(req.Tenant))
		require.NotEmpty(t, req.ID)
		require.NotContains(t, req.ID, "\x00")
		if req.Cluster != "" {
			require.True(t, jobs.IsName(req.Cluster))
		}
		if err == nil {
			require.True(t, json.Valid(req.Data))
			require.NotContains(t, string(req.Data), "\x00")
		}
		require.Len(t, req.Hash, 64)
	})
}
