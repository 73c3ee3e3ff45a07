package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/store"
)

func newKeyCommand(_ *globals) *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "Make the keys that seal the clusters' secrets"}
	c.AddCommand(&cobra.Command{
		Use:   "new",
		Short: "Print a new line for the key file",
		Long: `Prints a new key, a line for the key file. The first line of the file seals what
is written from now on, the others still open what they sealed. Every worker
needs the same file, with mode 0400; whoever has it and a dump of the state
database has every cluster's passwords.`,
		Example: "  pgforeman key new > key && chmod 400 key",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			line, err := store.NewKey()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), line)
			return err
		},
	})
	return c
}
