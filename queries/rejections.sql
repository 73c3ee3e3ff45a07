-- name: RejectionInsert :execrows
INSERT INTO rejections (tenant, request_id, request_hash, kind, cluster, error)
VALUES (@tenant, @request_id, @request_hash, @kind, @cluster, @error)
ON CONFLICT DO NOTHING;

-- name: RejectionPrune :one
WITH over AS (
    DELETE FROM rejections WHERE (tenant, request_id, request_hash) IN (
        SELECT r.tenant, r.request_id, r.request_hash FROM rejections r WHERE r.rejected_at < now() - @age::interval
        ORDER BY r.rejected_at LIMIT sqlc.arg(max)::int)
    RETURNING tenant, request_id, request_hash
), remembered AS (
    INSERT INTO past_requests (tenant, request_id, request_hash) SELECT * FROM over ON CONFLICT DO NOTHING
)
SELECT count(*) FROM over;
