// Package store is the state database: PostgreSQL through pgx, with queries that
// sqlc compiled (queries/*.sql → internal/dbsqlc) and migrations that the binary
// carries. It knows the words of package jobs and nothing of the engine, which
// sees it through worker.Store.
//
// # How state changes
//
// The engine's rules are pure functions on a jobs.Snapshot. Update locks the
// cluster's row, then the operation's, reads the steps, applies the rule,
// compares what it left with what was read, and writes the difference with the
// events in the same transaction. Steps are not locked while the rule runs;
// each is written by an UPDATE guarded by the state and attempt that were read.
// Zero rows mean that the step was claimed meanwhile: the
// transaction starts anew from what is there now, and an attempt that no longer
// holds its step gets jobs.ErrLeaseLost.
//
// Calls of Update that come while another transaction is under way are gathered
// into the next one, each with its own outcome: under load a commit carries
// many results, on an idle machine nobody waits (see update.go).
//
// # Order of locks
//
// The name of the request or tenant (an advisory lock), clusters by id, operations by id,
// steps by id. Whoever takes only some of them keeps the order. Claim passes
// over locked rows and never waits.
//
// # Events
//
// An event gets its seq from the operation's row, under its lock, and a row in
// the outbox in the same transaction: gapless, and in order of commit within an
// operation and within a cluster. The relay deletes what JetStream has
// acknowledged.
//
// # When the database fails
//
// Every error that says "not now" (no connection, shutting down, a time limit)
// wraps jobs.ErrUnavailable. Deadlocks and serialization failures are tried
// again here. Times are the database's clock throughout.
package store
