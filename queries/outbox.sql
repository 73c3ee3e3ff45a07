-- name: OutboxInsert :exec
INSERT INTO outbox (msg_id, subject, body)
SELECT unnest(@msg_ids::text[]), unnest(@subjects::text[]), unnest(@bodies::text[])::json;

-- name: OutboxList :many
SELECT id, msg_id, subject, body FROM outbox ORDER BY id LIMIT sqlc.arg(max)::int;

-- name: OutboxDelete :exec
DELETE FROM outbox WHERE id = ANY(@ids::bigint[]);
