package worker

import (
	"context"
	"time"

	"github.com/vcs-iaas/pgforeman/jobs"
)

// The words of the store's interface live in package jobs, where the store,
// which does not know this package, finds them too.
type (
	// Rule is jobs.Rule.
	Rule = jobs.Rule
	// Admission is jobs.Admission.
	Admission = jobs.Admission
	// Admitted is jobs.Admitted.
	Admitted = jobs.Admitted
	// Held is jobs.Held.
	Held = jobs.Held
)

// Store is the state database as the engine needs it; package store implements
// it on Postgres. Times are the database's clock throughout. Every method
// returns jobs.ErrUnavailable (wrapped) when the database cannot be reached.
type Store interface {
	// Admit persists a request as an operation in one transaction: the
	// operation (queued), its steps (pending), for NewCluster the cluster
	// (creating), the audit row, operation.accepted. For a control request it
	// applies Control to the target in the same transaction; the control
	// operation is succeeded at once. A refusal is a *jobs.Error
	// (request_id_conflict, name_taken, unknown_cluster, unknown_operation,
	// or what Control returned) and changes nothing.
	Admit(ctx context.Context, a Admission) (Admitted, error)
	// Seen tells whether Admit would find the request to be a duplicate; the
	// same id with other content is a *jobs.Error (request_id_conflict).
	Seen(ctx context.Context, req jobs.Request) (bool, error)
	// Reject records a rejected request and tells operation.rejected; doing it
	// again for the same (tenant, id, hash) changes nothing.
	Reject(ctx context.Context, req jobs.Request, e *jobs.Error) error
	// Bury records an unreadable message as a dead letter and publishes it;
	// idempotent by StreamSeq.
	Bury(ctx context.Context, d jobs.DeadLetter) error
	// DeadLetter gives a dead letter of a tenant with its original;
	// jobs.ErrNotFound when there is none.
	DeadLetter(ctx context.Context, tenant, id string) (jobs.DeadLetter, error)

	// StartQueued moves operations from queued to active where their cluster
	// has no active one and no earlier queued one, and their tenant has fewer
	// than perTenant active ones; tenants with fewer active operations come
	// first. start is applied to each in a transaction of its own. It returns
	// how many it started.
	StartQueued(ctx context.Context, limit, perTenant int, start Rule) (int, error)
	// Claim leases up to limit steps that are ready (or whose lease has run
	// out) and whose name is among steps, for the duration lease.
	Claim(ctx context.Context, worker string, limit int, steps []string, lease time.Duration) ([]jobs.Claimed, error)
	// Renew extends the leases in one statement and returns those that the
	// worker still holds, each with whether its operation wants it interrupted:
	// it is being undone and the attempt is not an undo, or it is failing
	// (running, with an error).
	Renew(ctx context.Context, worker string, leases []jobs.Lease, lease time.Duration) (held []Held, err error)
	// Release gives leases back at once (drain): the steps are ready again.
	Release(ctx context.Context, leases []jobs.Lease) error
	// Update applies rule to an operation in one transaction that holds the
	// cluster's and the operation's rows. With a lease, it first checks that
	// the attempt holds its step, else jobs.ErrLeaseLost.
	Update(ctx context.Context, operationID string, lease *jobs.Lease, rule Rule) error
	// Overdue gives the ids of active operations past their deadline.
	Overdue(ctx context.Context, limit int) ([]string, error)
	// NextWake is when the next step becomes ready or its lease runs out, at
	// most max from now: how long an idle pool may sleep.
	NextWake(ctx context.Context, max time.Duration) (time.Duration, error)

	// Outbox gives the oldest unpublished messages, in order; Published
	// removes them.
	Outbox(ctx context.Context, limit int) ([]jobs.Outgoing, error)
	Published(ctx context.Context, ids []int64) error

	// TakeDuty takes or renews the named duty for worker; false when another
	// worker holds it. GiveUpDuty hands it over at once.
	TakeDuty(ctx context.Context, name, worker string, lease time.Duration) (bool, error)
	GiveUpDuty(ctx context.Context, name, worker string) error

	// Prune removes finished operations, settled dead letters, deleted
	// clusters and rejections that ended before the age, in a batch; it
	// returns how many rows.
	Prune(ctx context.Context, age time.Duration, batch int) (int, error)
	// Ping tells whether the database answers.
	Ping(ctx context.Context) error
}
