-- name: PortList :many
SELECT * FROM ports WHERE cluster_id = @cluster_id;

-- name: PortInsert :execrows
INSERT INTO ports (host, port, cluster_id, name) VALUES (@host, @port, @cluster_id, @name)
ON CONFLICT (host, port) DO NOTHING;

-- name: PortInsertFree :one
-- The lowest free port above "after", then from the beginning of the range.
INSERT INTO ports (host, port, cluster_id, name)
SELECT @host::text, p, @cluster_id::uuid, @name::text
FROM generate_series(@low::int, @high::int) p
WHERE NOT EXISTS (SELECT FROM ports x WHERE x.host = @host::text AND x.port = p) AND p <> ALL (@avoid::int[])
ORDER BY p <= @after::int, p LIMIT 1
RETURNING port;

-- name: PortDelete :exec
DELETE FROM ports WHERE cluster_id = @cluster_id;

-- name: PortDeleteOne :exec
DELETE FROM ports WHERE cluster_id = @cluster_id AND name = @name;
