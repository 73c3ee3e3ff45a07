package integration

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/jobs/client"
)

// tryCancel lets another tenant cancel an operation while it runs. That it goes
// on is seen by its end.
func tryCancel(t *testing.T, p *program, rival *portal, operation string) {
	t.Helper()
	rival.publish("cancel-1", jobs.OperationCancel, "", map[string]any{"operation_id": operation})
	e := rival.await("cancel-1", time.Minute, jobs.OperationRejected, jobs.OperationAccepted, jobs.OperationSucceededEv)
	require.Equal(t, jobs.EventTypeName(jobs.OperationRejected), e.Type)
	require.Equal(t, jobs.CodeUnknownOperation, e.Data.Error.Code)
	_, errs, code := p.run("operation", "cancel", operation, "--tenant", rival.tenant, "--yes", "--wait")
	require.NotZero(t, code)
	require.Contains(t, errs, string(jobs.CodeUnknownOperation))
}

// tryTenancy asks and orders, as another tenant and with everything known, for
// what is not its own.
func tryTenancy(t *testing.T, p *program, rival *portal, operation, failed string) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	as := func(tenant string) *client.Client {
		c, err := client.Connect(ctx, client.Options{URL: "nats://" + p.natsAddr, Tenant: tenant})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		return c
	}
	owner, other := as("acme"), as(rival.tenant)
	var letters []jobs.DeadLetterView
	require.NoError(t, owner.Query(ctx, jobs.QueryDeadList, jobs.Query{}, &letters))
	require.Len(t, letters, 1)

	t.Run("questions", func(t *testing.T) {
		for _, q := range []struct {
			what string
			ask  jobs.Query
			want jobs.Code
		}{
			{jobs.QueryClusterGet, jobs.Query{Name: "orders"}, jobs.CodeUnknownCluster},
			{jobs.QueryStatus, jobs.Query{Name: "orders"}, jobs.CodeUnknownCluster},
			{jobs.QueryCredentials, jobs.Query{Name: "orders"}, jobs.CodeUnknownCluster},
			{jobs.QueryOperationGet, jobs.Query{ID: operation}, jobs.CodeUnknownOperation},
			{jobs.QueryOperationGet, jobs.Query{ID: "req-1"}, jobs.CodeUnknownOperation},
			{jobs.QueryDeadGet, jobs.Query{ID: letters[0].ID}, jobs.CodeUnknownOperation},
			{jobs.QueryDeadGet, jobs.Query{ID: failed}, jobs.CodeUnknownOperation},
		} {
			var answer json.RawMessage
			require.NoErrorf(t, owner.Query(ctx, q.what, q.ask, &answer), "the owner's %s", q.what)
			err := other.Query(ctx, q.what, q.ask, &answer)
			var refusal *jobs.Error
			require.Truef(t, errors.As(err, &refusal), "%s of another tenant's: %v %s", q.what, err, answer)
			require.Equal(t, q.want, refusal.Code, q.what)
		}
		_, err := other.Credentials(ctx, "orders", "shop")
		require.Error(t, err)
		for _, what := range []string{jobs.QueryClusterList, jobs.QueryOperations, jobs.QueryDeadList} {
			var list []json.RawMessage
			require.NoError(t, other.Query(ctx, what, jobs.Query{All: true}, &list))
			require.Emptyf(t, list, "%s shows another tenant's", what)
		}
	})
	t.Run("orders", func(t *testing.T) {
		for id, kind := range map[string]jobs.KindName{"replay-1": jobs.OperationReplay, "discard-1": jobs.OperationDiscard} {
			rival.publish(id, kind, "", map[string]any{"dead_letter_id": letters[0].ID})
			refused(t, rival, id, jobs.CodeUnknownOperation)
			rival.publish(id+"-op", kind, "", map[string]any{"operation_id": failed})
			refused(t, rival, id+"-op", jobs.CodeUnknownOperation)
		}
		rival.publish("delete-1", jobs.ClusterDelete, "orders", nil)
		refused(t, rival, "delete-1", jobs.CodeUnknownCluster)
		var now []jobs.DeadLetterView
		require.NoError(t, owner.Query(ctx, jobs.QueryDeadList, jobs.Query{}, &now))
		require.Equal(t, letters, now)
	})
	t.Run("a body that names another tenant", func(t *testing.T) {
		body, err := json.Marshal(map[string]any{
			"specversion": "1.0", "id": "delete-2", "source": "test/rival", "type": "pgforeman.v1.cluster.delete",
			"subject": "orders", "tenant": "acme", "data": map[string]any{},
		})
		require.NoError(t, err)
		rival.publishRaw("pgforeman.v1.request."+rival.tenant+".cluster.delete", body)
		e := refused(t, rival, "delete-2", jobs.CodeInvalid)
		require.Len(t, e.Data.Error.Faults, 1)
		require.Equal(t, "tenant", e.Data.Error.Faults[0].Field)
	})
	var show jobs.ClusterView
	require.NoError(t, owner.Query(ctx, jobs.QueryClusterGet, jobs.Query{Name: "orders"}, &show))
	require.Equal(t, "ready", show.State)
}

// refused waits for a request's end, which has to be a rejection.
func refused(t *testing.T, po *portal, id string, code jobs.Code) jobs.Event {
	t.Helper()
	e := po.await(id, time.Minute, jobs.OperationRejected, jobs.OperationAccepted, jobs.OperationSucceededEv)
	require.Equal(t, jobs.EventTypeName(jobs.OperationRejected), e.Type, id)
	require.Equal(t, code, e.Data.Error.Code, id)
	return e
}
