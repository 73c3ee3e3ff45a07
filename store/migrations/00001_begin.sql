-- +goose Up

-- What can never be is said here, by CHECKs and unique indexes; what happens is
-- said in queries/. Partial indexes hold unfinished rows only, so a finished
-- operation costs nothing but disk until it is pruned. JSON is kept as "json",
-- byte for byte as it was written.

CREATE TABLE clusters (
    id               uuid PRIMARY KEY,
    tenant           text NOT NULL,
    name             text NOT NULL,
    state            text NOT NULL CHECK (state IN ('creating', 'ready', 'degraded', 'failed', 'deleting', 'deleted')),
    host             text NOT NULL DEFAULT 'local',
    spec             json NOT NULL,
    primary_endpoint text NOT NULL DEFAULT '',
    replica_endpoint text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now(),
    deleted_at       timestamptz,
    CONSTRAINT clusters_deleted_has_time CHECK ((state = 'deleted') = (deleted_at IS NOT NULL))
);
-- A name is free again once its cluster is deleted.
CREATE UNIQUE INDEX clusters_name ON clusters (tenant, name) WHERE state <> 'deleted';
CREATE INDEX clusters_tenant ON clusters (tenant, created_at);
CREATE INDEX clusters_deleted ON clusters (deleted_at) WHERE state = 'deleted';

