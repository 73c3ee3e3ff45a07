package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/store"
)

func newMigrateCommand(_ *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Bring the state database's schema up to date",
		Long: `Brings the schema of the state database ($PGFOREMAN_DATABASE_URL) up to date. It
may run while workers of the release before work, any number of times, and
from several places at once.`,
		Example: "  PGFOREMAN_DATABASE_URL=postgres://… pgforeman migrate",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := readDatabaseSettings()
			if err != nil {
				return err
			}
			schema, err := store.Migrate(c.Context(), s)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "schema version %d\n", schema.Version)
			return err
		},
	}
}
