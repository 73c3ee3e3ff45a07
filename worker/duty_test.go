package worker

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

// askedForDuty is a store that knows whether the taking of a duty was given up.
type askedForDuty struct {
	Store
	ctx error
}

func (s *askedForDuty) TakeDuty(ctx context.Context, _, _ string, _ time.Duration) (bool, error) {
	s.ctx = ctx.Err()
	return true, nil
}

// TestTakingTheDutyIsNotInterrupted: a renewal that was on its way when the
// worker was told to stop must not arrive after the duty was given up.
func TestTakingTheDutyIsNotInterrupted(t *testing.T) {
	store := &askedForDuty{}
	w := &Worker{store: store, timing: defaultTiming(), health: newHealth(zerolog.Nop())}
	ended, end := context.WithCancel(t.Context())
	end()
	mine, err := (&duty{w: w}).take(ended)
	require.NoError(t, err)
	require.True(t, mine)
	require.NoError(t, store.ctx)
}
