package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A death's time is of another clock than the keeper's, and either may be set: a
// dead leader waits for an election, but not for a clock to catch up.
func TestKeeperStartsADeadNodeWhateverTheClockSays(t *testing.T) {
	for name, tc := range map[string]struct {
		jump    time.Duration
		started bool
	}{
		"an election may be under way": {0, false},
		"it died long ago":             {time.Hour, true},
		"it died in the future":        {-time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, _, b := fixture(t, nil)
			b.all(createKind())
			s, err := siteOf(b.cluster)
			require.NoError(t, err)
			b.c.wall = func() time.Time { return time.Now().Add(tc.jump) }
			w.kill(s.container("orders-1"))
			v, err := b.c.see(t.Context(), s, w.secrets, false)
			require.NoError(t, err)
			v.leader = "" // the others have not elected one yet
			k := &keeper{Catalogue: b.c}
			k.start(t.Context(), s, v, &memory{revive: map[string]*revival{}}, part{name: "orders-1", role: roleNode})
			require.Equal(t, tc.started, len(w.started()) == 1)
		})
	}
}
