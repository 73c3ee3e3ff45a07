-- name: DeadLetterInsert :execrows
INSERT INTO dead_letters (id, tenant, operation_id, letter, original, stream_seq, created_at)
VALUES (@id, @tenant, sqlc.narg(operation_id), @letter, @original, sqlc.narg(stream_seq), @created_at)
ON CONFLICT (stream_seq, sha256(original)) WHERE stream_seq IS NOT NULL DO NOTHING;

-- name: DeadLetterLock :one
SELECT * FROM dead_letters WHERE id = @id AND tenant = @tenant FOR NO KEY UPDATE;

-- name: DeadLetterGet :one
SELECT * FROM dead_letters WHERE id = @id AND tenant = @tenant;

-- name: DeadLetterList :many
SELECT id, letter, state FROM dead_letters
WHERE tenant = @tenant AND (@settled::boolean OR state = 'open')
ORDER BY created_at DESC, id DESC LIMIT sqlc.arg(max)::int;

-- name: DeadLetterSettle :exec
UPDATE dead_letters SET state = @state, settled_at = now() WHERE id = @id AND state = 'open';

-- name: DeadLetterSettleOf :exec
UPDATE dead_letters SET state = @state, settled_at = now() WHERE operation_id = @operation_id AND state = 'open';

-- name: DeadLetterPrune :execrows
DELETE FROM dead_letters WHERE id IN (
    SELECT d.id FROM dead_letters d WHERE d.state <> 'open' AND d.settled_at < now() - @age::interval
    ORDER BY d.settled_at LIMIT sqlc.arg(max)::int);
