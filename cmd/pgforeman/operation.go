package main

import "github.com/spf13/cobra"

func newOperationCommand(_ *globals) *cobra.Command {
	return &cobra.Command{Use: "operation"}
}
