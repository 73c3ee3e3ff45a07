//go:build !failpoint

package main

import (
	"github.com/vcs-iaas/pgforeman/jobs/cluster"
	"github.com/vcs-iaas/pgforeman/worker"
)

// Failure points are compiled in only with the build tag failpoint; see
// failpoint_on.go.

func withFailpointsStore(s worker.Store) worker.Store      { return s }
func withFailpointsEngine(e cluster.Engine) cluster.Engine { return e }
func withFailpointsState(s cluster.State) cluster.State    { return s }
