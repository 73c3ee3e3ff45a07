package jobs

import "encoding/json"

// KindName names what an operation does, such as "cluster.create". Names are
// part of the contract: never renamed, never reused.
type KindName string

// The kinds of contract v1 that this release carries out.
const (
	ClusterCreate    KindName = "cluster.create"
	ClusterDelete    KindName = "cluster.delete"
	ClusterRotate    KindName = "cluster.rotate"
	OperationCancel  KindName = "operation.cancel"
	OperationReplay  KindName = "operation.replay"
	OperationDiscard KindName = "operation.discard"
)

// Target says what a kind of request acts on, so that intake can admit it.
type Target int

const (
	// NewCluster: the request's cluster name must be free; a cluster is made.
	NewCluster Target = iota + 1
	// ExistingCluster: the cluster must exist; the operation waits its turn.
	ExistingCluster
	// AnotherOperation: a control request; it acts on an operation at once
	// and has no steps.
	AnotherOperation
)

// Kind is one entry of the catalogue: a kind of request and how it is planned.
// All its functions are pure.
type Kind struct {
	Name   KindName
	Target Target
	// Title is what the kind does, for people: "create a cluster".
	Title string
	// Revocable says that a cancel may turn it back after it has begun, because
	// undoing it leaves a cluster that works. What makes a cluster always is.
	Revocable bool
	// Decode reads a request's data strictly and gives the specification in
	// canonical form, defaults filled in. Every fault is told at once, as Faults.
	Decode func(req Request) (json.RawMessage, error)
	// Plan gives the stages for one specification. Nil for control kinds.
	Plan func(in PlanInput) (Plan, error)
}

// PlanInput is all that a plan may depend on.
type PlanInput struct {
	Tenant    string
	Cluster   string // the cluster's name
	ClusterID string
	// Spec is what Kind.Decode gave for this request.
	Spec json.RawMessage
	// ClusterSpec is the cluster's own specification (the same as Spec for
	// NewCluster).
	ClusterSpec json.RawMessage
}

// Plan is a kind's stages for one request, in order.
type Plan []Stage

// Stage is a set of steps that may run at the same time; the next stage starts
// when all are done.
type Stage struct {
	Title string
	Steps []Step
}

// Step is one step of a plan: a StepType's name and the container it is for.
type Step struct {
	Name string `json:"name"`
	// Node is the name of the node, etcd member or proxy that the step is
	// for; empty for the whole cluster.
	Node string `json:"node,omitempty"`
}

// String is the step as people see it: "node.start orders-1".
func (s Step) String() string {
	if s.Node == "" {
		return s.Name
	}
	return s.Name + " " + s.Node
}
