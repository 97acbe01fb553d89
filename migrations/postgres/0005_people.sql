-- People at the dashboard, and the secrets of marketplaces that are set through the API.

-- A browser somebody signed in with. The cookie's value is not stored, only its hash; ending a session deletes its row.
CREATE TABLE sessions (
    id           UUID PRIMARY KEY,
    user_id      UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash   BYTEA NOT NULL UNIQUE,
    client       TEXT,
    user_agent   TEXT,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_ending ON sessions (expires_at);

-- Several of one name are live during a rotation. Sealed under the master key; `key_id` tells them apart without telling them.
CREATE TABLE marketplace_secrets (
    id             UUID PRIMARY KEY,
    marketplace_id UUID NOT NULL REFERENCES marketplaces (id),
    name           TEXT NOT NULL,
    key_id         TEXT NOT NULL,
    sealed         BYTEA NOT NULL,
    not_before     BIGINT NOT NULL,
    expires_at     BIGINT,
    created_by     TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    CHECK (expires_at IS NULL OR expires_at >= not_before)
);
CREATE INDEX marketplace_secrets_by_marketplace ON marketplace_secrets (marketplace_id, name, not_before);

-- What was set through the API, as it was written: the file wins for what it names.
ALTER TABLE marketplaces ADD COLUMN api_settings TEXT NOT NULL DEFAULT '{}';

-- Tables that are imported: received whole and checked, then accepted, then applied a stretch at a time. What was accepted is applied
-- to the end, also after a kill; what was not is as if it had never come.
CREATE TABLE imports (
    id          UUID PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('products', 'listings')),
    state       TEXT NOT NULL CHECK (state IN ('receiving', 'accepted', 'applied')),
    next_row    BIGINT NOT NULL DEFAULT 0,
    created     BIGINT NOT NULL DEFAULT 0,
    updated     BIGINT NOT NULL DEFAULT 0,
    unchanged   BIGINT NOT NULL DEFAULT 0,
    skipped     BIGINT NOT NULL DEFAULT 0,
    actor       TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX imports_open ON imports (created_at) WHERE state <> 'applied';

CREATE TABLE import_rows (
    import_id UUID NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
    n         BIGINT NOT NULL,
    data      TEXT NOT NULL,
    PRIMARY KEY (import_id, n)
);
