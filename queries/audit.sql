-- name: AuditInsert :exec
INSERT INTO audit (tenant, actor, action, cluster, operation_id, request_id, outcome, detail)
SELECT unnest(@tenants::text[]), unnest(@actors::text[]), unnest(@actions::text[]), unnest(@clusters::text[]),
    unnest(@operation_ids::text[]), unnest(@request_ids::text[]), unnest(@outcomes::text[]), unnest(@details::text[]);

-- name: AuditList :many
SELECT * FROM audit
WHERE tenant = @tenant AND (@cluster::text = '' OR cluster = @cluster)
ORDER BY id DESC LIMIT sqlc.arg(max)::int;
