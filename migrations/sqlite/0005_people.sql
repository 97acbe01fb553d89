-- People at the dashboard, and the secrets of marketplaces that are set through the API.

-- A browser somebody signed in with. The cookie's value is not stored, only its hash; ending a session deletes its row.
CREATE TABLE sessions (
    id           BLOB PRIMARY KEY,
    user_id      BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash   BLOB NOT NULL UNIQUE,
    client       TEXT,
    user_agent   TEXT,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_ending ON sessions (expires_at);

-- Several of one name are live during a rotation. Sealed under the master key; `key_id` tells them apart without telling them.
CREATE TABLE marketplace_secrets (
    id             BLOB PRIMARY KEY,
    marketplace_id BLOB NOT NULL REFERENCES marketplaces (id),
    name           TEXT NOT NULL,
    key_id         TEXT NOT NULL,
    sealed         BLOB NOT NULL,
    not_before     INTEGER NOT NULL,
    expires_at     INTEGER,
    created_by     TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    CHECK (expires_at IS NULL OR expires_at >= not_before)
) STRICT;
CREATE INDEX marketplace_secrets_by_marketplace ON marketplace_secrets (marketplace_id, name, not_before);

-- What was set through the API, as it was written: the file wins for what it names.
ALTER TABLE marketplaces ADD COLUMN api_settings TEXT NOT NULL DEFAULT '{}';

-- Tables that are imported: received whole and checked, then accepted, then applied a stretch at a time. What was accepted is applied
-- to the end, also after a kill; what was not is as if it had never come.
CREATE TABLE imports (
    id          BLOB PRIMARY KEY,
    kind        TEXT NOT NULL CHECK (kind IN ('products', 'listings')),
    state       TEXT NOT NULL CHECK (state IN ('receiving', 'accepted', 'applied')),
    next_row    INTEGER NOT NULL DEFAULT 0,
    created     INTEGER NOT NULL DEFAULT 0,
    updated     INTEGER NOT NULL DEFAULT 0,
    unchanged   INTEGER NOT NULL DEFAULT 0,
    skipped     INTEGER NOT NULL DEFAULT 0,
    actor       TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX imports_open ON imports (created_at) WHERE state <> 'applied';

CREATE TABLE import_rows (
    import_id BLOB NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
    n         INTEGER NOT NULL,
    data      TEXT NOT NULL,
    PRIMARY KEY (import_id, n)
) STRICT;
