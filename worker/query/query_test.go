package query_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
	"github.com/vcs-iaas/pgforeman/worker/query"
)

const operationID = "0192f0c4-0000-7000-8000-000000000001"

// world is the state of one tenant, acme: a cluster orders, made by one
// operation that failed.
type world struct {
	mu      sync.Mutex
	audit   []jobs.AuditEntry
	broken  error // what the store answers
	noAudit error
}

func (w *world) ClusterByName(_ context.Context, tenant, name string) (jobs.Cluster, error) {
	if w.broken != nil {
		return jobs.Cluster{}, w.broken
	}
	if tenant != "acme" || name != "orders" {
		return jobs.Cluster{}, fmt.Errorf("read the cluster: %w", jobs.ErrNotFound)
	}
	return jobs.Cluster{ID: "c1", Tenant: "acme", Name: "orders", State: jobs.ClusterReady, Spec: json.RawMessage(`{"name":"orders","nodes":2}`)}, nil
}

func (w *world) Clusters(ctx context.Context, tenant string, _ bool, _ int) ([]jobs.Cluster, error) {
	c, err := w.ClusterByName(ctx, tenant, "orders")
	if err != nil {
		return nil, w.broken
	}
	return []jobs.Cluster{c}, nil
}

func (w *world) Nodes(context.Context, string) ([]jobs.NodeRecord, error) {
	return []jobs.NodeRecord{{Name: "orders-1", Part: "node", Role: "leader"}, {Name: "orders-etcd-1", Part: "etcd"}}, nil
}

func (w *world) Operation(_ context.Context, tenant, id string) (jobs.Operation, []jobs.StepRecord, error) {
	if tenant != "acme" || id != operationID && id != "req-1" {
		return jobs.Operation{}, nil, jobs.ErrNotFound
	}
	op := jobs.Operation{
		ID: operationID, RequestID: "req-1", Tenant: "acme", Kind: jobs.ClusterCreate, Cluster: "orders",
		State: jobs.OperationFailed, Stages: []string{"one"}, Error: &jobs.Error{Code: jobs.CodeStepFailed, Message: "no"},
	}
	return op, []jobs.StepRecord{{Step: jobs.Step{Name: "node.start", Node: "orders-1"}, State: jobs.StepFailed, Attempt: 3}}, nil
}

func (w *world) Operations(_ context.Context, tenant string, f jobs.OperationFilter) ([]jobs.Operation, error) {
	op, _, err := w.Operation(context.Background(), tenant, operationID)
	if err != nil || f.State != "" && f.State != op.State {
		return nil, nil
	}
	return []jobs.Operation{op}, nil
}

func (w *world) DeadLetters(_ context.Context, tenant string, _ bool, _ int) ([]jobs.DeadLetter, error) {
	if tenant != "acme" {
		return nil, nil
	}
	return []jobs.DeadLetter{{ID: "d1", OperationID: operationID, Reason: "no", State: jobs.DeadOpen}}, nil
}

func (w *world) DeadLetter(_ context.Context, tenant, id string) (jobs.DeadLetter, error) {
	if tenant != "acme" || id != "d1" {
		return jobs.DeadLetter{}, jobs.ErrNotFound
	}
	return jobs.DeadLetter{ID: "d1", OperationID: operationID, Original: []byte("verbatim")}, nil
}

func (w *world) Audit(_ context.Context, e jobs.AuditEntry) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noAudit == nil {
		w.audit = append(w.audit, e)
	}
	return w.noAudit
}

func (w *world) AuditTrail(_ context.Context, tenant, cluster string, limit int) ([]jobs.AuditEntry, error) {
	if tenant != "acme" || cluster != "orders" || limit != 7 {
		return nil, nil
	}
	return []jobs.AuditEntry{{Tenant: "acme", Actor: "tester", Action: "cluster.create", Cluster: "orders",
		OperationID: operationID, RequestID: "req-1", Outcome: jobs.OutcomeFailed, Detail: "no"}}, nil
}

