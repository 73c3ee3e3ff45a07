package patroni

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Cluster is the cluster as etcd records it: GET /cluster. It is up to a loop old.
type Cluster struct {
	Scope    string   `json:"scope"`
	Members  []Member `json:"members"`
	Pause    bool     `json:"pause"`
	Schedule *struct {
		At   string `json:"at"`
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"scheduled_switchover"`
}

// Member is one node of a Cluster.
type Member struct {
	Name string `json:"name"`
	// Role is leader, replica, sync_standby, quorum_standby or standby_leader.
	Role string `json:"role"`
	// State is running, streaming, "in archive recovery", "creating replica",
	// starting, stopped, "start failed", …
	State          string `json:"state"`
	Host           string `json:"host"`
	Port           int    `json:"port"`
	Timeline       int    `json:"timeline"`
	Lag            Lag    `json:"lag"`
	PendingRestart bool   `json:"pending_restart"`
}

// Lag is how many bytes a replica's replay is behind, or Unknown. A leader's is 0.
type Lag struct {
	Bytes   int64
	Unknown bool
}

// UnmarshalJSON takes a number or Patroni's "unknown".
func (l *Lag) UnmarshalJSON(text []byte) error {
	var word string
	if json.Unmarshal(text, &word) == nil {
		*l = Lag{Unknown: true}
		return nil
	}
	l.Unknown = false
	return json.Unmarshal(text, &l.Bytes)
}

// Leader is the member with the role leader, or false.
func (c Cluster) Leader() (Member, bool) {
	for _, m := range c.Members {
		if m.Role == "leader" || m.Role == "standby_leader" {
			return m, true
		}
	}
	return Member{}, false
}

// Member is the member of that name, or false.
func (c Cluster) Member(name string) (Member, bool) {
	for _, m := range c.Members {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// Cluster asks for all members. Errors: ErrUnavailable, *StatusError.
func (c *Client) Cluster(ctx context.Context) (Cluster, error) {
	var cluster Cluster
	err := c.ask(ctx, http.MethodGet, "/cluster", nil, &cluster)
	return cluster, err
}

// Change is one change of the leader: an entry of GET /history.
type Change struct {
	Timeline int   // the one that ended
	LSN      int64 // bytes, where it ended
	Reason   string
	At       time.Time // zero when Patroni does not know
	Leader   string    // who led afterwards; may be empty
}

// UnmarshalJSON takes Patroni's array [timeline, lsn, reason, time, leader], of
// which the last two may be missing.
func (ch *Change) UnmarshalJSON(text []byte) error {
	var fields []json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	if len(fields) < 3 {
		return fmt.Errorf("a history entry has %d fields, not three or more", len(fields))
	}
	var at string
	for i, target := range []any{&ch.Timeline, &ch.LSN, &ch.Reason, &at, &ch.Leader} {
		if i >= len(fields) {
			break
		}
		if err := json.Unmarshal(fields[i], target); err != nil {
			return fmt.Errorf("history field %d: %w", i+1, err)
		}
	}
	if at == "" {
		return nil
	}
	var err error
	ch.At, err = time.Parse(time.RFC3339Nano, at)
	return err
}

// History lists the changes of the leader, oldest first.
func (c *Client) History(ctx context.Context) ([]Change, error) {
	var history []Change
	err := c.ask(ctx, http.MethodGet, "/history", nil, &history)
	return history, err
}
