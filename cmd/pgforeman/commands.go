package main

import "github.com/spf13/cobra"

// commands are all commands, in the order of the help.
func commands(g *globals) []*cobra.Command {
	return []*cobra.Command{
		newDevCommand(g),
		newClusterCommand(g),
		newOperationCommand(g),
		newDeadCommand(g),
		newEventsCommand(g),
		newAuditCommand(g),
		newWorkerCommand(g),
		newMigrateCommand(g),
		newDoctorCommand(g),
		newImageCommand(g),
		newKeyCommand(g),
		newSchemaCommand(g),
		newVersionCommand(g),
	}
}