func (w *world) Status(_ context.Context, c jobs.Cluster) (jobs.StatusView, error) {
	if w.broken != nil {
		panic("a fault")
	}
	return jobs.StatusView{ClusterView: jobs.ClusterView{Name: c.Name}, Trouble: []string{"none"}}, nil
}

func (w *world) Credentials(_ context.Context, c jobs.Cluster, user string) (jobs.Credentials, error) {
	return jobs.Credentials{Username: "app" + user, Password: "hush-hush-" + c.Name}, nil
}

// serve starts a NATS server and the service on it.
func serve(t *testing.T, w *world) (url string, asAcme *client.Client) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	require.NoError(t, err)
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	require.True(t, srv.ReadyForConnections(30*time.Second))
	nc, err := nats.Connect(srv.ClientURL())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	service, err := query.Start(query.Options{
		NATS: nc, Store: w, Inspector: w, Vault: w, Version: "v1.2.3-4-gabc", Log: zerolog.Nop(),
		Steps: []jobs.StepType{{Name: "node.start", Title: "start node"}},
	})
	require.NoError(t, err)
	t.Cleanup(service.Stop)
	require.NoError(t, nc.Flush())
	return srv.ClientURL(), connect(t, srv.ClientURL(), "acme")
}

func connect(t *testing.T, url, tenant string) *client.Client {
	t.Helper()
	c, err := client.Connect(t.Context(), client.Options{URL: url, Tenant: tenant, Source: "tester"})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestQueries(t *testing.T) {
	w := &world{}
	url, c := serve(t, w)
	ctx := t.Context()

	var cluster jobs.ClusterView
	require.NoError(t, c.Query(ctx, jobs.QueryClusterGet, jobs.Query{Name: "orders"}, &cluster))
	require.Equal(t, 2, cluster.Spec.Nodes)
	require.Equal(t, []jobs.NodeView{{Name: "orders-1", Role: "leader"}}, cluster.Nodes, "nodes alone")

	var clusters []jobs.ClusterView
	require.NoError(t, c.Query(ctx, jobs.QueryClusterList, jobs.Query{}, &clusters))
	require.Len(t, clusters, 1)

	var status jobs.StatusView
	require.NoError(t, c.Query(ctx, jobs.QueryStatus, jobs.Query{Name: "orders"}, &status))
	require.Equal(t, []string{"none"}, status.Trouble)

	var op jobs.OperationView
	require.NoError(t, c.Query(ctx, jobs.QueryOperationGet, jobs.Query{ID: "req-1"}, &op), "a failed operation is not a failed query")
	require.Equal(t, jobs.CodeStepFailed, op.Error.Code)
	require.Equal(t, "start node", op.Steps[0].Title)

	var ops []jobs.OperationView
	require.NoError(t, c.Query(ctx, jobs.QueryOperations, jobs.Query{State: "running"}, &ops))
	require.Empty(t, ops)

	var letter jobs.DeadLetter
	require.NoError(t, c.Query(ctx, jobs.QueryDeadGet, jobs.Query{ID: operationID}, &letter))
	require.Equal(t, "verbatim", string(letter.Original))

	var audit []jobs.AuditView
	require.NoError(t, c.Query(ctx, jobs.QueryAudit, jobs.Query{Cluster: "orders", Limit: 7}, &audit))
	require.Equal(t, []jobs.AuditView{{Actor: "tester", Action: "cluster.create", Cluster: "orders",
		OperationID: operationID, RequestID: "req-1", Outcome: "failed", Detail: "no"}}, audit)

	// Another tenant sees nothing of it.
	other := connect(t, url, "other")
	for what, q := range map[string]jobs.Query{
		jobs.QueryClusterGet: {Name: "orders"}, jobs.QueryStatus: {Name: "orders"}, jobs.QueryCredentials: {Name: "orders"},
		jobs.QueryOperationGet: {ID: operationID}, jobs.QueryDeadGet: {ID: "d1"},
	} {
		err := other.Query(ctx, what, q, &struct{}{})
		require.Truef(t, client.IsNotFound(err), "%s: %v", what, err)
	}
	var list []any
	for _, what := range []string{jobs.QueryClusterList, jobs.QueryOperations, jobs.QueryDeadList, jobs.QueryAudit} {
		require.NoError(t, other.Query(ctx, what, jobs.Query{}, &list))
		require.NotNil(t, list)
		require.Empty(t, list)
	}
}

func TestCredentialsAreSealedAndAudited(t *testing.T) {
	w := &world{}
	url, c := serve(t, w)
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	defer nc.Close()
	wire, err := nc.SubscribeSync(">")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())

	creds, err := c.Credentials(t.Context(), "orders", "")
	require.NoError(t, err)
	require.Equal(t, "hush-hush-orders", creds.Password)
	require.Equal(t, []jobs.AuditEntry{{
		Tenant: "acme", Actor: "tester", Action: "cluster.credentials", Cluster: "orders",
		Outcome: jobs.OutcomeAnswered, Detail: "credentials of user app, sealed",
	}}, w.audit)
	for range 2 { // the question, the answer
		msg, err := wire.NextMsg(30 * time.Second)
		require.NoError(t, err)
		require.False(t, bytes.Contains(msg.Data, []byte("hush-hush")), "the password went over the wire")
	}

	w.noAudit = errors.New("disk full")
	_, err = c.Credentials(t.Context(), "orders", "")
	require.Error(t, err, "no trace, no answer")

	msg := nats.NewMsg(jobs.QuerySubject("acme", jobs.QueryCredentials))
	msg.Data = []byte(`{"name":"orders"}`)
	msg.Header.Set(jobs.HeaderSeal, "XNOTAKEY")
	w.noAudit = nil
	answer, err := nc.RequestMsg(msg, 30*time.Second)
	require.NoError(t, err)
	require.Equal(t, "invalid_request", answer.Header.Get(jobs.HeaderErrorCode))
	require.NotContains(t, string(answer.Data), "hush-hush")
}

