// Command pgforeman builds and keeps PostgreSQL high-availability clusters.
//
// One binary is everything: the worker, the development stack, and the command
// line, which is a portal like any other: it publishes requests, reads events
// and asks queries over NATS, and holds no privileged path. Every command is a
// file of its own; program.go wires the worker, visibly, in one function.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		if text := err.Error(); text != "" {
			fmt.Fprintln(os.Stderr, "Error: "+text)
		}
		os.Exit(exitCode(err))
	}
}
