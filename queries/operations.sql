-- name: OperationInsert :one
-- A control request is done as it is accepted.
INSERT INTO operations (id, tenant, request_id, request_hash, kind, cluster, cluster_id, source, actor, spec,
    state, stages, percent, seq, deadline, started_at, finished_at)
VALUES (@id, @tenant, @request_id, @request_hash, @kind, @cluster, sqlc.narg(cluster_id), @source, @actor, @spec,
    CASE WHEN @done::boolean THEN 'succeeded' ELSE 'queued' END, @stages,
    CASE WHEN @done::boolean THEN 100 ELSE 0 END, @seq, CASE WHEN @timeout::interval > interval '0' THEN now() + @timeout::interval END,
    CASE WHEN @done::boolean THEN now() END, CASE WHEN @done::boolean THEN now() END)
RETURNING *;

-- name: OperationLock :many
-- Cluster rows first, in the order of their ids: whoever locks more than one
-- operation meets the others in the same order.
SELECT sqlc.embed(o), sqlc.embed(c), clock_timestamp()::timestamptz AS now
FROM clusters c JOIN operations o ON o.cluster_id = c.id
WHERE o.id = ANY(@ids::uuid[])
ORDER BY c.id, o.id
FOR NO KEY UPDATE;

-- name: OperationByRequest :one
SELECT * FROM operations WHERE tenant = @tenant AND request_id = @request_id;

-- name: OperationGet :one
-- By its own id or by the id of its request.
SELECT * FROM operations
WHERE tenant = @tenant AND (id = sqlc.narg(id)::uuid OR request_id = @request_id)
ORDER BY (id = sqlc.narg(id)::uuid) DESC LIMIT 1;

-- name: OperationList :many
SELECT * FROM operations
WHERE tenant = @tenant
  AND (@cluster::text = '' OR cluster = @cluster)
  AND (@state::text = '' OR state = @state)
ORDER BY arrival DESC LIMIT sqlc.arg(max)::int;

-- name: OperationStateOf :one
-- Of an operation on the cluster.
SELECT state FROM operations WHERE id = @id AND cluster_id = @cluster_id::uuid;

-- name: OperationUpdate :batchone
UPDATE operations SET state = @state, undo = @undo, stage = @stage, percent = @percent, seq = @seq,
    replays = @replays, error = sqlc.narg(error), deadline = sqlc.narg(deadline),
    started_at = sqlc.narg(started_at), finished_at = sqlc.narg(finished_at)
WHERE id = @id AND state = @old_state AND seq = @old_seq
RETURNING id;

-- name: OperationStartable :many
-- Of every tenant as many as it has free places, the tenant with the fewest
-- active operations first.
SELECT o.id, o.tenant
FROM (SELECT DISTINCT q.tenant FROM operations q WHERE q.state = 'queued') t
CROSS JOIN LATERAL (
    SELECT count(*) AS active FROM operations a
    WHERE a.tenant = t.tenant AND a.state IN ('running', 'undoing')) n
CROSS JOIN LATERAL (
    SELECT w.id, w.tenant, w.arrival, n.active + row_number() OVER (ORDER BY w.arrival) AS place
    FROM operations w
    WHERE w.state = 'queued' AND w.tenant = t.tenant
      AND NOT EXISTS (SELECT FROM operations x WHERE x.cluster_id = w.cluster_id AND x.state IN ('running', 'undoing'))
      AND NOT EXISTS (SELECT FROM operations e WHERE e.cluster_id = w.cluster_id AND e.state = 'queued' AND e.arrival < w.arrival)
    ORDER BY w.arrival LIMIT @per_tenant::int) o
WHERE o.place <= @per_tenant::int
ORDER BY o.place, o.arrival LIMIT sqlc.arg(max)::int;

-- name: OperationMayStart :many
-- The same conditions once more, under the locks of tenant and rows.
SELECT o.id, (SELECT count(*) FROM operations a WHERE a.tenant = o.tenant AND a.state IN ('running', 'undoing')) AS active
FROM operations o
WHERE o.id = ANY(@ids::uuid[]) AND o.state = 'queued'
  AND NOT EXISTS (SELECT FROM operations x WHERE x.cluster_id = o.cluster_id AND x.state IN ('running', 'undoing'))
  AND NOT EXISTS (SELECT FROM operations e WHERE e.cluster_id = o.cluster_id AND e.state = 'queued' AND e.arrival < o.arrival)
ORDER BY o.arrival;

-- name: OperationOverdue :many
SELECT id FROM operations
WHERE state IN ('running', 'undoing') AND deadline IS NOT NULL AND deadline < now()
ORDER BY deadline LIMIT sqlc.arg(max)::int;

-- name: OperationPrune :one
-- An operation whose dead letter is open waits for a person, however long. Its
-- request's id is remembered.
WITH over AS (
    DELETE FROM operations WHERE id IN (
        SELECT o.id FROM operations o
        WHERE o.finished_at < now() - @age::interval
          AND NOT EXISTS (SELECT FROM dead_letters d WHERE d.operation_id = o.id AND d.state = 'open')
        ORDER BY o.finished_at LIMIT sqlc.arg(max)::int)
    RETURNING tenant, request_id, request_hash
), remembered AS (
    INSERT INTO past_requests (tenant, request_id, request_hash) SELECT * FROM over ON CONFLICT DO NOTHING
)
SELECT count(*) FROM over;

-- name: RequestInsert :exec
INSERT INTO requests (operation_id, subject, header, body) VALUES (@operation_id, @subject, @header, @body);

-- name: RequestGet :one
SELECT * FROM requests WHERE operation_id = @operation_id;

-- name: LockName :exec
-- Serializes, until the end of the transaction, those who lock the same name.
SELECT pg_advisory_xact_lock(hashtextextended(@name::text, 0));

-- name: TryLockName :one
-- LockName that does not wait: false when somebody else has it.
SELECT pg_try_advisory_xact_lock(hashtextextended(@name::text, 0))::boolean AS locked;
