package jobs

import "time"

// AuditEntry is one thing that somebody did, for the audit.
type AuditEntry struct {
	At          time.Time // given by the store
	Tenant      string
	Actor       string // who asked: the NATS identity where the server tells it, else what the request says
	Action      string // a kind's name, "cluster.credentials", …
	Cluster     string // its name
	OperationID string
	RequestID   string
	Outcome     Outcome
	Detail      string // a sentence; no secrets
}

// Outcome is what became of what was asked, as an AuditEntry tells it. An
// operation has one entry when it is accepted and one for each of its ends: an
// operation that failed and was replayed has several.
type Outcome string

// The outcomes.
const (
	OutcomeAccepted  Outcome = "accepted"
	OutcomeRejected  Outcome = "rejected"
	OutcomeSucceeded         = Outcome(OperationSucceeded)
	OutcomeFailed            = Outcome(OperationFailed)
	OutcomeCancelled         = Outcome(OperationCancelled)
	OutcomeAnswered  Outcome = "answered" // a question whose answers are audited
)

// AuditView is an AuditEntry as queries tell it; scripts rely on its fields.
type AuditView struct {
	At          time.Time `json:"at"`
	Actor       string    `json:"actor"`
	Action      string    `json:"action"`
	Cluster     string    `json:"cluster,omitempty"`
	OperationID string    `json:"operation_id,omitempty"`
	RequestID   string    `json:"request_id,omitempty"`
	Outcome     string    `json:"outcome,omitempty"`
	Detail      string    `json:"detail,omitempty"`
}