CREATE TABLE operations (
    id           uuid PRIMARY KEY,
    arrival      bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    tenant       text NOT NULL,
    request_id   text NOT NULL,
    request_hash text NOT NULL,
    kind         text NOT NULL,
    cluster      text NOT NULL, -- its name, kept when the cluster is gone
    cluster_id   uuid REFERENCES clusters (id), -- null: a control request about an unreadable message
    source       text NOT NULL,
    actor        text NOT NULL,
    spec         json NOT NULL,
    state        text NOT NULL CHECK (state IN ('queued', 'running', 'undoing', 'succeeded', 'failed', 'cancelled')),
    undo         text NOT NULL DEFAULT '' CHECK (undo IN ('', 'cancel', 'discard', 'rollback')),
    stage        integer NOT NULL DEFAULT 0,
    stages       text[] NOT NULL,
    percent      integer NOT NULL DEFAULT 0 CHECK (percent BETWEEN 0 AND 100),
    seq          bigint NOT NULL DEFAULT 0,
    replays      integer NOT NULL DEFAULT 0,
    error        json,
    deadline     timestamptz,
    accepted_at  timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    finished_at  timestamptz,
    CONSTRAINT operations_request UNIQUE (tenant, request_id),
    CONSTRAINT operations_finished_has_time
        CHECK ((state IN ('succeeded', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT operations_undoing_has_reason CHECK (state <> 'undoing' OR undo <> '')
) WITH (fillfactor = 80);
-- One active operation per cluster.
CREATE UNIQUE INDEX operations_active ON operations (cluster_id) WHERE state IN ('running', 'undoing');
CREATE INDEX operations_active_tenant ON operations (tenant) WHERE state IN ('running', 'undoing');
CREATE INDEX operations_queued ON operations (tenant, arrival) WHERE state = 'queued';
CREATE INDEX operations_queued_cluster ON operations (cluster_id, arrival) WHERE state = 'queued';
CREATE INDEX operations_deadline ON operations (deadline) WHERE state IN ('running', 'undoing') AND deadline IS NOT NULL;
CREATE INDEX operations_list ON operations (tenant, arrival);
CREATE INDEX operations_cluster ON operations (cluster_id, arrival);
CREATE INDEX operations_finished ON operations (finished_at) WHERE finished_at IS NOT NULL;

-- The request as it came, for a dead letter.
CREATE TABLE requests (
    operation_id uuid PRIMARY KEY REFERENCES operations (id) ON DELETE CASCADE,
    subject      text NOT NULL,
    header       json NOT NULL,
    body         bytea NOT NULL
);

CREATE TABLE steps (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operation_id uuid NOT NULL REFERENCES operations (id) ON DELETE CASCADE,
    stage        integer NOT NULL,
    name         text NOT NULL,
    node         text NOT NULL,
    state        text NOT NULL DEFAULT 'pending'
                 CHECK (state IN ('pending', 'ready', 'running', 'succeeded', 'failed', 'skipped', 'undone')),
    undoing      boolean NOT NULL DEFAULT false,
    weight       integer NOT NULL CHECK (weight > 0),
    attempt      integer NOT NULL DEFAULT 0,
    failures     integer NOT NULL DEFAULT 0,
    ready_at     timestamptz NOT NULL DEFAULT now(),
    owner        text NOT NULL DEFAULT '',
    lease_until  timestamptz,
    output       json,
    observation  json,
    error        json,
    started_at   timestamptz,
    finished_at  timestamptz,
    history      json,
    CONSTRAINT steps_running_is_leased CHECK (state <> 'running' OR (owner <> '' AND lease_until IS NOT NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
-- The queue. lease_until is in no index, so a heartbeat is a heap-only update.
CREATE INDEX steps_ready ON steps (ready_at, id) WHERE state = 'ready';
CREATE INDEX steps_running ON steps (id) WHERE state = 'running';
CREATE INDEX steps_operation ON steps (operation_id, stage, id);

-- Messages to publish; a row is gone once JetStream has it.
CREATE TABLE outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    msg_id     text NOT NULL,
    subject    text NOT NULL,
    body       json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

CREATE TABLE dead_letters (
    id           uuid PRIMARY KEY,
    tenant       text NOT NULL,
    operation_id uuid REFERENCES operations (id) ON DELETE CASCADE, -- null: an unreadable message
    state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded')),
    letter       json NOT NULL, -- jobs.DeadLetter without the original
    original     bytea NOT NULL,
    stream_seq   bigint, -- of an unreadable message
    created_at   timestamptz NOT NULL DEFAULT now(),
    settled_at   timestamptz,
    CONSTRAINT dead_letters_settled_has_time CHECK ((state = 'open') = (settled_at IS NULL))
);
CREATE UNIQUE INDEX dead_letters_open ON dead_letters (operation_id) WHERE state = 'open';
-- A message is buried once, however often it is delivered. The content is part
-- of the key because a stream that is made anew counts from one again.
CREATE UNIQUE INDEX dead_letters_message ON dead_letters (stream_seq, sha256(original)) WHERE stream_seq IS NOT NULL;
CREATE INDEX dead_letters_operation ON dead_letters (operation_id);
CREATE INDEX dead_letters_tenant ON dead_letters (tenant, created_at);
CREATE INDEX dead_letters_settled ON dead_letters (settled_at) WHERE state <> 'open';

CREATE TABLE rejections (
    tenant       text NOT NULL,
    request_id   text NOT NULL,
    request_hash text NOT NULL,
    kind         text NOT NULL,
    cluster      text NOT NULL,
    error        json NOT NULL,
    rejected_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, request_id, request_hash)
);
CREATE INDEX rejections_age ON rejections (rejected_at);

-- AES-256-GCM; cluster id and name are authenticated with the content.
CREATE TABLE secrets (
    cluster_id uuid NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    name       text NOT NULL,
    key_id     text NOT NULL,
    sealed     bytea NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, name)
);
CREATE INDEX secrets_key ON secrets (key_id);

-- Ports given out on a host.
CREATE TABLE ports (
    host       text NOT NULL,
    port       integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    cluster_id uuid NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    name       text NOT NULL,
    PRIMARY KEY (host, port),
    CONSTRAINT ports_purpose UNIQUE (cluster_id, name)
);

-- The last known state of each container of a cluster.
CREATE TABLE nodes (
    cluster_id uuid NOT NULL REFERENCES clusters (id) ON DELETE CASCADE,
    name       text NOT NULL,
    part       text NOT NULL CHECK (part IN ('node', 'etcd', 'proxy')),
    role       text NOT NULL,
    state      text NOT NULL,
    timeline   integer NOT NULL,
    lag_bytes  bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (cluster_id, name)
);

-- What one worker at a time does for all.
CREATE TABLE duties (
    name        text PRIMARY KEY,
    worker      text NOT NULL,
    lease_until timestamptz NOT NULL
);

-- Who did what. It outlives what it speaks of.
CREATE TABLE audit (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT now(),
    tenant       text NOT NULL,
    actor        text NOT NULL,
    action       text NOT NULL,
    cluster      text NOT NULL,
    operation_id text NOT NULL,
    detail       text NOT NULL
);
CREATE INDEX audit_tenant ON audit (tenant, id);
