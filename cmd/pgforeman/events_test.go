package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/jobs"
)

func TestEvents(t *testing.T) {
	p := &fakePortal{events: broken()}
	golden(t, "events", must(t, p, "events", "--cluster", "orders", "--since", "1h"))
	require.Equal(t, "orders", p.filter.Cluster)
	require.False(t, p.filter.Since.IsZero())
	require.False(t, p.filter.Follow)

	var events []jobs.Event
	require.NoError(t, json.Unmarshal([]byte(must(t, p, "events", "-o", "json")), &events))
	require.Equal(t, broken(), events)
	require.True(t, p.filter.Since.IsZero(), "all that are kept")

	lines := strings.Split(strings.TrimSpace(must(t, p, "events", "-o", "json", "--follow")), "\n")
	require.Len(t, lines, len(broken()))
	for _, l := range lines {
		require.True(t, json.Valid([]byte(l)), l)
	}
	p.events = nil
	require.Equal(t, "[]\n", must(t, p, "events", "-o", "json"))
	require.Empty(t, must(t, p, "events"))
}
