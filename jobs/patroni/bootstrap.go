package patroni

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
)

// SyncMode says what a commit waits for.
type SyncMode string

// The three modes of Patroni's synchronous_mode and synchronous_mode_strict.
const (
	SyncOff SyncMode = "off"
	// SyncOn waits for a standby as long as there is one.
	SyncOn SyncMode = "on"
	// SyncStrict refuses to commit without a standby.
	SyncStrict SyncMode = "strict"
)

// Timing are Patroni's clocks, in seconds. LoopWait + 2 × RetryTimeout must not
// exceed TTL, or a leader loses its key while it still tries to renew it.
type Timing struct {
	TTL          int
	LoopWait     int
	RetryTimeout int
}

// DefaultTiming is what a cluster runs with.
func DefaultTiming() Timing { return Timing{TTL: 20, LoopWait: 5, RetryTimeout: 5} }

func (t Timing) check() error {
	// The minimums are Patroni's (patroni/config.py: validators of dynamic configuration).
	if t.TTL < 20 || t.LoopWait < 1 || t.RetryTimeout < 3 || t.LoopWait+2*t.RetryTimeout > t.TTL {
		return fmt.Errorf("timing ttl %d, loop_wait %d, retry_timeout %d: it takes at least 20, 1 and 3, "+
			"and loop_wait + 2 × retry_timeout up to ttl", t.TTL, t.LoopWait, t.RetryTimeout)
	}
	return nil
}

// Spec is what a cluster's dynamic configuration depends on.
type Spec struct {
	SyncMode SyncMode // empty means off
	// MemoryMB is a node's memory limit; memory settings derive from it. 0
	// leaves them to PostgreSQL's defaults.
	MemoryMB int
	// Parameters are the user's PostgreSQL settings; they go over the derived ones.
	Parameters map[string]string
	// Timing is DefaultTiming when zero.
	Timing Timing
}

// maximumLag is how far behind a replica may be and still be elected, in bytes.
const maximumLag = 1 << 20

// Connections by default. A connection costs up to 10 MB, so small nodes get fewer.
const (
	smallMaxConnections = 100
	maxConnections      = 200
	smallNodeMB         = 2048
)

type dcs struct {
	TTL                   int        `json:"ttl"`
	LoopWait              int        `json:"loop_wait"`
	RetryTimeout          int        `json:"retry_timeout"`
	MaximumLagOnFailover  int        `json:"maximum_lag_on_failover"`
	SynchronousMode       bool       `json:"synchronous_mode"`
	SynchronousModeStrict bool       `json:"synchronous_mode_strict"`
	SynchronousNodeCount  int        `json:"synchronous_node_count"`
	PostgreSQL            postgresql `json:"postgresql"`
}

type postgresql struct {
	UsePgRewind bool              `json:"use_pg_rewind"`
	UseSlots    bool              `json:"use_slots"`
	Parameters  map[string]string `json:"parameters"` // encoding/json sorts the keys
}

// BootstrapDCS renders bootstrap.dcs, the configuration with which Patroni
// begins a cluster, as JSON: deterministic, one setting a line. The same text is
// YAML. It reads Parameters only after ValidateParameters; errors:
// *ParameterError, an unknown mode, impossible timing.
func BootstrapDCS(spec Spec) ([]byte, error) {
	if problems := ValidateParameters(spec.Parameters); problems != nil {
		return nil, &ParameterError{Problems: problems}
	}
	switch spec.SyncMode {
	case "", SyncOff, SyncOn, SyncStrict:
	default:
		return nil, fmt.Errorf("synchronous mode %q: it takes off, on or strict", string(spec.SyncMode))
	}
	timing := spec.Timing
	if timing == (Timing{}) {
		timing = DefaultTiming()
	}
	if err := timing.check(); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err := encoder.Encode(dcs{
		TTL: timing.TTL, LoopWait: timing.LoopWait, RetryTimeout: timing.RetryTimeout,
		MaximumLagOnFailover:  maximumLag,
		SynchronousMode:       spec.SyncMode == SyncOn || spec.SyncMode == SyncStrict,
		SynchronousModeStrict: spec.SyncMode == SyncStrict,
		SynchronousNodeCount:  1,
		PostgreSQL:            postgresql{UsePgRewind: true, UseSlots: true, Parameters: Parameters(spec)},
	})
	return text.Bytes(), err
}

// Parameters are all PostgreSQL settings of the dynamic configuration: the
// cluster's own, those derived from the memory, and the user's over both.
func Parameters(spec Spec) map[string]string {
	all := map[string]string{
		"archive_command":             "/bin/true",
		"archive_mode":                "on",
		"hot_standby":                 "on",
		"max_connections":             strconv.Itoa(maxConnections),
		"max_replication_slots":       "20",
		"max_wal_senders":             "20",
		"max_wal_size":                "10GB",
		"wal_level":                   "replica",
		"wal_log_hints":               "on",
		"wal_retrieve_retry_interval": "200ms",
	}
	maps.Copy(all, memory(spec.MemoryMB))
	maps.Copy(all, spec.Parameters)
	return all
}

// memory follows the PostgreSQL manual's starting points (chapter Resource
// Consumption): a quarter for shared buffers, three quarters for what the
// planner may expect to be cached.
func memory(mb int) map[string]string {
	if mb <= 0 {
		return nil
	}
	derived := map[string]string{
		"shared_buffers":       megabytes(max(mb/4, 16)),
		"effective_cache_size": megabytes(max(mb*3/4, 16)),
		"maintenance_work_mem": megabytes(min(max(mb/16, 16), 1024)),
	}
	if mb < smallNodeMB {
		derived["max_connections"] = strconv.Itoa(smallMaxConnections)
	}
	return derived
}

func megabytes(n int) string { return strconv.Itoa(n) + "MB" }
