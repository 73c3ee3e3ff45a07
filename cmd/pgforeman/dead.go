package main

import "github.com/spf13/cobra"

func newDeadCommand(_ *globals) *cobra.Command {
	return &cobra.Command{Use: "dead"}
}
