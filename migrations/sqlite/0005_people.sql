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
