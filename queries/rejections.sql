-- name: RejectionInsert :execrows
INSERT INTO rejections (tenant, request_id, request_hash, kind, cluster, error)
VALUES (@tenant, @request_id, @request_hash, @kind, @cluster, @error)
ON CONFLICT DO NOTHING;

-- name: RejectionHashes :many
SELECT request_hash FROM rejections WHERE tenant = @tenant AND request_id = @request_id;

-- name: RejectionPrune :execrows
DELETE FROM rejections WHERE (tenant, request_id, request_hash) IN (
    SELECT r.tenant, r.request_id, r.request_hash FROM rejections r WHERE r.rejected_at < now() - @age::interval
    ORDER BY r.rejected_at LIMIT sqlc.arg(max)::int);
