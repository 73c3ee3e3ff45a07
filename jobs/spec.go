package jobs

// ClusterSpec is the data of cluster.create, in canonical form once decoded:
// every default filled in.
type ClusterSpec struct {
	Name            string            `json:"name"` // DNS label, at most 40 characters
	Nodes           int               `json:"nodes"`
	EtcdMembers     int               `json:"etcd_members"`
	Proxies         int               `json:"proxies"`
	PostgresVersion string            `json:"postgres_version"` // "17"
	CPUs            float64           `json:"cpus"`             // per node; 0 = no limit of its own
	MemoryMB        int               `json:"memory_mb"`        // per node, MiB
	SynchronousMode string            `json:"synchronous_mode"` // off, on, strict
	Parameters      map[string]string `json:"parameters,omitempty"`
	Databases       []DatabaseSpec    `json:"databases,omitempty"`
	Users           []UserSpec        `json:"users,omitempty"`
	PrimaryPort     int               `json:"primary_port,omitempty"` // on the host; 0 = allocated
	ReplicaPort     int               `json:"replica_port,omitempty"`
	BindAddress     string            `json:"bind_address"`
	Labels          map[string]string `json:"labels,omitempty"`
	OnFailure       string            `json:"on_failure"` // keep, rollback
	// TimeoutSeconds bounds the whole operation; 0 means none: every step has
	// a limit of its own that moves with progress.
	TimeoutSeconds int `json:"timeout_seconds,omitempty"`
}

// DatabaseSpec is a database to be made with the cluster.
type DatabaseSpec struct {
	Name  string `json:"name"`
	Owner string `json:"owner,omitempty"` // one of the users; "app" when empty
}

// UserSpec is a login role to be made with the cluster; its password is
// generated.
type UserSpec struct {
	Name string `json:"name"`
}

// AppUser is the login role, and the database owned by it, that every cluster
// has: the one that credentials are for unless another is named.
const AppUser = "app"

// DeleteSpec is the data of cluster.delete.
type DeleteSpec struct {
	Name string `json:"name,omitempty"` // the cluster's, when the CloudEvents subject is empty
}

// RotateSpec is the data of cluster.rotate. It has to ask for something.
type RotateSpec struct {
	Name         string `json:"name,omitempty"` // the cluster's, when the CloudEvents subject is empty
	Certificates bool   `json:"certificates"`   // new keys and certificates for every part, of the same authority
}

// ControlSpec is the data of operation.cancel, operation.replay and
// operation.discard. One of the two names the target; replay and discard take
// either, cancel an operation.
type ControlSpec struct {
	OperationID  string `json:"operation_id,omitempty"`
	DeadLetterID string `json:"dead_letter_id,omitempty"`
	Reason       string `json:"reason,omitempty"` // for the audit, at most 500 characters
}
