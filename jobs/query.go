package jobs

import "time"

// Queries of contract v1: the last token of the query subject.
const (
	QueryClusterGet   = "cluster.get"    // {"name"} → ClusterView
	QueryClusterList  = "cluster.list"   // {} → []ClusterView (without nodes)
	QueryStatus       = "cluster.status" // {"name"} → StatusView
	QueryCredentials  = "cluster.credentials"
	QueryOperationGet = "operation.get"  // {"id"} (operation id or request id) → OperationView
	QueryOperations   = "operation.list" // {"cluster","state","limit"} → []OperationView (without steps)
	QueryDeadList     = "dead.list"      // {"all"} → []DeadLetterView
	QueryDeadGet      = "dead.get"       // {"id", "offset"} → DeadLetter
	QueryAudit        = "audit.list"     // {"cluster","limit"} → []AuditView, the newest first
)

// Query is the data of every query; each reads the fields it needs.
type Query struct {
	Name    string `json:"name,omitempty"`
	ID      string `json:"id,omitempty"`
	Cluster string `json:"cluster,omitempty"`
	State   string `json:"state,omitempty"`
	User    string `json:"user,omitempty"`
	Limit   int    `json:"limit,omitempty"` // default 100, at most 1000
	All     bool   `json:"all,omitempty"`   // settled dead letters, deleted clusters too
	// Offset is where the original of a dead letter is to begin, in bytes: one
	// that is too large for an answer is read in parts.
	Offset int `json:"offset,omitempty"`
}

// ClusterView is a cluster as queries tell it; scripts rely on its fields.
type ClusterView struct {
	ID        string      `json:"id"`
	Name      string      `json:"name"`
	Tenant    string      `json:"tenant"`
	State     string      `json:"state"`
	Spec      ClusterSpec `json:"spec"`
	Nodes     []NodeView  `json:"nodes"`
	Endpoints Endpoints   `json:"endpoints"`
	Operation string      `json:"operation,omitempty"` // the one that is running
	CreatedAt time.Time   `json:"created_at"`
}

// NodeView is a node as cluster show tells it.
type NodeView struct {
	Name     string `json:"name"`
	Role     string `json:"role"` // leader, sync_standby, replica
	State    string `json:"state"`
	Timeline int    `json:"timeline"`
	LagBytes int64  `json:"lag_bytes"`
}

// StatusView is a cluster looked at now.
type StatusView struct {
	ClusterView
	Parts []PartStatus `json:"parts"`
	// CertificatesExpireAt is when the first of the cluster's certificates ends.
	CertificatesExpireAt *time.Time `json:"certificates_expire_at,omitempty"`
	// Trouble says, a sentence each, what is not as it should be.
	Trouble []string `json:"trouble,omitempty"`
}

// PartStatus is one container looked at now; the replication fields are of
// nodes only, from the leader's pg_stat_replication and the node's own
// pg_stat_wal_receiver.
type PartStatus struct {
	Name       string `json:"name"`
	Part       string `json:"part"`      // node, etcd, proxy
	Container  string `json:"container"` // running, exited, missing, …
	Health     string `json:"health,omitempty"`
	Role       string `json:"role,omitempty"`
	State      string `json:"state,omitempty"`
	Timeline   int    `json:"timeline,omitempty"`
	LagBytes   int64  `json:"lag_bytes,omitempty"`
	ClientAddr string `json:"client_addr,omitempty"`
	Streaming  string `json:"streaming_state,omitempty"`
	SentLSN    string `json:"sent_lsn,omitempty"`
	WriteLSN   string `json:"write_lsn,omitempty"`
	FlushLSN   string `json:"flush_lsn,omitempty"`
	ReplayLSN  string `json:"replay_lsn,omitempty"`
	SyncState  string `json:"sync_state,omitempty"`
	Receiver   string `json:"receiver_status,omitempty"`
	SenderHost string `json:"sender_host,omitempty"`
	Note       string `json:"note,omitempty"`
}

// Credentials is how an application connects.
type Credentials struct {
	Username   string `json:"username"`
	Password   string `json:"password"`
	Database   string `json:"database"`
	PrimaryURI string `json:"primary_uri"`
	ReplicaURI string `json:"replica_uri"`
	CAPEM      string `json:"ca_pem"`
}

// OperationView is an operation as queries tell it; scripts rely on its fields.
type OperationView struct {
	ID         string     `json:"id"`
	RequestID  string     `json:"request_id"`
	Tenant     string     `json:"tenant"`
	Kind       KindName   `json:"kind"`
	Cluster    string     `json:"cluster"`
	State      string     `json:"state"`
	Undo       string     `json:"undo,omitempty"`
	Percent    int        `json:"percent"`
	Error      *Error     `json:"error,omitempty"`
	Actor      string     `json:"actor,omitempty"`
	Seq        int64      `json:"seq"`
	Replays    int        `json:"replays"`
	AcceptedAt time.Time  `json:"accepted_at"`
	StartedAt  *time.Time `json:"started_at,omitempty"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	Stages     []string   `json:"stages,omitempty"`
	Steps      []StepView `json:"steps,omitempty"`
}

// StepView is a step of an OperationView.
type StepView struct {
	Name        string          `json:"name"`
	Title       string          `json:"title,omitempty"`
	Node        string          `json:"node,omitempty"`
	Stage       int             `json:"stage"` // from 1
	State       string          `json:"state"`
	Attempt     int             `json:"attempt"`
	Worker      string          `json:"worker,omitempty"`
	StartedAt   *time.Time      `json:"started_at,omitempty"`
	FinishedAt  *time.Time      `json:"finished_at,omitempty"`
	Error       *Error          `json:"error,omitempty"`
	Observation *Observation    `json:"observation,omitempty"`
	History     []AttemptRecord `json:"history,omitempty"`
}

// DeadLetterView is a dead letter in a list; scripts rely on its fields.
type DeadLetterView struct {
	ID          string    `json:"id"`
	OperationID string    `json:"operation_id"`
	Kind        KindName  `json:"kind"`
	Cluster     string    `json:"cluster"`
	Reason      string    `json:"reason"`
	State       string    `json:"state"`
	CreatedAt   time.Time `json:"created_at"`
}
