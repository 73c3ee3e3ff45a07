-- +goose Up

-- The ids of requests whose operation or rejection has been pruned: an id names
-- its request for ever, so a copy of it that turns up years later (a portal that
-- was restored from a backup) must not be carried out again.
CREATE TABLE past_requests (
    tenant       text NOT NULL,
    request_id   text NOT NULL,
    request_hash text NOT NULL,
    PRIMARY KEY (tenant, request_id, request_hash)
);
