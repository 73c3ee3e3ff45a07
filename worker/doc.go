// Package worker is the engine: it takes requests in, carries their operations
// out as steps, and publishes what became of them. It knows steps, not
// containers.
//
// # Parts
//
// A Worker runs a pool and, when it holds the foreman's duty, four chores.
//
//   - The pool (pool.go) starts queued operations and claims ready steps, never
//     more than it has free slots. Every claim raises the step's attempt, the
//     fence of its result. An attempt (attempt.go) runs the step under a lease
//     which one heartbeat renews for the whole worker (lease.go).
//   - Intake (intake.go) pulls requests from JetStream, one at a time and in
//     order: commit, then ack.
//   - The relay (relay.go) publishes the outbox in order.
//   - The sweep (sweep.go) ends operations whose time is up, and prunes.
//   - The keeper and other chores that Options.Chores brings.
//
// The foreman's duty (duty.go) is a lease in the state database: one worker
// holds it; when it dies another takes over within seconds.
//
// # Rules
//
// Every change of an operation is a rule (rules_*.go): a pure function on a
// jobs.Snapshot which the store applies in one transaction with the events that
// it tells. One switch decides what an attempt's end means:
//
//	outcome      | operation running       | failing¹              | undoing, step not an undo | undoing, step an undo   | event
//	-------------|-------------------------|-----------------------|---------------------------|-------------------------|---------------
//	succeeded    | succeeded; next stage   | succeeded             | pending, to be undone     | undone; stage before it | step.succeeded
//	error        | ready after a backoff   | pending               | pending, to be undone     | ready after a backoff   | step.retrying
//	while away³  | ready after 2 s         | pending               | pending, to be undone     | ready after 2 s         | step.retrying, once
//	last error²  | failed; operation fails | pending               | pending, to be undone     | failed; operation fails | step.failed
//	snoozed      | ready after its delay   | pending               | pending, to be undone     | ready after its delay   | none
//	interrupted  | ready                   | pending               | pending, to be undone     | ready                   | none
//	lease lost   | nothing is written      | nothing is written    | nothing is written        | nothing is written      | none
//	drained      | lease released: ready   | ready                 | ready                     | ready                   | none
//
// ¹ a step of it failed, others still run: it becomes failed, with a dead
// letter, when the last of them has ended. Where the request says on_failure:
// rollback it goes to undoing instead.
// ² one marked jobs.Permanent, a panic, or the last that the retry policy allows.
// ³ an error that is not permanent, while a probe (probe.go) says that something
// is away which steps need: it counts for no attempt, so an outage of any length
// fails no operation before the operation's own time is up.
//
// And what intake does with a message:
//
//	message                                   | rows                          | then | event
//	------------------------------------------|-------------------------------|------|-------------------
//	a good request                            | operation queued              | ack  | operation.accepted
//	the same again                            | none                          | ack  | none
//	a good control request                    | its target changed            | ack  | of the target
//	faults, a conflict, an unknown cluster, … | rejection                     | ack  | operation.rejected
//	unreadable: nobody to tell                | dead letter                   | ack  | the dead letter
//	an unknown kind or version³               | none; later a dead letter     | nak  | the dead letter
//	any, while the database is away           | none                          | held | none
//
// ³ the foreman steps aside, so that another worker, perhaps of a newer release,
// takes the message; where nobody does, it is a dead letter at the third delivery.
// As the messages behind it wait for that, it happens every five minutes at most:
// in between such a message is a dead letter at once.
//
// # When things fail
//
// A worker that dies stops renewing; its steps are claimed by others when their
// leases run out, its duty is taken over. One that is cut off from the database
// ends its attempts by its own monotonic clock before that (lease.go). One that
// was suspended finds its results refused (jobs.ErrLeaseLost). While NATS is
// away steps go on and events wait in the outbox. While the database is away
// nothing starts and nothing is acked. While the Docker Engine is away steps are
// tried again every two seconds. Each of these is one log line when it begins
// and one when it ends (health.go), and a line of /readyz.
package worker