func TestQueryErrors(t *testing.T) {
	w := &world{}
	url, c := serve(t, w)
	code := func(what string, q any) jobs.Code {
		t.Helper()
		nc, err := nats.Connect(url)
		require.NoError(t, err)
		defer nc.Close()
		body, err := json.Marshal(q)
		require.NoError(t, err)
		answer, err := nc.Request(jobs.QuerySubject("acme", what), body, 30*time.Second)
		require.NoError(t, err)
		var e struct{ Error jobs.Error }
		require.NoError(t, json.Unmarshal(answer.Data, &e))
		require.NotEmpty(t, e.Error.Message)
		require.Equal(t, string(e.Error.Code), answer.Header.Get(jobs.HeaderErrorCode))
		return e.Error.Code
	}
	require.Equal(t, jobs.CodeUnknownCluster, code(jobs.QueryClusterGet, jobs.Query{Name: "nope"}))
	require.Equal(t, jobs.CodeUnknownOperation, code(jobs.QueryOperationGet, jobs.Query{ID: "nope"}))
	require.Equal(t, jobs.CodeInvalid, code(jobs.QueryClusterGet, map[string]any{"title": "orders"}))
	require.Equal(t, jobs.CodeInvalid, code(jobs.QueryClusterGet, map[string]any{}))
	require.Equal(t, jobs.CodeInvalid, code(jobs.QueryClusterGet, "x"))
	w.broken = fmt.Errorf("read the cluster: %w", jobs.ErrUnavailable)
	require.Equal(t, jobs.CodeUnavailable, code(jobs.QueryClusterGet, jobs.Query{Name: "orders"}))
	w.broken = errors.New("a password is in here")
	require.Equal(t, jobs.CodeInternal, code(jobs.QueryClusterGet, jobs.Query{Name: "orders"}))
	err := c.Query(t.Context(), jobs.QueryClusterGet, jobs.Query{Name: "orders"}, &struct{}{})
	require.NotContains(t, err.Error(), "password")
	require.ErrorIs(t, c.Query(t.Context(), "cluster.unknown", jobs.Query{}, &struct{}{}), client.ErrNoWorker)
}
