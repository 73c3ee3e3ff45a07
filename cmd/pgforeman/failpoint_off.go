//go:build !failpoint

package main

import (
	"net/http"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/vcs-iaas/pgforeman/jobs/cluster"
	"github.com/vcs-iaas/pgforeman/worker"
	"github.com/vcs-iaas/pgforeman/worker/query"
)

// Failure points are compiled in only with the build tag failpoint; see
// failpoint_on.go.

func withFailpointsStore(s worker.Store) worker.Store               { return s }
func withFailpointsState(s cluster.State) cluster.State             { return s }
func withFailpointsQuery(s query.Store) query.Store                 { return s }
func failpointsDocker() func(http.RoundTripper) http.RoundTripper   { return nil }
func failpointsNATS() []nats.Option                                 { return nil }
func failpointsParts() func(what string, change func() error) error { return nil }
func failpointCommands() []*cobra.Command                           { return nil }
