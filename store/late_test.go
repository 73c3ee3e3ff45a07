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
