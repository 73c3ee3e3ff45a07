package main

import "github.com/spf13/cobra"

func newEventsCommand(_ *globals) *cobra.Command {
	return &cobra.Command{Use: "events"}
}
