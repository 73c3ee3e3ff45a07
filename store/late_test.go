package store_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// What a worker does that was suspended in the middle of it, when others have
// gone on meanwhile.

func TestWhatWasAdmittedIsNotRejected(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	a := creation("acme", "r1", "orders")
	op := admit(t, db.Store, a)
	require.NoError(t, db.Reject(ctx, a.Request, &jobs.Error{Code: jobs.CodeNameTaken, Message: "as it was a while ago"}))
	require.Equal(t, []string{"operation.accepted"}, types(outbox(t, db.Store, "")))
	var rejections int
	db.Scan(t, "SELECT count(*) FROM rejections", &rejections)
	require.Zero(t, rejections)

	a.Request.Hash = "other"
	require.NoError(t, db.Reject(ctx, a.Request, &jobs.Error{Code: jobs.CodeConflict, Message: "other content"}))
	require.Len(t, outbox(t, db.Store, ""), 2, "other content under the same id is rejected, the operation %s stays", op.ID)
}

func TestADeletedClusterTakesItsSecretsAlong(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	op, _ := running(t, db.Store, "orders")
	id := op.ClusterID
	require.ErrorIs(t, db.ForgetCluster(ctx, id), jobs.ErrLeaseLost, "it is being made")

	state := func(cluster jobs.ClusterState, operation jobs.OperationState) {
		t.Helper()
		require.NoError(t, db.Update(ctx, op.ID, nil, func(s *jobs.Snapshot) error {
			s.Cluster.State, s.Operation.State, s.Operation.Undo = cluster, operation, jobs.UndoCancel
			if operation.Final() {
				s.Operation.FinishedAt = &s.Now
			}
			return nil
		}))
	}
	state(jobs.ClusterCreating, jobs.OperationUndoing)
	require.NoError(t, db.ForgetCluster(ctx, id))

	// An attempt that was suspended keeps something after all.
	_, err := db.PutSecretsOnce(ctx, id, map[string][]byte{"app": []byte("secret")})
	require.NoError(t, err)
	_, err = db.AllocatePorts(ctx, id, "local", []jobs.PortWant{{Name: "primary"}}, 5000, 5004, nil)
	require.NoError(t, err)
	require.NoError(t, db.SaveNodes(ctx, id, []jobs.NodeRecord{{Name: "orders-1", Part: "node"}}))

	state(jobs.ClusterDeleted, jobs.OperationCancelled)
	var left int
	db.Scan(t, "SELECT (SELECT count(*) FROM secrets) + (SELECT count(*) FROM ports) + (SELECT count(*) FROM nodes)", &left)
	require.Zero(t, left)
	require.NoError(t, db.ForgetCluster(ctx, id))
}
