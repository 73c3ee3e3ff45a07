package jobs

import (
	"encoding/json"
	"time"
)

// EventType is the type of an event, without the "pgforeman.v1." before it.
type EventType string

// The event types of contract v1.
const (
	OperationAccepted    EventType = "operation.accepted"
	OperationRejected    EventType = "operation.rejected"
	OperationStarted     EventType = "operation.started"
	OperationSucceededEv EventType = "operation.succeeded"
	OperationFailedEv    EventType = "operation.failed"
	OperationCancelledEv EventType = "operation.cancelled"
	StepStarted          EventType = "step.started"
	StepProgressed       EventType = "step.progressed"
	StepRetrying         EventType = "step.retrying"
	StepSucceededEv      EventType = "step.succeeded"
	StepFailedEv         EventType = "step.failed"
	ClusterReadyEv       EventType = "cluster.ready"
	ClusterDegradedEv    EventType = "cluster.degraded"
	ClusterRecovered     EventType = "cluster.recovered"
	ClusterDeletedEv     EventType = "cluster.deleted"
	ClusterLeaderChanged EventType = "cluster.leader_changed"
	NodeJoined           EventType = "node.joined"
	NodeLeft             EventType = "node.left"
	NodeDown             EventType = "node.down"
)

// EventDraft is an event before the store gives it its id, time and seq. What
// it leaves out (tenant, operation, cluster, percent) is filled in from the
// snapshot it is told in.
type EventDraft struct {
	Type        EventType
	Step        *EventStep
	Error       *Error
	Observation *Observation
	Details     map[string]any
	// Message is one sentence for people.
	Message string
	// Node is for facts about a node.
	Node string
}

// Event is what is published: a CloudEvents 1.0 JSON envelope and its data.
type Event struct {
	SpecVersion string    `json:"specversion"` // "1.0"
	ID          string    `json:"id"`          // also the Nats-Msg-Id
	Source      string    `json:"source"`      // "pgforeman/<instance>"
	Type        string    `json:"type"`        // "pgforeman.v1.operation.accepted"
	Subject     string    `json:"subject"`     // the cluster's name
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"` // "application/json"
	Tenant      string    `json:"tenant"`          // extension attribute
	Data        EventData `json:"data"`
}

// EventData is an event's data.
type EventData struct {
	OperationID string       `json:"operation_id,omitempty"`
	RequestID   string       `json:"request_id,omitempty"`
	Kind        KindName     `json:"kind,omitempty"`
	Cluster     string       `json:"cluster"`
	ClusterID   string       `json:"cluster_id,omitempty"`
	Seq         int64        `json:"seq,omitempty"` // gapless within an operation, from 1; absent without one
	Percent     int          `json:"percent"`
	Step        *EventStep   `json:"step,omitempty"`
	Node        string       `json:"node,omitempty"`
	Progress    *Observation `json:"progress,omitempty"`
	Error       *Error       `json:"error,omitempty"`
	Message     string       `json:"message"`
	// Endpoints come with cluster.ready.
	Endpoints *Endpoints     `json:"endpoints,omitempty"`
	Details   map[string]any `json:"details,omitempty"`
}

// EventStep says which step an event is about.
type EventStep struct {
	Name    string `json:"name"`
	Title   string `json:"title,omitempty"`
	Node    string `json:"node,omitempty"`
	Stage   int    `json:"stage"`  // from 1
	Stages  int    `json:"stages"` // of so many
	Attempt int    `json:"attempt,omitempty"`
	Undo    bool   `json:"undo,omitempty"`
}

// DeadLetterState is what became of a dead letter.
type DeadLetterState string

// The states of a dead letter.
const (
	DeadOpen      DeadLetterState = "open"
	DeadReplayed  DeadLetterState = "replayed"
	DeadDiscarded DeadLetterState = "discarded"
)

// MaxOriginalPart is how much of a dead letter's original one answer holds, in
// bytes.
const MaxOriginalPart = 384 << 10

// DeadLetter is an operation, or an unreadable message, that needs a person.
type DeadLetter struct {
	ID          string          `json:"id"` // UUID
	OperationID string          `json:"operation_id,omitempty"`
	RequestID   string          `json:"request_id,omitempty"`
	Tenant      string          `json:"tenant"`
	Kind        KindName        `json:"kind"`
	Cluster     string          `json:"cluster,omitempty"`
	State       DeadLetterState `json:"state"`
	Reason      string          `json:"reason"` // one sentence: what failed, where
	Error       *Error          `json:"error"`
	// Step, Observation and Attempts tell where it failed, what was last seen
	// and every attempt.
	Step        *EventStep      `json:"step,omitempty"`
	Observation *Observation    `json:"observation,omitempty"`
	Attempts    []AttemptRecord `json:"attempts,omitempty"`
	// Advice says what to do, for people.
	Advice string `json:"advice"`
	// Subject, Header and Original are the message as it came, verbatim
	// (Original is base64 in JSON); of an operation's dead letter the request.
	Subject  string              `json:"subject"`
	Header   map[string][]string `json:"header,omitempty"`
	Original []byte              `json:"original"`
	// OriginalSize is the size of the whole original, in bytes; dead.get gives
	// at most MaxOriginalPart of them, from the offset asked for.
	OriginalSize int `json:"original_size,omitempty"`
	// Stream and StreamSeq say where an unreadable message came from.
	StreamSeq uint64    `json:"stream_seq,omitempty"`
	CreatedAt time.Time `json:"created_at"`
}

// Outgoing is a message of the outbox: an event or a dead letter to publish.
type Outgoing struct {
	ID      int64 // order
	MsgID   string
	Subject string
	Body    json.RawMessage
}
