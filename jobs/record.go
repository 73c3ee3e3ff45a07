package jobs

import (
	"encoding/json"
	"time"
)

// OperationState is where an operation stands.
type OperationState string

// The states of an operation. Succeeded, failed, cancelled are final; only a
// failed operation leaves its state again (replay, discard).
const (
	OperationQueued    OperationState = "queued"    // waits for its turn on the cluster or its tenant's share
	OperationRunning   OperationState = "running"   // steps run
	OperationUndoing   OperationState = "undoing"   // steps are undone in reverse order
	OperationSucceeded OperationState = "succeeded" // all done
	OperationFailed    OperationState = "failed"    // a person is needed; a dead letter lists it
	OperationCancelled OperationState = "cancelled" // undone, by cancel, discard or rollback
)

// Final tells whether the state is an end.
func (s OperationState) Final() bool {
	return s == OperationSucceeded || s == OperationFailed || s == OperationCancelled
}

// Active tells whether steps may run: the state that at most one operation of
// a cluster is in.
func (s OperationState) Active() bool { return s == OperationRunning || s == OperationUndoing }

// UndoReason says why an operation is being undone.
type UndoReason string

// The reasons.
const (
	UndoCancel   UndoReason = "cancel"   // operation.cancel
	UndoDiscard  UndoReason = "discard"  // operation.discard
	UndoRollback UndoReason = "rollback" // on_failure: rollback
)

// Operation is a request accepted and persisted.
type Operation struct {
	ID        string // UUID v7
	Arrival   int64  // order of acceptance; operations of a cluster run in it
	Tenant    string
	RequestID string
	Kind      KindName
	Cluster   string // the cluster's name
	ClusterID string
	Source    string // the CloudEvents source of the request
	Actor     string // who asked: the NATS identity where the server tells it, else the source
	Spec      json.RawMessage
	State     OperationState
	Undo      UndoReason // set while and after undoing
	Stage     int        // index of the stage that runs or ran last
	Stages    []string   // the stages' titles
	Percent   int        // 0–100, never falls
	Seq       int64      // the last event's seq
	Replays   int
	Error     *Error
	// Deadline is when the operation fails for want of time; nil for none.
	Deadline   *time.Time
	AcceptedAt time.Time
	StartedAt  *time.Time
	FinishedAt *time.Time // set exactly in final states
}

// StepState is where a step stands.
type StepState string

// The states of a step. While an operation is undone its steps go once more
// from pending to undone, with Undoing set.
const (
	StepPending   StepState = "pending"   // its stage has not begun
	StepReady     StepState = "ready"     // may be claimed from ReadyAt on
	StepRunning   StepState = "running"   // leased by Owner until LeaseUntil
	StepSucceeded StepState = "succeeded" // never run again
	StepFailed    StepState = "failed"    // for good, until a replay
	StepSkipped   StepState = "skipped"   // never started, and will not
	StepUndone    StepState = "undone"    // what it made is gone
)

// StepRecord is a step as it is persisted.
type StepRecord struct {
	ID    int64
	Stage int // index of its stage
	Step
	State   StepState
	Undoing bool
	Weight  int
	// Attempt counts every claim and never falls: the fence.
	Attempt int
	// Failures counts the attempts that ended in an error since the last
	// replay: what the retry policy looks at.
	Failures    int
	ReadyAt     time.Time // when ready: not before (store's clock)
	Owner       string    // the worker that holds or last held it
	LeaseUntil  *time.Time
	Output      json.RawMessage
	Observation *Observation // the last one
	Error       *Error       // the last one
	StartedAt   *time.Time   // the first attempt's
	FinishedAt  *time.Time
	// History has every attempt that ended in an error, the newest last, at
	// most MaxHistory of them.
	History []AttemptRecord
}

// MaxHistory is how many failed attempts a step remembers.
const MaxHistory = 20

// AttemptRecord is an attempt that ended in an error.
type AttemptRecord struct {
	Attempt     int       `json:"attempt"`
	Worker      string    `json:"worker"`
	EndedAt     time.Time `json:"ended_at"`
	Error       string    `json:"error"`
	Observation string    `json:"observation,omitempty"`
}

// Lease is a worker's right to run one attempt.
type Lease struct {
	OperationID string
	StepID      int64
	Owner       string // the worker
	Attempt     int
}

// Claimed is a step that a worker has just claimed, with all that its run needs.
type Claimed struct {
	Lease     Lease
	Operation Operation
	Cluster   Cluster
	Step      StepRecord
	Outputs   map[string]json.RawMessage // of the operation's other steps, by Step.String()
}

// ClusterState is where a cluster stands.
type ClusterState string

// The states of a cluster.
const (
	ClusterCreating ClusterState = "creating"
	ClusterReady    ClusterState = "ready"
	ClusterDegraded ClusterState = "degraded" // works, but a part of it is missing
	ClusterFailed   ClusterState = "failed"   // its creation failed; replay or discard it, or delete the cluster
	ClusterDeleting ClusterState = "deleting"
	ClusterDeleted  ClusterState = "deleted" // the record remains for the history
)

// Cluster is a cluster's record.
type Cluster struct {
	ID        string // UUID; the Patroni scope and the label io.pgforeman.cluster_id
	Tenant    string
	Name      string
	State     ClusterState
	Host      string // the Engine it is on; "local" for a single machine
	Spec      json.RawMessage
	Endpoints Endpoints
	CreatedAt time.Time
	DeletedAt *time.Time
}

// Endpoints are where clients connect, as host:port.
type Endpoints struct {
	Primary string `json:"primary"`
	Replica string `json:"replica"`
}

// NodeRecord is the last known state of one container of a cluster.
type NodeRecord struct {
	ClusterID string
	Name      string
	Part      string // node, etcd or proxy
	Role      string // of a node: leader, sync_standby, replica
	State     string // running, streaming, creating replica, down, …
	Timeline  int
	LagBytes  int64
	UpdatedAt time.Time
}

// Snapshot is one operation as a transaction sees it. The engine's rules change
// it in place; the store writes what they changed, with the events, in the same
// transaction. Rules do no I/O.
type Snapshot struct {
	// Now is the state database's clock.
	Now       time.Time
	Operation *Operation
	Steps     []*StepRecord // ordered by stage, then by ID
	Cluster   *Cluster
	// Events are told in this order; the store gives each its seq and id.
	Events []EventDraft
	// Dead, when set, is written to the dead letters and published.
	Dead *DeadLetter
	// Settle, when set, marks the operation's open dead letter as replayed or
	// discarded.
	Settle DeadLetterState
}

// Step finds a step by its id; nil when there is none.
func (s *Snapshot) Step(id int64) *StepRecord {
	for _, st := range s.Steps {
		if st.ID == id {
			return st
		}
	}
	return nil
}

// Tell adds an event.
func (s *Snapshot) Tell(e EventDraft) { s.Events = append(s.Events, e) }
