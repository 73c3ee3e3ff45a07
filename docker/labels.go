package docker

import (
	"fmt"
	"maps"
	"slices"

	"github.com/docker/docker/api/types/filters"
)

// Host names a machine with an Engine. Every object belongs to one.
type Host string

// Local is the machine that the worker's own Engine address leads to.
const Local Host = "local"

// Labels are an object's labels, or a filter: all of them must match.
type Labels map[string]string

// The labels of everything made for a cluster. They are part of the contract: scripts may filter by them.
const (
	LabelTenant    = "io.pgforeman.tenant"
	LabelCluster   = "io.pgforeman.cluster"    // the cluster's name
	LabelClusterID = "io.pgforeman.cluster_id" // what tells two clusters of one name apart
	LabelRole      = "io.pgforeman.role"       // node, etcd, proxy
	LabelNode      = "io.pgforeman.node"       // the node's name
	LabelInstance  = "io.pgforeman.instance"   // which pgforeman made it; set by the Engine
	LabelSpec      = "io.pgforeman.spec"       // hash of a container's specification; set by the Engine
)

const labelPrefix = "io.pgforeman."

// owned returns the labels of a new object: those asked for and the instance.
func (e *Engine) owned(l Labels) map[string]string {
	out := make(map[string]string, len(l)+2)
	maps.Copy(out, l)
	out[LabelInstance] = e.instance
	return out
}

// mine is the filter for this instance's objects that carry all of the labels.
func (e *Engine) mine(l Labels) filters.Args {
	f := filters.NewArgs(filters.Arg("label", LabelInstance+"="+e.instance))
	for _, k := range slices.Sorted(maps.Keys(l)) {
		f.Add("label", k+"="+l[k])
	}
	return f
}

// checkInstance refuses an object of another instance, or of none.
func (e *Engine) checkInstance(labels map[string]string) error {
	switch got := labels[LabelInstance]; got {
	case e.instance:
		return nil
	case "":
		return fmt.Errorf("%w: it exists and was not made by pgforeman; remove or rename it", ErrForeign)
	default:
		return fmt.Errorf("%w: it was made by pgforeman instance %q, this is %q", ErrForeign, got, e.instance)
	}
}

// checkOwner refuses an object of another instance or another cluster than the one wanted.
func (e *Engine) checkOwner(labels map[string]string, want Labels) error {
	if err := e.checkInstance(labels); err != nil {
		return err
	}
	if got := labels[LabelClusterID]; got != want[LabelClusterID] {
		return fmt.Errorf("%w: it belongs to cluster id %q, wanted for %q", ErrForeign, got, want[LabelClusterID])
	}
	return nil
}

// checkHost refuses what was planned for another machine. The empty host is Local.
func (e *Engine) checkHost(h Host) error {
	if h == "" {
		h = Local
	}
	if h != e.host {
		return fmt.Errorf("%w: planned for host %q, this is the engine of %q", ErrInvalid, h, e.host)
	}
	return nil
}
