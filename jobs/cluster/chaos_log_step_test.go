package cluster

import (
	"fmt"
	"time"
)

// step replays one change of a step.
func (h *history) step(c change) {
	op := h.operations[c.Operation]
	if op == nil {
		h.sim.violate(invPath, "step %s of operation %s, which was never seen", c.Name, c.Operation)
		return
	}
	st := op.steps[c.Step]
	if st == nil {
		st = &pastStep{stage: c.Stage}
		op.steps[c.Step] = st
	}
	where := fmt.Sprintf("step %q of operation %s, attempt %d", c.Name, c.Operation, c.Attempt)
	if c.Attempt > c.AttemptWas {
		h.claimed(c, op, st, where)
	} else if c.Was == "running" && c.State != "running" {
		h.asked(c, where)
	}
	switch {
	case c.State == "succeeded" && c.Was == "running":
		st.done = true
		h.ended(c, false, where)
	case c.State == "undone" && c.Was == "running" && c.UndoingWas:
		st.done = false
		h.ended(c, true, where)
	case c.State == "undone":
		st.done = false
	}
	st.state = c.State
}

// asked checks that it was the attempt itself that ended: with a result, or by
// giving the step back.
func (h *history) asked(c change, where string) {
	h.sim.check(invEnd, 1)
	at, asked := h.sim.askedAt[attemptOf{c.Step, c.Attempt}]
	if !asked || at.After(c.At.Add(clockSlack)) {
		h.sim.violate(invEnd, "%s became %s, but that attempt had not ended it", where, c.State)
	}
}

// claimed checks that the step may run.
func (h *history) claimed(c change, op *pastOperation, st *pastStep, where string) {
	if c.Was == "running" {
		h.sim.check(invTakeOver, 1)
		if !c.LeaseOver {
			h.sim.violate(invTakeOver, "%s was claimed while attempt %d held the lease", where, c.AttemptWas)
		}
	}
	h.sim.check(invOnce, 1)
	if st.done && !c.Undoing {
		h.sim.violate(invOnce, "%s was claimed after the step had succeeded", where)
	}
	if op.state != "running" && op.state != "undoing" {
		h.sim.violate(invPath, "%s was claimed while its operation was %s", where, op.state)
	}
	h.sim.check(invStage, 1)
	for _, other := range op.steps {
		switch {
		case !c.Undoing && other.stage < st.stage && !other.done && op.state == "running":
			h.sim.violate(invStage, "%s of stage %d was claimed while a step of stage %d is %s", where, st.stage, other.stage, other.state)
		case c.Undoing && other.stage > st.stage && other.state != "undone" && other.state != "skipped":
			h.sim.violate(invStage, "%s of stage %d was claimed to be undone while a step of stage %d is %s",
				where, st.stage, other.stage, other.state)
		}
	}
}

// ended checks that the result is that of the attempt which holds the lease: the
// attempt of that number had ended well before its success was written.
func (h *history) ended(c change, undo bool, where string) {
	h.sim.check(invFence, 1)
	key := runKey{c.Operation + "/" + c.Name, c.Attempt, undo}
	at, ran := h.sim.ranAt[key]
	switch {
	case !ran:
		h.sim.violate(invFence, "%s is %s, but that attempt never ended well", where, c.State)
	case at.After(c.At.Add(clockSlack)):
		h.sim.violate(invFence, "%s is %s since %s, but that attempt ended %s later", where, c.State,
			c.At.Format(time.RFC3339Nano), at.Sub(c.At))
	}
}

// clockSlack is what the database's clock, which is the same machine's, may
// differ by.
const clockSlack = time.Millisecond
