-- name: PastRequestHashes :many
-- The contents that a request id stood for and that got no operation which is
-- still kept: rejected ones, and those whose rows were pruned.
SELECT r.request_hash FROM rejections r WHERE r.tenant = @tenant AND r.request_id = @request_id
UNION
SELECT p.request_hash FROM past_requests p WHERE p.tenant = @tenant AND p.request_id = @request_id;
