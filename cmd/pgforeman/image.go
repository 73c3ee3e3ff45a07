package main

import (
	"context"
	"fmt"
	"io"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/docker"
)

func newImageCommand(_ *globals) *cobra.Command {
	c := &cobra.Command{Use: "image", Short: "Build the container images of clusters"}
	c.AddCommand(&cobra.Command{
		Use:   "build",
		Short: "Build the images that the Docker Engine does not have yet",
		Long: `Builds the images of PostgreSQL nodes, etcd members and proxies over the Docker
Engine's API, from build contexts inside this binary. An image is tagged by a
hash of its content, so what exists is not built again.`,
		Example: "  pgforeman image build",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			engine, err := docker.Open(docker.Options{Instance: "images", Log: zerolog.Nop()})
			if err != nil {
				return err
			}
			defer func() { _ = engine.Close() }()
			return buildImages(c.Context(), engine, c.OutOrStdout())
		},
	})
	return c
}

// buildImages builds what is missing, and tells how far it is: a line an
// instruction.
func buildImages(ctx context.Context, engine *docker.Engine, out io.Writer) error {
	last := ""
	return engine.BuildImages(ctx, func(p docker.BuildProgress) {
		line := fmt.Sprintf("image %-8s", p.Image)
		switch {
		case p.Done && p.Cached:
			line += " is there: " + p.Tag
		case p.Done:
			line += " built: " + p.Tag
		case p.Steps > 0:
			line += fmt.Sprintf(" step %d of %d: %.100s", p.Step, p.Steps, p.Message)
			key := fmt.Sprintf("%s %d", p.Image, p.Step)
			if key == last {
				return
			}
			last = key
		default:
			line += " " + p.Message
		}
		_, _ = fmt.Fprintln(out, line) // progress is told, not kept
	})
}
