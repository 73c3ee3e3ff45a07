-- name: StepInsert :exec
INSERT INTO steps (operation_id, stage, name, node, weight)
SELECT @operation_id::uuid, unnest(@stages::int[]), unnest(@names::text[]), unnest(@nodes::text[]), unnest(@weights::int[]);

-- name: StepList :many
SELECT sqlc.embed(s), clock_timestamp()::timestamptz AS now FROM steps s
WHERE s.operation_id = ANY(@operation_ids::uuid[])
ORDER BY s.operation_id, s.stage, s.id;

-- name: StepClaim :many
-- First what was left behind, then what is ready; rows that somebody else is
-- about to change are passed over.
WITH left_behind AS (
    SELECT e.id FROM steps e
    WHERE e.state = 'running' AND e.lease_until < now() AND e.name = ANY(@names::text[])
    ORDER BY e.id LIMIT sqlc.arg(max)::int FOR NO KEY UPDATE SKIP LOCKED
), ready AS (
    SELECT r.id FROM steps r
    WHERE r.state = 'ready' AND r.ready_at <= now() AND r.name = ANY(@names::text[])
    ORDER BY r.ready_at, r.id
    LIMIT sqlc.arg(max)::int - (SELECT count(*) FROM left_behind) FOR NO KEY UPDATE SKIP LOCKED
), picked AS (
    SELECT id FROM left_behind UNION ALL SELECT id FROM ready
)
UPDATE steps s SET state = 'running', attempt = s.attempt + 1, owner = @owner::text,
    lease_until = clock_timestamp() + @lease::interval, started_at = coalesce(s.started_at, clock_timestamp())
FROM picked p, operations o, clusters c
WHERE s.id = p.id AND o.id = s.operation_id AND c.id = o.cluster_id AND o.state IN ('running', 'undoing')
RETURNING sqlc.embed(s), sqlc.embed(o), sqlc.embed(c),
    (SELECT json_object_agg(CASE x.node WHEN '' THEN x.name ELSE x.name || ' ' || x.node END, x.output)
     FROM steps x WHERE x.operation_id = s.operation_id AND x.id <> s.id AND x.output IS NOT NULL)::json AS outputs;

-- name: StepRenew :many
WITH mine AS (
    SELECT s.id, s.attempt FROM steps s
    JOIN (SELECT unnest(@ids::bigint[]) AS id, unnest(@attempts::int[]) AS attempt) l
      ON l.id = s.id AND l.attempt = s.attempt
    WHERE s.owner = @owner::text AND s.state = 'running'
    ORDER BY s.id FOR NO KEY UPDATE OF s
)
UPDATE steps s SET lease_until = clock_timestamp() + @lease::interval
FROM mine m, operations o
WHERE s.id = m.id AND s.attempt = m.attempt AND o.id = s.operation_id
RETURNING s.id, s.attempt,
    ((o.state = 'undoing' AND NOT s.undoing) OR (o.state = 'running' AND o.error IS NOT NULL))::boolean AS interrupt;

-- name: StepRelease :exec
WITH mine AS (
    SELECT s.id FROM steps s
    JOIN (SELECT unnest(@ids::bigint[]) AS id, unnest(@attempts::int[]) AS attempt, unnest(@owners::text[]) AS owner) l
      ON l.id = s.id AND l.attempt = s.attempt AND l.owner = s.owner
    WHERE s.state = 'running'
    ORDER BY s.id FOR NO KEY UPDATE OF s
)
UPDATE steps s SET state = 'ready', ready_at = clock_timestamp(), lease_until = NULL FROM mine m WHERE s.id = m.id;

-- name: StepUpdate :batchone
-- Who runs keeps its lease as it is by now: a heartbeat may have renewed it since
-- the row was read.
UPDATE steps SET state = @state, undoing = @undoing, failures = @failures, ready_at = @ready_at, owner = @owner,
    lease_until = CASE WHEN @state::text = 'running' THEN lease_until END, output = sqlc.narg(output), observation = sqlc.narg(observation),
    error = sqlc.narg(error), started_at = sqlc.narg(started_at), finished_at = sqlc.narg(finished_at),
    history = sqlc.narg(history)
WHERE id = @id AND state = @old_state AND attempt = @old_attempt
RETURNING id;

-- name: StepNext :one
-- Seconds until a step becomes ready or a lease runs out. Those that are due
-- for longer than a moment do not count: whoever can carry them out has seen
-- them, and who cannot must not spin.
SELECT extract(epoch FROM coalesce(least(
    (SELECT min(r.ready_at) FROM steps r WHERE r.state = 'ready' AND r.ready_at > now() - interval '250 ms'),
    (SELECT min(e.lease_until) FROM steps e WHERE e.state = 'running' AND e.lease_until > now() - interval '250 ms')
), now() + interval '1 day') - now())::float8 AS seconds;
