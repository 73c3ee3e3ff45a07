package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// turn is a rule that puts the operation into another state.
func turn(state jobs.OperationState) jobs.Rule {
	return func(s *jobs.Snapshot) error {
		s.Operation.State = state
		if state == jobs.OperationUndoing {
			s.Operation.Undo = jobs.UndoDiscard
		}
		if state.Final() {
			s.Operation.FinishedAt = &s.Now
		}
		return nil
	}
}

func TestStagedSecretsAreMadeOnceAndAdopted(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	o, _ := running(t, db.Store, "orders")
	id := o.ClusterID
	_, err := db.PutSecretsOnce(ctx, id, map[string][]byte{"a.pem": []byte("old"), "password": []byte("p")})
	require.NoError(t, err)

	agreed := make([]map[string][]byte, 8)
	none(t, atOnce(len(agreed), func(i int) (err error) {
		agreed[i], err = db.StageSecrets(ctx, id, o.ID, map[string][]byte{"a.pem": fmt.Appendf(nil, "new %d", i), "a.key": fmt.Appendf(nil, "key %d", i)})
		return err
	}))
	for _, set := range agreed {
		require.Equal(t, agreed[0], set, "all have one set")
	}
	require.Equal(t, string(agreed[0]["a.pem"][4:]), string(agreed[0]["a.key"][4:]), "which one of them made")
	staged, err := db.StagedSecrets(ctx, id, o.ID)
	require.NoError(t, err)
	require.Equal(t, agreed[0], staged)
	now, err := db.Secrets(ctx, id)
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"a.pem": []byte("old"), "password": []byte("p")}, now, "nothing of it is in use")

	for range 2 {
		require.NoError(t, db.AdoptSecrets(ctx, id, o.ID))
	}
	now, err = db.Secrets(ctx, id)
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"a.pem": staged["a.pem"], "a.key": staged["a.key"], "password": []byte("p")}, now)
	staged, err = db.StagedSecrets(ctx, id, o.ID)
	require.NoError(t, err)
	require.Empty(t, staged)
}

// TestAnOperationThatIsOverStagesNothing: what wakes too late finds the door
// closed, whatever it wanted.
func TestAnOperationThatIsOverStagesNothing(t *testing.T) {
	db, ctx := newDB(t), context.Background()
	first, _ := running(t, db.Store, "orders")
	id, fresh := first.ClusterID, map[string][]byte{"a.pem": []byte("first")}
	_, err := db.StageSecrets(ctx, id, first.ID, fresh)
	require.NoError(t, err)
	require.ErrorIs(t, db.DropStagedSecrets(ctx, id, first.ID), jobs.ErrLeaseLost, "it is not undone")

	require.NoError(t, db.Update(ctx, first.ID, nil, turn(jobs.OperationUndoing)))
	_, err = db.StageSecrets(ctx, id, first.ID, fresh)
	require.ErrorIs(t, err, jobs.ErrLeaseLost)
	require.ErrorIs(t, db.AdoptSecrets(ctx, id, first.ID), jobs.ErrLeaseLost)
	for range 2 {
		require.NoError(t, db.DropStagedSecrets(ctx, id, first.ID))
	}
	staged, err := db.StagedSecrets(ctx, id, first.ID)
	require.NoError(t, err)
	require.Empty(t, staged)

	// The first one fails without being undone; another comes, and is done.
	require.NoError(t, db.Update(ctx, first.ID, nil, turn(jobs.OperationRunning)))
	_, err = db.StageSecrets(ctx, id, first.ID, fresh)
	require.NoError(t, err)
	require.NoError(t, db.Update(ctx, first.ID, nil, turn(jobs.OperationFailed)))
	second := admit(t, db.Store, deletion("acme", "second", "orders"))
	require.Equal(t, 1, startAll(t, db.Store))
	_, err = db.StageSecrets(ctx, id, second.ID, map[string][]byte{"a.pem": []byte("second")})
	require.NoError(t, err)
	require.NoError(t, db.AdoptSecrets(ctx, id, second.ID))
	require.ErrorIs(t, db.AdoptSecrets(ctx, id, first.ID), jobs.ErrLeaseLost)
	_, err = db.StageSecrets(ctx, id, first.ID, fresh)
	require.ErrorIs(t, err, jobs.ErrLeaseLost)
	now, err := db.Secrets(ctx, id)
	require.NoError(t, err)
	require.Equal(t, map[string][]byte{"a.pem": []byte("second")}, now)
	left := 0
	db.Scan(t, "SELECT count(*) FROM secrets WHERE name LIKE 'next/%'", &left)
	require.Zero(t, left, "what the first one had staged went when the second one began")

	_, err = db.StageSecrets(ctx, id, unknownID(), fresh)
	require.ErrorIs(t, err, jobs.ErrLeaseLost)
	_, err = db.StageSecrets(ctx, id, "x", fresh)
	require.ErrorIs(t, err, jobs.ErrNotFound)
}
