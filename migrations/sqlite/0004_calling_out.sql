-- What must outlive us of calling out to a marketplace: how long it wants to be left alone, what it lent us, when a thing was
-- last told.

-- A budget of an account that nothing may draw from before then.
CREATE TABLE account_limits (
    marketplace_id BLOB NOT NULL REFERENCES marketplaces (id),
    name           TEXT NOT NULL,
    blocked_until  INTEGER NOT NULL,
    PRIMARY KEY (marketplace_id, name)
) STRICT;

-- An access token lent to an account, and the refresh token that came with it; both sealed. `made_from` is a digest of the secrets
-- that were used: others make it worthless.
CREATE TABLE account_tokens (
    marketplace_id BLOB PRIMARY KEY REFERENCES marketplaces (id),
    access         BLOB NOT NULL,
    refresh        BLOB,
    made_from      BLOB NOT NULL,
    expires_at     INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL
) STRICT;

-- Where a marketplace limits pushes of one key: when each was sent last, written before it is.
CREATE TABLE push_keys (
    marketplace_id BLOB NOT NULL REFERENCES marketplaces (id),
    key            TEXT NOT NULL,
    sent_at        INTEGER NOT NULL,
    PRIMARY KEY (marketplace_id, key)
) STRICT;

-- How often in a row an accepted number was not found when it was read back; and when to look.
ALTER TABLE marketplace_products ADD COLUMN verify_at INTEGER;
ALTER TABLE marketplace_products ADD COLUMN mismatches INTEGER NOT NULL DEFAULT 0;
-- How often in a row it was refused for good: such a one is tried alone, so that it takes no others along.
ALTER TABLE marketplace_products ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;
-- What made the wanted number, and the run that did: a push is told of it.
ALTER TABLE marketplace_products ADD COLUMN push_trigger TEXT NOT NULL DEFAULT 'webhook'
    CHECK (push_trigger IN ('webhook', 'manual', 'scheduled', 'startup'));
ALTER TABLE marketplace_products ADD COLUMN push_log_id BLOB;
CREATE INDEX listings_to_verify ON marketplace_products (marketplace_id, verify_at) WHERE verify_at IS NOT NULL;
CREATE INDEX listings_tasks ON marketplace_products (marketplace_id, wanted_at) WHERE push_state = 'task';
