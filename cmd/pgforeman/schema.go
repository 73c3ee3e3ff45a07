package main

import (
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/jobs/schema"
)

func newSchemaCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "schema [NAME]",
		Short: "Print the contract: JSON Schemas of all messages, and the AsyncAPI document",
		Long: `Prints a document of the contract for portals: "asyncapi" says on which subject
what travels, the others are JSON Schemas (draft 2020-12). Without a name it
lists them.`,
		Example: "  pgforeman schema\n  pgforeman schema request.cluster.create\n  pgforeman schema asyncapi > asyncapi.json",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return schema.Names(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			out := c.OutOrStdout()
			switch {
			case len(args) == 0 && g.json():
				return printJSON(out, schema.Names())
			case len(args) == 0:
				_, err := io.WriteString(out, strings.Join(schema.Names(), "\n")+"\n")
				return err
			}
			document, err := schema.Read(args[0])
			if errors.Is(err, schema.ErrUnknown) {
				return withCode(exitNotFound, err)
			}
			if err != nil {
				return err
			}
			_, err = out.Write(document)
			return err
		},
	}
}
