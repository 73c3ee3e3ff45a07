package patroni

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Status is what a node says of itself: GET /patroni.
type Status struct {
	// State is PostgreSQL's, as Patroni sees it: running, starting, stopped,
	// "creating replica", "initializing new cluster", "start failed", …
	State string `json:"state"`
	// Role is primary, replica or standby_leader (master before Patroni 4).
	Role          string `json:"role"`
	ServerVersion int    `json:"server_version"` // e.g. 170012
	Timeline      int    `json:"timeline"`
	XLog          struct {
		Location int64 `json:"location"` // bytes, of a primary
		Received int64 `json:"received_location"`
		Replayed int64 `json:"replayed_location"`
		Paused   bool  `json:"paused"` // replay is paused
	} `json:"xlog"`
	// Replication lists those who stream from this node.
	Replication []Follower `json:"replication"`
	// ReplicationState is a replica's own: streaming, in archive recovery, or empty.
	ReplicationState string `json:"replication_state"`
	SyncStandby      bool   `json:"sync_standby"`
	PendingRestart   bool   `json:"pending_restart"`
	Pause            bool   `json:"pause"`
	// ClusterUnlocked says that nobody holds the leader key.
	ClusterUnlocked bool `json:"cluster_unlocked"`
	// DCSLastSeen is when etcd last answered this node, in Unix seconds.
	DCSLastSeen int64  `json:"dcs_last_seen"`
	SystemID    string `json:"database_system_identifier"`
	Patroni     struct {
		Version string `json:"version"`
		Scope   string `json:"scope"`
		Name    string `json:"name"`
	} `json:"patroni"`
}

// Follower is one row of a node's pg_stat_replication, as Patroni tells it.
type Follower struct {
	Name       string `json:"application_name"`
	ClientAddr string `json:"client_addr"`
	State      string `json:"state"`
	SyncState  string `json:"sync_state"`
}

// IsPrimary says whether the node runs as primary, whatever the leader key says.
func (s Status) IsPrimary() bool { return s.Role == "primary" || s.Role == "master" }

// Running says whether PostgreSQL accepts connections there.
func (s Status) Running() bool { return s.State == "running" }

// DCSAge is for how long etcd has not answered this node.
func (s Status) DCSAge(now time.Time) time.Duration {
	if s.DCSLastSeen == 0 {
		return 0
	}
	return now.Sub(time.Unix(s.DCSLastSeen, 0))
}

// Status asks the node for its own state. Patroni answers while PostgreSQL is
// down. Errors: ErrUnavailable, ErrIdentity.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var status Status
	err := c.ask(ctx, http.MethodGet, "/patroni", nil, &status)
	return status, err
}

// IsPrimary asks whether the node is the leader and holds the key: what HAProxy
// asks for port 5000.
func (c *Client) IsPrimary(ctx context.Context) (bool, error) { return c.check(ctx, "/primary") }

// IsReplica asks whether the node is a replica fit to serve reads: what HAProxy
// asks for port 5001.
func (c *Client) IsReplica(ctx context.Context) (bool, error) { return c.check(ctx, "/replica") }

// check reads a health check's status: 200 is yes, 503 no.
func (c *Client) check(ctx context.Context, path string) (bool, error) {
	err := c.ask(ctx, http.MethodGet, path, nil, nil)
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusServiceUnavailable {
		return false, nil
	}
	return err == nil, err
}
