package worker

import (
	"testing"

	"github.com/vcs-iaas/pgforeman/store/storetest"
)

// TestEngineOnPostgres drives the same tests against the real store.
func TestEngineOnPostgres(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a PostgreSQL server")
	}
	for name, test := range engineTests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, storetest.New(t)))
		})
	}
}
