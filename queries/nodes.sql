-- name: NodeSave :batchexec
INSERT INTO nodes (cluster_id, name, part, role, state, timeline, lag_bytes)
VALUES (@cluster_id, @name, @part, @role, @state, @timeline, @lag_bytes)
ON CONFLICT (cluster_id, name) DO UPDATE
SET part = excluded.part, role = excluded.role, state = excluded.state, timeline = excluded.timeline,
    lag_bytes = excluded.lag_bytes, updated_at = now();

-- name: NodeDeleteOthers :exec
DELETE FROM nodes WHERE cluster_id = @cluster_id AND name <> ALL (@names::text[]);

-- name: NodeList :many
SELECT * FROM nodes WHERE cluster_id = @cluster_id ORDER BY array_position(ARRAY['node', 'etcd', 'proxy'], part), name;

-- name: NodeDelete :exec
DELETE FROM nodes WHERE cluster_id = @cluster_id;
