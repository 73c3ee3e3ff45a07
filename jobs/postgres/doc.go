// Package postgres looks into a cluster's PostgreSQL servers and makes roles and
// databases in them.
//
// A DB is a small pool to one published port: a node's own, or the proxy's. The
// certificate is verified against the name given with the endpoint, whatever
// address is dialled, and nothing of the environment (PGHOST, ~/.pgpass, …)
// counts.
//
// Passwords never reach the server: EnsureRole computes the SCRAM-SHA-256
// verifier here, and keeps even that out of the server's log. All statements may
// be repeated; "already exists" is a success.
package postgres
