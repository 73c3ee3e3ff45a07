package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/vcs-iaas/pgforeman/jobs"
	"github.com/vcs-iaas/pgforeman/store/internal/dbsqlc"
)

// unit is one operation in a transaction: its rows as they were read, and as
// the rules that were applied so far leave them.
type unit struct {
	now           time.Time
	before, after rows
	// leased holds the steps whose lease a rule relied on: they are written,
	// and so checked once more, whether the rule changed them or not.
	leased   map[int64]bool
	messages []message
	letters  []jobs.DeadLetter
	settle   jobs.DeadLetterState
	changed  bool // a rule was applied
}

type rows struct {
	cluster   dbsqlc.Cluster
	operation dbsqlc.Operation
	steps     []dbsqlc.Step // by stage, then id
}

// load locks operations with their clusters and reads their steps. Those that
// do not exist are not among the result.
func load(ctx context.Context, q *dbsqlc.Queries, ids []string) (map[string]*unit, error) {
	locked, err := q.OperationLock(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("lock operations: %w", err)
	}
	units := make(map[string]*unit, len(locked))
	for _, r := range locked {
		units[r.Operation.ID] = &unit{
			now: r.Now, leased: map[int64]bool{},
			before: rows{cluster: r.Cluster, operation: r.Operation},
		}
	}
	// A statement of its own, so that it sees what was committed before the
	// locks were granted.
	steps, err := q.StepList(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read steps: %w", err)
	}
	for _, r := range steps {
		if u := units[r.Step.OperationID]; u != nil {
			u.before.steps = append(u.before.steps, r.Step)
			u.now = r.Now
		}
	}
	for _, u := range units {
		u.after = u.before
	}
	return units, nil
}

// snapshot is what a rule gets: nothing of it is shared with the unit.
func (u *unit) snapshot() (*jobs.Snapshot, error) {
	operation, err := operationOf(u.after.operation)
	if err != nil {
		return nil, err
	}
	operation.Stages = slices.Clone(operation.Stages)
	cluster := clusterOf(u.after.cluster)
	snap := &jobs.Snapshot{Now: u.now, Operation: &operation, Cluster: &cluster}
	for _, r := range u.after.steps {
		step, err := stepOf(r)
		if err != nil {
			return nil, err
		}
		snap.Steps = append(snap.Steps, step)
	}
	return snap, nil
}

// apply runs a rule. When it ends in an error the unit is as it was before.
func (u *unit) apply(s *Store, lease *jobs.Lease, rule jobs.Rule) error {
	snap, err := u.snapshot()
	if err != nil {
		return err
	}
	if lease != nil && !holds(snap.Step(lease.StepID), *lease) {
		return jobs.ErrLeaseLost
	}
	if err := rule(snap); err != nil {
		return err
	}
	if snap.Cluster.State == jobs.ClusterDeleted && snap.Cluster.DeletedAt == nil {
		snap.Cluster.DeletedAt = &u.now
	}
	messages, err := s.told(u.now, snap.Operation, snap.Cluster, snap.Events)
	if err != nil {
		return err
	}
	after, err := u.rowsOf(snap)
	if err != nil {
		return err
	}
	u.after, u.messages = after, append(u.messages, messages...)
	if snap.Dead != nil {
		letter := *snap.Dead
		letter.OperationID, letter.RequestID, letter.Tenant = snap.Operation.ID, snap.Operation.RequestID, snap.Operation.Tenant
		letter.Kind, letter.Cluster = snap.Operation.Kind, snap.Operation.Cluster
		u.letters = append(u.letters, letter)
	}
	if snap.Settle != "" {
		u.settle = snap.Settle
	}
	if lease != nil {
		u.leased[lease.StepID] = true
	}
	return nil
}

// holds tells whether the step is leased to exactly this attempt.
func holds(s *jobs.StepRecord, l jobs.Lease) bool {
	return s != nil && s.State == jobs.StepRunning && s.Owner == l.Owner && s.Attempt == l.Attempt
}

func (u *unit) rowsOf(snap *jobs.Snapshot) (rows, error) {
	after := rows{cluster: clusterRow(u.after.cluster, snap.Cluster), steps: make([]dbsqlc.Step, 0, len(snap.Steps))}
	var err error
	if after.operation, err = operationRow(u.after.operation, snap.Operation); err != nil {
		return after, err
	}
	for _, r := range u.after.steps {
		step := snap.Step(r.ID)
		if step == nil {
			return after, fmt.Errorf("a rule removed step %d of operation %s", r.ID, r.OperationID)
		}
		row, err := stepRow(r, step)
		if err != nil {
			return after, err
		}
		after.steps = append(after.steps, row)
	}
	return after, nil
}

