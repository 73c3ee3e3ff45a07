-- name: ClusterInsert :one
-- No row comes back when the tenant has a cluster of that name.
INSERT INTO clusters (id, tenant, name, state, host, spec)
VALUES (@id, @tenant, @name, 'creating', @host, @spec)
ON CONFLICT (tenant, name) WHERE state <> 'deleted' DO NOTHING
RETURNING *;

-- name: ClusterLock :one
SELECT * FROM clusters WHERE id = @id FOR NO KEY UPDATE;

-- name: ClusterLockByName :one
SELECT * FROM clusters WHERE tenant = @tenant AND name = @name AND state <> 'deleted' FOR NO KEY UPDATE;

-- name: ClusterIsUndone :one
SELECT EXISTS (SELECT FROM operations o WHERE o.cluster_id = @id::uuid AND o.state = 'undoing')::boolean;

-- name: ClusterGet :one
SELECT * FROM clusters WHERE id = @id;

-- name: ClusterGetByName :one
SELECT * FROM clusters WHERE tenant = @tenant AND name = @name AND state <> 'deleted';

-- name: ClusterList :many
SELECT * FROM clusters
WHERE tenant = @tenant AND (@deleted::boolean OR state <> 'deleted')
ORDER BY name, created_at LIMIT sqlc.arg(max)::int;

-- name: ClusterListLive :many
SELECT * FROM clusters WHERE state <> 'deleted' ORDER BY tenant, name;

-- name: ClusterStates :many
SELECT id, state FROM clusters WHERE id = ANY(@ids::uuid[]);

-- name: ClusterUpdate :execrows
UPDATE clusters SET state = @state, spec = @spec, primary_endpoint = @primary_endpoint, replica_endpoint = @replica_endpoint,
    deleted_at = sqlc.narg(deleted_at)
WHERE id = @id AND state = @old_state;

-- name: ClusterPrune :execrows
DELETE FROM clusters WHERE id IN (
    SELECT c.id FROM clusters c
    WHERE c.state = 'deleted' AND c.deleted_at < now() - @age::interval
      AND NOT EXISTS (SELECT FROM operations o WHERE o.cluster_id = c.id)
    ORDER BY c.deleted_at LIMIT sqlc.arg(max)::int);

-- name: ClusterResources :one
-- What a tenant's clusters are given together.
SELECT count(*)::bigint AS clusters,
    coalesce(sum((spec->>'nodes')::bigint), 0)::bigint AS nodes,
    coalesce(sum((spec->>'nodes')::bigint * coalesce((spec->>'cpus')::float8, 0)), 0)::float8 AS cpus,
    coalesce(sum((spec->>'nodes')::bigint * (spec->>'memory_mb')::bigint), 0)::bigint AS memory_mb
FROM clusters WHERE tenant = @tenant AND state <> 'deleted';
