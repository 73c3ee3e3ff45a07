-- name: SecretInsert :exec
INSERT INTO secrets (cluster_id, name, key_id, sealed) VALUES (@cluster_id, @name, @key_id, @sealed)
ON CONFLICT (cluster_id, name) DO NOTHING;

-- name: SecretReplace :exec
INSERT INTO secrets (cluster_id, name, key_id, sealed) VALUES (@cluster_id, @name, @key_id, @sealed)
ON CONFLICT (cluster_id, name) DO UPDATE
SET key_id = excluded.key_id, sealed = excluded.sealed, updated_at = now();

-- name: SecretList :many
SELECT * FROM secrets WHERE cluster_id = @cluster_id ORDER BY name;

-- name: SecretListOtherKeys :many
SELECT * FROM secrets WHERE key_id <> @key_id ORDER BY cluster_id, name LIMIT sqlc.arg(max)::int FOR UPDATE;

-- name: SecretReseal :exec
UPDATE secrets SET key_id = @key_id, sealed = @sealed, updated_at = now()
WHERE cluster_id = @cluster_id AND name = @name;

-- name: SecretDeletePrefix :exec
DELETE FROM secrets WHERE cluster_id = @cluster_id AND starts_with(name, @prefix::text);

-- name: SecretDelete :exec
DELETE FROM secrets WHERE cluster_id = @cluster_id;

-- name: SecretKeys :many
SELECT key_id, count(*)::bigint AS secrets FROM secrets GROUP BY key_id ORDER BY key_id;
