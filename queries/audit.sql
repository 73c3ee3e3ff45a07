-- name: AuditInsert :exec
INSERT INTO audit (tenant, actor, action, cluster, operation_id, detail)
VALUES (@tenant, @actor, @action, @cluster, @operation_id, @detail);

-- name: AuditList :many
SELECT * FROM audit WHERE tenant = @tenant ORDER BY id DESC LIMIT sqlc.arg(max)::int;
