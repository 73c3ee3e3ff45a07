-- +goose Up

-- What became of it, and which request it was. A worker of the release before
-- leaves both empty.
ALTER TABLE audit
    ADD COLUMN outcome    text NOT NULL DEFAULT '',
    ADD COLUMN request_id text NOT NULL DEFAULT '';
