package jobs

import (
	"encoding/json"
	"time"
)

// Rule changes one operation's snapshot; it does no I/O. An error rolls the
// transaction back and is returned as it is. A rule may be applied more than
// once (the store retries a transaction that the database gave up), each time
// to a fresh snapshot.
type Rule func(*Snapshot) error

// Admission is a decoded request on its way into the store.
type Admission struct {
	Request Request
	Target  Target
	Spec    json.RawMessage // canonical
	// Plan computes the stages once the cluster is known (pure).
	Plan func(in PlanInput) (Plan, error)
	// Weight gives a step type's weight.
	Weight func(step string) int
	// OperationTimeout is 0 for none.
	OperationTimeout time.Duration
	// TargetOperation and TargetDeadLetter name what a control request acts
	// on; Control is the rule applied to it (the snapshot's Operation is the
	// target).
	TargetOperation, TargetDeadLetter string
	Control                           Rule
}

// Admitted is what became of an admission.
type Admitted struct {
	Operation Operation
	// Duplicate: the same request was admitted or rejected before; nothing was
	// changed and nothing told.
	Duplicate bool
}

// Held is a lease that its worker still holds.
type Held struct {
	Lease     Lease
	Interrupt bool
}

// PortWant asks for a host port for one purpose of a cluster.
type PortWant struct {
	Name string // the purpose: "primary", "replica"
	Port int    // exactly this one; 0 = any free one of the range
}

// OperationFilter narrows a list of operations; zero fields leave it wide.
type OperationFilter struct {
	Cluster string // its name
	State   OperationState
	Limit   int // default 100, at most 1000
}
