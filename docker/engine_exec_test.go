package docker

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func testExec(t *testing.T, b bench) {
	spec := b.spec(t)
	_, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)

	in := bytes.Repeat([]byte("0123456789abcdef"), 1<<14) // more than a pipe holds
	r, err := b.Exec(t.Context(), spec.Name, []string{"/probe", "echo"}, in)
	require.NoError(t, err)
	require.Zero(t, r.ExitCode)
	require.True(t, bytes.Equal(in, r.Stdout))
	require.Equal(t, "done", string(r.Stderr))
	require.False(t, r.Truncated)

	r, err = b.Exec(t.Context(), spec.Name, []string{"/probe", "exit", "3"}, nil)
	require.NoError(t, err)
	require.Equal(t, 3, r.ExitCode)

	r, err = b.Exec(t.Context(), spec.Name, []string{"/probe", "flood", "3000000"}, nil)
	require.NoError(t, err)
	require.Len(t, r.Stdout, outputLimit)
	require.True(t, r.Truncated)

	began := time.Now()
	hang, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	_, err = b.Exec(hang, spec.Name, []string{"/probe", "hang"}, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(began), patience)

	_, err = b.Exec(t.Context(), spec.Name, nil, nil)
	require.ErrorIs(t, err, ErrInvalid)
	_, err = b.Exec(t.Context(), unique("none"), []string{"x"}, nil)
	require.ErrorIs(t, err, ErrNotFound)
}

func testWatch(t *testing.T, b bench) {
	spec := b.spec(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	events := b.Watch(ctx, Labels{LabelClusterID: spec.Labels[LabelClusterID]})
	next := func(want EventType) Event {
		t.Helper()
		ev, open := <-events
		require.True(t, open, "the stream ended before %s", want)
		require.Equal(t, want, ev.Type)
		return ev
	}
	next(EventResync)

	other := b.spec(t) // of another cluster: not seen
	_, err := b.EnsureContainer(t.Context(), other)
	require.NoError(t, err)
	c, err := b.EnsureContainer(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, spec.Name, next(EventStart).Container)
	require.NoError(t, b.KillContainer(t.Context(), spec.Name, "KILL"))
	died := next(EventDie)
	require.Equal(t, 137, died.ExitCode)
	require.Equal(t, c.ID, died.ID)
	require.Equal(t, spec.Labels[LabelClusterID], died.Labels[LabelClusterID])
	require.WithinDuration(t, time.Now(), died.Time, patience)
	require.NoError(t, b.RemoveContainer(t.Context(), spec.Name))
	next(EventDestroy)

	cancel()
	for ev := range events { // closed when the context ends
		t.Logf("late: %v", ev)
	}
}
