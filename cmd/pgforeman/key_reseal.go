package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/store"
)

// resealed is what "key reseal" did, for scripts.
type resealed struct {
	Key      string         `json:"key"`      // that seals now
	Resealed int            `json:"resealed"` // secrets that another one had sealed
	Secrets  map[string]int `json:"secrets"`  // by the key that sealed them
	Unused   []string       `json:"unused"`   // keys of the file that seal nothing any more
}

func keyResealCommand(g *globals) *cobra.Command {
	var flags keyFlags
	c := &cobra.Command{
		Use:   "reseal",
		Short: "Seal again, with the first key, what the others sealed",
		Long: `Seals every secret in the state database again with the first key of the key
file, in batches, while workers run. It may be stopped or killed at any point
and run again. It looks twice, a few seconds apart, so that a worker that had not
read the new file yet has nothing left that only an old key opens; then it says
which keys may go. Keep those with the backups of the state database: they are
needed to restore one.`,
		Example: "  PGFOREMAN_DATABASE_URL=postgres://… pgforeman key reseal --key-file key",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			path, err := flags.path()
			if err != nil {
				return err
			}
			dsn, err := flags.database()
			if err != nil {
				return err
			}
			keys, err := store.OpenKeyring(path)
			if err != nil {
				return err
			}
			db, err := store.Open(c.Context(), store.Options{DSN: dsn, Keyring: keys, MaxConns: 2})
			if err != nil {
				return err
			}
			defer db.Close()
			done, err := reseal(c.Context(), db, keys)
			if err != nil {
				return err
			}
			if g.json() {
				return printJSON(c.OutOrStdout(), done)
			}
			return drawResealed(c.OutOrStdout(), done)
		},
	}
	flags.add(c)
	return c
}

// resealPasses bounds the looking for what a worker sealed with another key
// meanwhile.
const resealPasses = 4

// reseal seals again until, for longer than workers need to read a new key
// file, nothing has been sealed with another key.
func reseal(ctx context.Context, db *store.Store, keys *store.Keyring) (resealed, error) {
	done := resealed{Key: keys.First(), Unused: []string{}}
	for pass := 1; ; pass++ {
		n, err := db.Reseal(ctx)
		done.Resealed += n
		if err != nil {
			return done, err
		}
		if pass > 1 && n == 0 {
			break
		}
		if pass == resealPasses {
			return done, errors.New("a worker goes on sealing with another key: does every worker have this key file? then run this again")
		}
		select {
		case <-ctx.Done():
			return done, ctx.Err()
		case <-time.After(2 * store.KeyFilePoll):
		}
	}
	var err error
	if done.Secrets, err = db.SealedWith(ctx); err != nil {
		return done, err
	}
	for _, id := range keys.IDs() {
		if id != done.Key && done.Secrets[id] == 0 {
			done.Unused = append(done.Unused, id)
		}
	}
	slices.Sort(done.Unused)
	return done, nil
}

func drawResealed(out io.Writer, r resealed) error {
	text := fmt.Sprintf("%s sealed again; %s seals all %d now\n", count(r.Resealed, "secret"), r.Key, r.Secrets[r.Key])
	if len(r.Unused) > 0 {
		text += "No secret needs these keys any more: " + strings.Join(r.Unused, ", ") + "\n" +
			"Once every worker has this key file their lines may go; keep them with the backups of the state database, which need them.\n"
	}
	_, err := io.WriteString(out, text)
	return err
}
