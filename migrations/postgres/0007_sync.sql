-- Runs that read from a marketplace: asked for in a table and taken up by whoever owns the account, so that it does not matter on
-- which node or by which command they were asked for. `sync_logs` and `sync_items` are made anew for the states this needs.

CREATE TABLE sync_logs_kept AS SELECT * FROM sync_logs;
CREATE TABLE sync_items_kept AS SELECT * FROM sync_items;
DROP TABLE sync_items;
DROP TABLE sync_logs;

-- `request` is what was asked for, `cursor` how far it is, `result` what came out; `slot` names the hour of a schedule, so that it
-- is asked for once however many nodes there are. While `resume_at` lies ahead a running one waits.
CREATE TABLE sync_logs (
    id             UUID PRIMARY KEY,
    marketplace_id UUID NOT NULL REFERENCES marketplaces (id),
    kind           TEXT NOT NULL,
    direction      TEXT NOT NULL CHECK (direction IN ('push', 'pull')),
    trigger_type   TEXT NOT NULL CHECK (trigger_type IN ('webhook', 'manual', 'scheduled', 'startup')),
    status         TEXT NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'partial', 'failed')),
    dry_run        BOOLEAN NOT NULL DEFAULT FALSE,
    request        TEXT NOT NULL DEFAULT '{}',
    cursor         TEXT,
    counts         TEXT NOT NULL DEFAULT '{}',
    result         TEXT,
    api_calls      BIGINT NOT NULL DEFAULT 0,
    error_message  TEXT,
    actor          TEXT NOT NULL DEFAULT 'system',
    owner          TEXT,
    heartbeat_at   BIGINT,
    resume_at      BIGINT,
    slot           TEXT UNIQUE,
    started_at     BIGINT NOT NULL,
    finished_at    BIGINT,
    duration_ms    BIGINT
);
CREATE INDEX sync_logs_started ON sync_logs (marketplace_id, started_at);
CREATE INDEX sync_logs_by_kind ON sync_logs (marketplace_id, kind, id);
CREATE INDEX sync_logs_open ON sync_logs (marketplace_id, id) WHERE status IN ('queued', 'running');
-- One reading of all listings and one reconciliation per account at a time, on all nodes together.
CREATE UNIQUE INDEX sync_logs_one_running ON sync_logs (marketplace_id, kind)
    WHERE status = 'running' AND kind IN ('bulk_read', 'reconciliation');

INSERT INTO sync_logs (id, marketplace_id, kind, direction, trigger_type, status, dry_run, cursor, counts, api_calls, error_message,
    actor, started_at, finished_at, duration_ms)
SELECT id, marketplace_id, kind, direction, trigger_type, status, dry_run, cursor, counts, api_calls, error_message, actor, started_at,
    finished_at, duration_ms FROM sync_logs_kept;

-- What a run found of one listing. `strike` counts in how many looks it was found.
CREATE TABLE sync_items (
    sync_log_id UUID NOT NULL REFERENCES sync_logs (id),
    listing_id  UUID,
    external_id TEXT NOT NULL,
    market      TEXT NOT NULL DEFAULT '',
    sku         TEXT,
    local       BIGINT,
    expected    BIGINT,
    remote      BIGINT,
    difference  BIGINT,
    cause       TEXT,
    decision    TEXT NOT NULL,
    reason      TEXT,
    strike      BIGINT NOT NULL DEFAULT 1,
    movement_id UUID,
    decided_by  TEXT,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (sync_log_id, external_id, market)
);

INSERT INTO sync_items (sync_log_id, listing_id, external_id, market, local, expected, remote, difference, cause, decision, reason,
    movement_id, created_at, updated_at)
SELECT sync_log_id, listing_id, external_id, market, local, expected, remote, difference, cause, decision, reason, movement_id,
    created_at, created_at FROM sync_items_kept;

DROP TABLE sync_items_kept;
DROP TABLE sync_logs_kept;

-- Read by an account's first look at its past: an order first seen this way is history also when it is applied later.
ALTER TABLE marketplace_webhooks ADD COLUMN initial BOOLEAN NOT NULL DEFAULT FALSE;
-- Hints wait until their order is fetched.
CREATE INDEX webhooks_hints ON marketplace_webhooks (marketplace_id, created_at)
    WHERE status IN ('pending', 'retry') AND error_code = 'hint';

-- Requests made, by what for. Pushes are counted by their attempts.
CREATE TABLE api_calls (
    day            TEXT NOT NULL,
    marketplace_id UUID NOT NULL REFERENCES marketplaces (id),
    purpose        TEXT NOT NULL,
    calls          BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (day, marketplace_id, purpose)
);
