package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/vcs-iaas/pgforeman/store"
)

// keyCheckTime is how long a start waits for the state database's answer. A
// worker starts without it, too.
const keyCheckTime = 3 * time.Second

// checkKeys refuses a key file that opens none of the secrets there are: a worker
// with it would fail every step that it takes, and seal new clusters so that no
// other worker opens them. Where some do not open that is logged: the others'
// clusters are worked on.
func checkKeys(ctx context.Context, db *store.Store, log zerolog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, keyCheckTime)
	defer cancel()
	missing, opens, err := db.MissingKeys(ctx)
	if err != nil {
		log.Debug().Err(err).Msg("keys not compared with the state database")
		return nil //nolint:nilerr // it may be away
	}
	fault := keyFault(missing, opens)
	if fault != nil && opens > 0 {
		log.Error().Err(fault).Msg("some secrets do not open")
		return nil
	}
	return fault
}

// keyFault says which keys the file lacks; nil when it lacks none.
func keyFault(missing map[string]int, opens int) error {
	if len(missing) == 0 {
		return nil
	}
	all, lacks := opens, []string{}
	for _, id := range slices.Sorted(maps.Keys(missing)) {
		all += missing[id]
		lacks = append(lacks, fmt.Sprintf("%s (%d)", id, missing[id]))
	}
	return fmt.Errorf("the key file opens %d of the %d secrets in the state database: it lacks the keys %s; "+
		"give this worker the key file that the others have", opens, all, strings.Join(lacks, ", "))
}
