-- What must outlive us of calling out to a marketplace: how long it wants to be left alone, what it lent us, when a thing was
-- last told.

-- A budget of an account that nothing may draw from before then.
CREATE TABLE account_limits (
    marketplace_id UUID NOT NULL REFERENCES marketplaces (id),
    name           TEXT NOT NULL,
    blocked_until  BIGINT NOT NULL,
    PRIMARY KEY (marketplace_id, name)
);

-- An access token lent to an account, and the refresh token that came with it; both sealed. `made_from` is a digest of the secrets
-- that were used: others make it worthless.
CREATE TABLE account_tokens (
    marketplace_id UUID PRIMARY KEY REFERENCES marketplaces (id),
    access         BYTEA NOT NULL,
    refresh        BYTEA,
    made_from      BYTEA NOT NULL,
    expires_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL
);

-- Where a marketplace limits pushes of one key: when each was sent last, written before it is.
CREATE TABLE push_keys (
    marketplace_id UUID NOT NULL REFERENCES marketplaces (id),
    key            TEXT NOT NULL,
    sent_at        BIGINT NOT NULL,
    PRIMARY KEY (marketplace_id, key)
);

-- How often in a row an accepted number was not found when it was read back; and when to look.
ALTER TABLE marketplace_products ADD COLUMN verify_at BIGINT;
ALTER TABLE marketplace_products ADD COLUMN mismatches BIGINT NOT NULL DEFAULT 0;
-- How often in a row it was refused for good: such a one is tried alone, so that it takes no others along.
ALTER TABLE marketplace_products ADD COLUMN refusals BIGINT NOT NULL DEFAULT 0;
-- What made the wanted number, and the run that did: a push is told of it.
ALTER TABLE marketplace_products ADD COLUMN push_trigger TEXT NOT NULL DEFAULT 'webhook'
    CHECK (push_trigger IN ('webhook', 'manual', 'scheduled', 'startup'));
ALTER TABLE marketplace_products ADD COLUMN push_log_id UUID;
CREATE INDEX listings_to_verify ON marketplace_products (marketplace_id, verify_at) WHERE verify_at IS NOT NULL;
CREATE INDEX listings_tasks ON marketplace_products (marketplace_id, wanted_at) WHERE push_state = 'task';
