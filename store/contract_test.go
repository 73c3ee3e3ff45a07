package store_test

import (
	"os"
	"testing"

	"github.com/vcs-iaas/pgforeman/store"
	"github.com/vcs-iaas/pgforeman/store/storetest"
	"github.com/vcs-iaas/pgforeman/worker"
)

// The engine's view of the store is declared where it is used; here is where
// the two meet.
var _ worker.Store = (*store.Store)(nil)

func TestMain(m *testing.M) {
	code := m.Run()
	storetest.Stop()
	os.Exit(code)
}
