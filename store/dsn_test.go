package store_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vcs-iaas/pgforeman/store"
)

// TestAConnectionStringIsNeverTold tries what cannot be read, or leads nowhere:
// no part of the password is in the error, and what helps is.
func TestAConnectionStringIsNeverTold(t *testing.T) {
	for dsn, want := range map[string]string{
		"postgres://u:5ecretWord@127.0.0.1:1/x":                      "not reachable",
		"host=127.0.0.1 port=1 user=u password=5ecretWord":           "not reachable",
		"postgres://u:5ecret%zzWord@127.0.0.1:1/x":                   "percent-encoded",
		"postgres://u:5ecret/Word@127.0.0.1:1/x":                     "invalid port",
		"postgres://u:5ecret@Word@127.0.0.1:1/x?sslmode=bogus":       "sslmode is invalid",
		"postgres://u@127.0.0.1:1/x?password=5ecretWord&sslmode=bog": "sslmode is invalid",
		"postgres://u:5ecretWord@127.0.0.1:70000/x":                  "invalid port",
		"host=127.0.0.1 password='5ecret Word user=u":                "single quotes",
		"host=127.0.0.1 password=5ecret Word user=u":                 "single quotes",
		"pg://u:5ecretWord@127.0.0.1/x":                              "postgres://USER",
		"u:5ecretWord@127.0.0.1/x":                                   "postgres://USER",
		"5ecretWord":                                                 "postgres://USER",
		"host=127.0.0.1 password=5ecretWord pool_max_conns=5ecret":   "connection string",
	} {
		_, errMigrate := store.Migrate(context.Background(), dsn)
		s, err := store.Open(context.Background(), store.Options{DSN: dsn})
		if err == nil {
			err = s.Ping(context.Background())
			s.Close()
		}
		require.Error(t, err, dsn)
		for _, err := range []error{errMigrate, err} {
			if err == nil {
				continue
			}
			require.NotContains(t, err.Error(), "5ecret", dsn)
			require.NotContains(t, err.Error(), "Word", dsn)
		}
		require.ErrorContains(t, err, want, dsn)
	}
}
