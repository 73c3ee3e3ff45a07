package main

import "github.com/spf13/cobra"

func newClusterCommand(_ *globals) *cobra.Command {
	return &cobra.Command{Use: "cluster"}
}
