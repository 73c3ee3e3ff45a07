package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Standby is one who streams from this server: a row of pg_stat_replication.
// Positions are bytes of WAL since its beginning, 0 when not known.
type Standby struct {
	// Name is application_name, which Patroni sets to the node's name.
	Name       string
	ClientAddr string
	State      string // startup, catchup, streaming, backup, stopping
	SyncState  string // async, potential, sync, quorum
	Sent       int64
	Written    int64
	Flushed    int64
	Replayed   int64
	// LagBytes is how far replay is behind this server; -1 when not known.
	LagBytes int64
	// ReplayLag is the time from flush here to replay there; 0 when idle.
	ReplayLag time.Duration
}

// Replication lists the standbys that stream from this server, by name.
func (db *DB) Replication(ctx context.Context) ([]Standby, error) {
	const sql = `
SELECT coalesce(application_name, ''), coalesce(host(client_addr), ''), coalesce(state, ''), coalesce(sync_state, ''),
       coalesce(sent_lsn - '0/0'::pg_lsn, 0)::bigint, coalesce(write_lsn - '0/0'::pg_lsn, 0)::bigint,
       coalesce(flush_lsn - '0/0'::pg_lsn, 0)::bigint, coalesce(replay_lsn - '0/0'::pg_lsn, 0)::bigint,
       coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END - replay_lsn, -1)::bigint,
       coalesce(extract(epoch FROM replay_lag) * 1000000, 0)::bigint
  FROM pg_stat_replication
 ORDER BY application_name, pid`
	return query(ctx, db, "read pg_stat_replication", sql, func(row pgx.CollectableRow) (s Standby, err error) {
		var micros int64
		err = row.Scan(&s.Name, &s.ClientAddr, &s.State, &s.SyncState,
			&s.Sent, &s.Written, &s.Flushed, &s.Replayed, &s.LagBytes, &micros)
		s.ReplayLag = time.Duration(micros) * time.Microsecond
		return s, err
	})
}

// WALReceiver is a standby's end of streaming: pg_stat_wal_receiver.
type WALReceiver struct {
	// Status is empty when no receiver runs.
	Status     string
	SenderHost string
	SenderPort int
	Slot       string
	Timeline   int
	Flushed    int64 // bytes of WAL
	LatestEnd  int64 // bytes of WAL that the sender told of
}

// WALReceiver looks at the standby's receiver. It is zero when none runs.
func (db *DB) WALReceiver(ctx context.Context) (WALReceiver, error) {
	const sql = `
SELECT coalesce(status, ''), coalesce(sender_host, ''), coalesce(sender_port, 0), coalesce(slot_name, ''),
       coalesce(received_tli, 0), coalesce(flushed_lsn - '0/0'::pg_lsn, 0)::bigint,
       coalesce(latest_end_lsn - '0/0'::pg_lsn, 0)::bigint
  FROM pg_stat_wal_receiver`
	rows, err := query(ctx, db, "read pg_stat_wal_receiver", sql, func(row pgx.CollectableRow) (w WALReceiver, err error) {
		err = row.Scan(&w.Status, &w.SenderHost, &w.SenderPort, &w.Slot, &w.Timeline, &w.Flushed, &w.LatestEnd)
		return w, err
	})
	if err != nil || len(rows) == 0 {
		return WALReceiver{}, err
	}
	return rows[0], nil
}

// Basebackup is one copy under way from this server.
type Basebackup struct {
	// Name is the taker's application_name; pg_basebackup gives its own unless
	// told otherwise, so ClientAddr says more.
	Name       string
	ClientAddr string
	Phase      string
	Streamed   int64 // bytes
	Total      int64 // bytes, an estimate; 0 before it is made
}

// Basebackups lists the copies under way. Several may run from one server.
func (db *DB) Basebackups(ctx context.Context) ([]Basebackup, error) {
	const sql = `
SELECT coalesce(a.application_name, ''), coalesce(host(a.client_addr), ''), p.phase,
       coalesce(p.backup_streamed, 0), coalesce(p.backup_total, 0)
  FROM pg_stat_progress_basebackup p
  LEFT JOIN pg_stat_activity a USING (pid)
 ORDER BY a.backend_start, p.pid`
	return query(ctx, db, "read pg_stat_progress_basebackup", sql, func(row pgx.CollectableRow) (b Basebackup, err error) {
		err = row.Scan(&b.Name, &b.ClientAddr, &b.Phase, &b.Streamed, &b.Total)
		return b, err
	})
}

// InRecovery says whether the server is a standby.
func (db *DB) InRecovery(ctx context.Context) (bool, error) {
	return value[bool](ctx, db, "ask whether the server is a standby", `SELECT pg_is_in_recovery()`)
}

// Setting is what SHOW says. An unknown name is an error.
func (db *DB) Setting(ctx context.Context, name string) (string, error) {
	return value[string](ctx, db, "show "+name, `SELECT current_setting($1)`, name)
}

// Checkpoint makes one at once, so that what follows (a basebackup, a
// switchover) does not wait for it.
func (db *DB) Checkpoint(ctx context.Context) error {
	return db.exec(ctx, "checkpoint", `CHECKPOINT`)
}
