package cluster

import (
	"fmt"
	"slices"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// history replays the log.
type history struct {
	sim        *sim
	operations map[string]*pastOperation
	active     map[string]string          // cluster → operation
	queued     map[string]map[string]bool // cluster → operations
	share      map[string]int             // tenant → active operations
}

type pastOperation struct {
	state    string
	arrival  int64
	steps    map[int64]*pastStep
	failures int
}

type pastStep struct {
	stage int
	state string
	done  bool // succeeded, and not undone since
}

func (s *sim) replay(log []change) *history {
	h := &history{
		sim: s, operations: map[string]*pastOperation{}, active: map[string]string{},
		queued: map[string]map[string]bool{}, share: map[string]int{},
	}
	for _, c := range log {
		switch c.What {
		case "operation":
			h.operation(c)
		case "step":
			h.step(c)
		}
	}
	return h
}

func (h *history) operation(c change) {
	op := h.operations[c.Operation]
	if op == nil {
		op = &pastOperation{arrival: c.Arrival, steps: map[int64]*pastStep{}}
		h.operations[c.Operation] = op
	}
	where := fmt.Sprintf("operation %s (%s)", c.Operation, c.Kind)
	h.sim.check(invPath, 1)
	if !slices.Contains(follows[op.state], c.State) || op.state != c.Was {
		h.sim.violate(invPath, "%s went from %q (seen %q) to %q", where, c.Was, op.state, c.State)
	}
	was, is := jobs.OperationState(op.state).Active(), jobs.OperationState(c.State).Active()
	switch {
	case is && !was:
		h.started(c, op, where)
	case was && !is:
		delete(h.active, c.Cluster)
		h.share[c.Tenant]--
	}
	if h.queued[c.Cluster] == nil {
		h.queued[c.Cluster] = map[string]bool{}
	}
	delete(h.queued[c.Cluster], c.Operation)
	if c.State == string(jobs.OperationQueued) {
		h.queued[c.Cluster][c.Operation] = true
	}
	if c.State == string(jobs.OperationFailed) {
		op.failures++
	}
	op.state = c.State
}

func (h *history) started(c change, op *pastOperation, where string) {
	h.sim.check(invOne, 1)
	if other, busy := h.active[c.Cluster]; busy {
		h.sim.violate(invOne, "%s started while %s is active", where, other)
	}
	h.active[c.Cluster] = c.Operation
	h.sim.check(invOrder, 1)
	for other := range h.queued[c.Cluster] {
		if h.operations[other].arrival < op.arrival {
			h.sim.violate(invOrder, "%s started before %s, which had come before it", where, other)
		}
	}
	h.sim.check(invShare, 1)
	if h.share[c.Tenant]++; h.share[c.Tenant] > simPerTenant {
		h.sim.violate(invShare, "%s is the active operation number %d of tenant %s", where, h.share[c.Tenant], c.Tenant)
	}
}
