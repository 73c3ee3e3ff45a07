package postgres

import (
	"context"
	"fmt"
	"time"
)

// The probe's table lives in the database postgres, in a schema that nobody but
// superusers may use. It holds the tokens of the last hour.
const (
	makeProbeSchema = `CREATE SCHEMA IF NOT EXISTS pgforeman`
	makeProbeTable  = `CREATE TABLE IF NOT EXISTS pgforeman.probe (token text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())`
	sweepProbe      = `DELETE FROM pgforeman.probe WHERE at < now() - interval '1 hour'`
	hasProbe        = `SELECT to_regclass('pgforeman.probe') IS NOT NULL`
	writeProbe      = `INSERT INTO pgforeman.probe (token) VALUES ($1) ON CONFLICT (token) DO UPDATE SET at = now()`
	readProbe       = `SELECT EXISTS (SELECT FROM pgforeman.probe WHERE token = $1)`

	probeInterval = 50 * time.Millisecond
)

// WriteProbe commits a row with the token: through the primary's endpoint, it
// proves that applications can write. Errors: ErrReadOnly where the endpoint
// leads to a standby, ErrUnavailable, ErrNotReady.
func (db *DB) WriteProbe(ctx context.Context, token string) error {
	// Asked first, because trying and failing would leave errors in the server's log.
	made, err := value[bool](ctx, db, "look for probe table", hasProbe)
	if err == nil && !made {
		err = db.makeProbe(ctx)
	}
	if err == nil {
		err = db.exec(ctx, "write probe", writeProbe, token)
	}
	if err != nil {
		return err
	}
	return db.exec(ctx, "sweep probe", sweepProbe)
}

// makeProbe accepts that another makes the same at the same time, which IF NOT
// EXISTS does not.
func (db *DB) makeProbe(ctx context.Context) error {
	for _, sql := range []string{makeProbeSchema, makeProbeTable} {
		err := db.exec(ctx, "make probe table", sql)
		if err != nil && !isCode(err, uniqueViolation, duplicateSchema, duplicateTable, duplicateObject) {
			return err
		}
	}
	return nil
}

// ReadProbe says whether the row with the token is here yet.
func (db *DB) ReadProbe(ctx context.Context, token string) (bool, error) {
	made, err := value[bool](ctx, db, "look for probe table", hasProbe)
	if err != nil || !made {
		return false, err
	}
	return value[bool](ctx, db, "read probe", readProbe, token)
}

// WaitProbe waits until the row with the token is here: through the replicas'
// endpoint, it proves that what is written is replicated. It goes on while the
// server cannot be reached; when ctx ends, the error tells what was seen last.
func (db *DB) WaitProbe(ctx context.Context, token string) error {
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	last := "nothing seen"
	for {
		found, err := db.ReadProbe(ctx, token)
		switch {
		case found:
			return nil
		case err != nil && ctx.Err() == nil && !passing(err):
			return err
		case err != nil && ctx.Err() == nil:
			last = err.Error()
		case err == nil:
			last = "the row has not arrived"
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for probe: %w (%s)", context.Cause(ctx), last)
		case <-tick.C:
		}
	}
}
