package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/store"
)

func keyRotateCommand() *cobra.Command {
	var flags keyFlags
	var standby bool
	var use string
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Put a new key into the key file, in front of the others",
		Long: `Puts a new key first in the key file: it seals from now on, the others still
open what they sealed. The file is replaced whole, with its mode and owner.
Workers on this file go on running and read it within seconds (or at once, on
SIGHUP). "pgforeman key reseal" then seals again what the others sealed.

Where hosts have copies of the file, a worker would not open what another sealed
with a key that has not arrived yet. So there give it to all of them first:
  1. pgforeman key rotate --standby     a new key, last: it seals nothing yet
  2. copy the file to every host, wait for the workers' "key file read"
  3. pgforeman key rotate --use ID      the key, first
  4. copy the file again; pgforeman key reseal`,
		Example: "  pgforeman key rotate && pgforeman key reseal\n  pgforeman key rotate --state-dir .pgforeman",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			path, err := flags.path()
			if err != nil {
				return err
			}
			place := store.KeyFirst
			if standby {
				if use != "" {
					return withCode(exitUsage, errors.New("--standby and --use exclude each other"))
				}
				place = store.KeyStandby
			}
			id, err := store.RotateKeyFile(path, use, place)
			if err != nil {
				return err
			}
			next := "what others sealed:  pgforeman key reseal" + flags.words()
			said := fmt.Sprintf("%s seals from now on", id)
			if standby {
				next = "once every worker has it:  pgforeman key rotate --use " + id + flags.words()
				said = fmt.Sprintf("%s stands by", id)
			}
			if _, err := fmt.Fprintln(c.OutOrStdout(), said); err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.ErrOrStderr(), next)
			return err
		},
	}
	flags.add(c)
	c.Flags().BoolVar(&standby, "standby", false, "put the new key last: it opens, and seals nothing yet")
	c.Flags().StringVar(&use, "use", "", "put this key of the file first, instead of a new one")
	return c
}
