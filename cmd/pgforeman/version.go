package main

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/docker"
)

func newVersionCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version, and the images that it runs",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := struct {
				Version string            `json:"version"`
				Go      string            `json:"go"`
				Images  map[string]string `json:"images"`
			}{version, runtime.Version(), map[string]string{}}
			for _, name := range docker.Images() {
				v.Images[string(name)] = name.Tag()
			}
			out := c.OutOrStdout()
			if g.json() {
				enc := json.NewEncoder(out)
				enc.SetIndent("", "  ")
				return enc.Encode(v)
			}
			_, err := fmt.Fprintf(out, "pgforeman %s (%s)\n", v.Version, v.Go)
			for _, name := range docker.Images() {
				if err == nil {
					_, err = fmt.Fprintf(out, "  image %-8s %s\n", name, name.Tag())
				}
			}
			return err
		},
	}
}