// write brings what the units' rules changed into the database: clusters,
// operations, steps in the order of their ids, dead letters, audit, outbox. errStale
// means that somebody else changed a step meanwhile.
func (s *Store) write(ctx context.Context, q *dbsqlc.Queries, units []*unit) error {
	var operations []dbsqlc.OperationUpdateParams
	var steps []dbsqlc.StepUpdateParams
	var messages []message
	var audit []jobs.AuditEntry
	for _, u := range units {
		if !reflect.DeepEqual(u.before.cluster, u.after.cluster) {
			if err := writeCluster(ctx, q, u.before.cluster, u.after.cluster); err != nil {
				return err
			}
		}
		if !reflect.DeepEqual(u.before.operation, u.after.operation) {
			operations = append(operations, operationParams(u.before.operation, u.after.operation))
		}
		for i, r := range u.after.steps {
			if u.leased[r.ID] || !reflect.DeepEqual(u.before.steps[i], r) {
				steps = append(steps, stepParams(u.before.steps[i], r))
			}
		}
		letters, err := s.writeLetters(ctx, q, u)
		if err != nil {
			return err
		}
		messages = append(append(messages, u.messages...), letters...)
		entry, ended, err := u.ended()
		if err != nil {
			return err
		}
		if ended {
			audit = append(audit, entry)
		}
	}
	slices.SortFunc(steps, func(a, b dbsqlc.StepUpdateParams) int { return int(a.ID - b.ID) })

	var failed error
	note := func(err error) {
		if errors.Is(err, pgx.ErrNoRows) {
			err = errStale
		}
		if failed == nil {
			failed = err
		}
	}
	if len(operations) > 0 {
		q.OperationUpdate(ctx, operations).QueryRow(func(_ int, _ string, err error) { note(err) })
	}
	if failed == nil && len(steps) > 0 {
		q.StepUpdate(ctx, steps).QueryRow(func(_ int, _ int64, err error) { note(err) })
	}
	if failed != nil {
		return fmt.Errorf("write operations: %w", failed)
	}
	if err := writeAudit(ctx, q, audit); err != nil {
		return err
	}
	return writeMessages(ctx, q, messages)
}

// writeCluster writes a cluster's record. With one that is deleted goes, in the
// same transaction, all that is kept beside it: an attempt that was suspended may
// have kept something anew after the step that forgets, and none can afterwards.
func writeCluster(ctx context.Context, q *dbsqlc.Queries, before, after dbsqlc.Cluster) error {
	n, err := q.ClusterUpdate(ctx, dbsqlc.ClusterUpdateParams{
		State: after.State, Spec: after.Spec, PrimaryEndpoint: after.PrimaryEndpoint,
		ReplicaEndpoint: after.ReplicaEndpoint, DeletedAt: after.DeletedAt, ID: after.ID, OldState: before.State,
	})
	if err == nil && n == 0 {
		err = errStale
	}
	if hasCode(err, codeUniqueViolation) { // the only unique index is that of the names
		return &jobs.Error{Code: jobs.CodeNameTaken, Message: fmt.Sprintf(
			"another cluster has been given the name %q meanwhile; delete that one, or discard this operation", after.Name)}
	}
	if err == nil && jobs.ClusterState(after.State) == jobs.ClusterDeleted {
		err = forget(ctx, q, after.ID)
	}
	if err != nil {
		return fmt.Errorf("write cluster %s: %w", after.ID, err)
	}
	return nil
}

func operationParams(before, after dbsqlc.Operation) dbsqlc.OperationUpdateParams {
	return dbsqlc.OperationUpdateParams{
		State: after.State, Undo: after.Undo, Stage: after.Stage, Percent: after.Percent, Seq: after.Seq,
		Replays: after.Replays, Error: after.Error, Deadline: after.Deadline, StartedAt: after.StartedAt,
		FinishedAt: after.FinishedAt, ID: after.ID, OldState: before.State, OldSeq: before.Seq,
	}
}

func stepParams(before, after dbsqlc.Step) dbsqlc.StepUpdateParams {
	return dbsqlc.StepUpdateParams{
		State: after.State, Undoing: after.Undoing, Failures: after.Failures, ReadyAt: after.ReadyAt, Owner: after.Owner,
		Output: after.Output, Observation: after.Observation, Error: after.Error,
		StartedAt: after.StartedAt, FinishedAt: after.FinishedAt, History: after.History,
		ID: after.ID, OldState: before.State, OldAttempt: before.Attempt,
	}
}

// writeMessages puts messages into the outbox, in order.
func writeMessages(ctx context.Context, q *dbsqlc.Queries, messages []message) error {
	if len(messages) == 0 {
		return nil
	}
	var p dbsqlc.OutboxInsertParams
	for _, m := range messages {
		p.MsgIds, p.Subjects, p.Bodies = append(p.MsgIds, m.id), append(p.Subjects, m.subject), append(p.Bodies, string(m.body))
	}
	if err := q.OutboxInsert(ctx, p); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	return nil
}
