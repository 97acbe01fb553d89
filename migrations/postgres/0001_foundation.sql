-- The whole shape of domain.md at once: what is dear to add later (constraints, units, sources, generation) is here from the
-- start, even where a later capability fills it. Ids are UUIDv7 made by the hub, times are microseconds since 1970 UTC,
-- quantities and money are whole numbers. Texts and numbers of tables mean the same in migrations/sqlite.

-- One row per fact about this database. `generation` changes when a backup is restored.
CREATE TABLE hub_meta (
    key         TEXT PRIMARY KEY,
    value       TEXT NOT NULL
);

CREATE TABLE products (
    id                  UUID PRIMARY KEY,
    sku                 TEXT NOT NULL UNIQUE,
    name                TEXT NOT NULL,
    price_minor         BIGINT CHECK (price_minor >= 0),
    cost_price_minor    BIGINT CHECK (cost_price_minor >= 0),
    currency            TEXT CHECK (length(currency) = 3),
    low_stock_threshold BIGINT NOT NULL DEFAULT 3 CHECK (low_stock_threshold >= 0),
    oversell_policy     TEXT NOT NULL DEFAULT 'block' CHECK (oversell_policy IN ('block', 'allow', 'preorder')),
    is_available        BOOLEAN NOT NULL DEFAULT FALSE,
    stock_state         TEXT NOT NULL DEFAULT 'out' CHECK (stock_state IN ('ok', 'low', 'out')),
    rule                TEXT NOT NULL DEFAULT '{}',
    last_counted_at     BIGINT,
    version             BIGINT NOT NULL DEFAULT 1,
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL,
    archived_at         BIGINT,
    CHECK ((price_minor IS NULL AND cost_price_minor IS NULL) OR currency IS NOT NULL)
);

CREATE TABLE locations (
    id          UUID PRIMARY KEY,
    code        TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL,
    kind        TEXT NOT NULL DEFAULT 'warehouse' CHECK (kind IN ('warehouse', 'store', 'marketplace', 'transit', 'quarantine')),
    sellable    BOOLEAN NOT NULL DEFAULT TRUE,
    priority    BIGINT NOT NULL DEFAULT 0,
    created_at  BIGINT NOT NULL,
    archived_at BIGINT
);

-- A product's stock at one location. Signed: a negative `available` is the record of an oversell, and is never clamped.
CREATE TABLE inventory (
    product_id  UUID NOT NULL REFERENCES products (id),
    location_id UUID NOT NULL REFERENCES locations (id),
    on_hand     BIGINT NOT NULL DEFAULT 0,
    committed   BIGINT NOT NULL DEFAULT 0 CHECK (committed >= 0),
    reserved    BIGINT NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    unsellable  BIGINT NOT NULL DEFAULT 0 CHECK (unsellable >= 0),
    incoming    BIGINT NOT NULL DEFAULT 0 CHECK (incoming >= 0),
    available   BIGINT NOT NULL GENERATED ALWAYS AS (on_hand - committed - reserved - unsellable) STORED,
    version     BIGINT NOT NULL DEFAULT 0 CHECK (version >= 0),
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (product_id, location_id)
);

CREATE TABLE marketplaces (
    id                UUID PRIMARY KEY,
    code              TEXT NOT NULL UNIQUE,
    name              TEXT NOT NULL,
    kind              TEXT NOT NULL CHECK (kind IN ('api', 'polling', 'storefront', 'manual')),
    adapter           TEXT NOT NULL,
    base_url          TEXT,
    account           TEXT NOT NULL DEFAULT '{}',
    policy            TEXT NOT NULL DEFAULT '{}',
    stock_feed        TEXT NOT NULL CHECK (stock_feed IN ('orders', 'delta', 'absolute', 'none')),
    feed_since        BIGINT NOT NULL DEFAULT 0,
    currency          TEXT CHECK (length(currency) = 3),
    status            TEXT NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'auth_error', 'archived')),
    declared_in       TEXT NOT NULL DEFAULT 'api' CHECK (declared_in IN ('builtin', 'file', 'api')),
    webhook_url       TEXT,
    webhook_secret    BYTEA,
    supports_webhooks BOOLEAN NOT NULL DEFAULT FALSE,
    webhook_enabled   BOOLEAN NOT NULL DEFAULT FALSE,
    secrets           BYTEA,
    rule              TEXT NOT NULL DEFAULT '{}',
    order_cursor      TEXT,
    orders_drained_at BIGINT,
    last_webhook_at   BIGINT,
    version           BIGINT NOT NULL DEFAULT 1,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    archived_at       BIGINT
);

-- The locations a marketplace sells from, in order. None: `main`.
CREATE TABLE marketplace_locations (
    marketplace_id UUID NOT NULL REFERENCES marketplaces (id),
    position       BIGINT NOT NULL,
    location_id    UUID NOT NULL REFERENCES locations (id),
    PRIMARY KEY (marketplace_id, position),
    UNIQUE (marketplace_id, location_id)
);

-- A listing: what a marketplace sells. Dirty = wanted_version > acked_version.
CREATE TABLE marketplace_products (
    id                     UUID PRIMARY KEY,
    marketplace_id         UUID NOT NULL REFERENCES marketplaces (id),
    marketplace_product_id TEXT NOT NULL,
    market                 TEXT NOT NULL DEFAULT '',
    country                TEXT,
    marketplace_sku        TEXT,
    refs                   TEXT NOT NULL DEFAULT '{}',
    marketplace_price      BIGINT CHECK (marketplace_price >= 0),
    currency               TEXT CHECK (length(currency) = 3),
    buybox                 BOOLEAN,
    rule                   TEXT NOT NULL DEFAULT '{}',
    state                  TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'ended')),
    publication_state      TEXT,
    listed_stock           BIGINT NOT NULL DEFAULT 0 CHECK (listed_stock >= 0),
    wanted_version         BIGINT NOT NULL DEFAULT 0,
    wanted_at              BIGINT NOT NULL,
    sent_quantity          BIGINT,
    sent_version           BIGINT NOT NULL DEFAULT 0,
    sent_at                BIGINT,
    acked_quantity         BIGINT,
    acked_version          BIGINT NOT NULL DEFAULT 0,
    acked_at               BIGINT,
    expected               BIGINT,
    marketplace_stock      BIGINT,
    previous_stock         BIGINT,
    stock_last_synced_at   BIGINT,
    last_api_quantity      BIGINT,
    observed_sequence      TEXT,
    last_synced_at         BIGINT,
    locked_stock           BIGINT NOT NULL DEFAULT 0,
    available_stock        BIGINT NOT NULL DEFAULT 0,
    quota_left             BIGINT,
    push_state             TEXT NOT NULL DEFAULT 'new'
        CHECK (push_state IN ('new', 'dirty', 'in_flight', 'synced', 'unknown', 'blocked', 'paused', 'task')),
    attempts               BIGINT NOT NULL DEFAULT 0,
    next_push_at           BIGINT NOT NULL DEFAULT 0,
    confirm_at             BIGINT,
    last_error             TEXT,
    gap_since              BIGINT,
    admin_id               TEXT,
    version                BIGINT NOT NULL DEFAULT 1,
    created_at             BIGINT NOT NULL,
    updated_at             BIGINT NOT NULL,
    UNIQUE (marketplace_id, marketplace_product_id, market),
    CHECK (acked_version <= sent_version AND sent_version <= wanted_version)
);
CREATE INDEX listings_by_sku ON marketplace_products (marketplace_id, marketplace_sku);
CREATE INDEX listings_dirty ON marketplace_products (marketplace_id, next_push_at) WHERE wanted_version > acked_version;
CREATE INDEX listings_emptied ON marketplace_products (marketplace_id, next_push_at)
    WHERE wanted_version > acked_version AND listed_stock = 0;
CREATE INDEX listings_in_flight ON marketplace_products (marketplace_id, sent_at) WHERE push_state = 'in_flight';
CREATE INDEX listings_to_confirm ON marketplace_products (marketplace_id, confirm_at) WHERE confirm_at IS NOT NULL;

-- What one unit of a listing is made of: usually one product × 1; a bundle has several rows.
CREATE TABLE listing_components (
    listing_id UUID NOT NULL REFERENCES marketplace_products (id),
    product_id UUID NOT NULL REFERENCES products (id),
    units      BIGINT NOT NULL CHECK (units > 0),
    PRIMARY KEY (listing_id, product_id)
);
CREATE INDEX listing_components_by_product ON listing_components (product_id);

-- Every change of what a marketplace is wanted to show, with its cause.
CREATE TABLE marketplace_stock_history (
    id              UUID PRIMARY KEY,
    listing_id      UUID NOT NULL REFERENCES marketplace_products (id),
    product_id      UUID NOT NULL REFERENCES products (id),
    marketplace_id  UUID NOT NULL REFERENCES marketplaces (id),
    quantity_before BIGINT NOT NULL,
    quantity_after  BIGINT NOT NULL,
    quantity_change BIGINT NOT NULL,
    change_type     TEXT NOT NULL,
    order_id        UUID,
    order_item_id   UUID,
    reference_id    TEXT,
    admin_id        TEXT,
    notes           TEXT,
    created_at      BIGINT NOT NULL,
    CHECK (quantity_after = quantity_before + quantity_change)
);
CREATE INDEX stock_history_by_listing ON marketplace_stock_history (listing_id, created_at);
CREATE INDEX stock_history_by_order ON marketplace_stock_history (order_id) WHERE order_id IS NOT NULL;

-- The log: facts from every door (webhook, poll, import, bus) under the same event keys.
CREATE TABLE marketplace_webhooks (
    id              UUID PRIMARY KEY,
    marketplace_id  UUID NOT NULL REFERENCES marketplaces (id),
    source          TEXT NOT NULL CHECK (source IN ('webhook', 'poll', 'import', 'bus')),
    event_type      TEXT NOT NULL,
    event_key       TEXT NOT NULL,
    explicit_id     BOOLEAN NOT NULL,
    body_hash       BYTEA NOT NULL,
    payload         BYTEA NOT NULL,
    headers         TEXT NOT NULL DEFAULT '{}',
    signature       TEXT,
    key_id          TEXT,
    status          TEXT NOT NULL CHECK (status IN ('pending', 'processed', 'ignored', 'unmapped', 'retry', 'failed')),
    error_code      TEXT,
    error_message   TEXT,
    effect          TEXT,
    retry_count     BIGINT NOT NULL DEFAULT 0,
    next_attempt_at BIGINT,
    lease_owner     TEXT,
    lease_until     BIGINT,
    duplicates      BIGINT NOT NULL DEFAULT 0,
    occurred_at     BIGINT,
    created_at      BIGINT NOT NULL,
    processed_at    BIGINT,
    UNIQUE (marketplace_id, event_key)
);
-- Oldest first over all marketplaces: what waits is found without passing by what is done.
CREATE INDEX webhooks_due ON marketplace_webhooks (created_at, id) WHERE status IN ('pending', 'retry');
CREATE INDEX webhooks_waiting ON marketplace_webhooks (marketplace_id) WHERE status IN ('pending', 'retry');
CREATE INDEX webhooks_unmapped ON marketplace_webhooks (marketplace_id) WHERE status = 'unmapped';
CREATE INDEX webhooks_to_handle ON marketplace_webhooks (status, created_at) WHERE status IN ('failed', 'unmapped');
CREATE INDEX webhooks_created ON marketplace_webhooks (created_at);

CREATE TABLE orders (
    id                UUID PRIMARY KEY,
    marketplace_id    UUID NOT NULL REFERENCES marketplaces (id),
    external_id       TEXT NOT NULL,
    source            TEXT NOT NULL CHECK (source IN ('webhook', 'poll', 'import', 'bus', 'store', 'manual', 'delta')),
    status            TEXT NOT NULL,
    placed_at         BIGINT,
    source_updated_at BIGINT,
    cancel_all        BOOLEAN NOT NULL DEFAULT FALSE,
    historic          BOOLEAN NOT NULL DEFAULT FALSE,
    items_hash        BYTEA,
    customer_name     BYTEA,
    customer_phone    BYTEA,
    reservation_id    UUID,
    actor             TEXT NOT NULL,
    version           BIGINT NOT NULL DEFAULT 1,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    UNIQUE (marketplace_id, external_id)
);
CREATE INDEX orders_created ON orders (created_at);

-- Cumulative state of one component of one line; `posted_*` is what the ledger already holds for it.
-- `historic_*` is the part of it that has no movement: it happened before the product was counted.
CREATE TABLE order_lines (
    id                UUID PRIMARY KEY,
    order_id          UUID NOT NULL REFERENCES orders (id),
    line_key          TEXT NOT NULL,
    component         BIGINT NOT NULL DEFAULT 0,
    external_product  TEXT,
    external_sku      TEXT,
    listing_id        UUID REFERENCES marketplace_products (id),
    product_id        UUID REFERENCES products (id),
    location_id       UUID REFERENCES locations (id),
    units             BIGINT NOT NULL DEFAULT 1 CHECK (units > 0),
    ordered           BIGINT,
    stated_total      BIGINT,
    stated_at         BIGINT,
    cancelled         BIGINT NOT NULL DEFAULT 0 CHECK (cancelled >= 0),
    shipped           BIGINT NOT NULL DEFAULT 0 CHECK (shipped >= 0),
    returned          BIGINT NOT NULL DEFAULT 0 CHECK (returned >= 0),
    returned_unsellable BIGINT NOT NULL DEFAULT 0 CHECK (returned_unsellable >= 0),
    posted_on_hand    BIGINT NOT NULL DEFAULT 0,
    posted_committed  BIGINT NOT NULL DEFAULT 0,
    posted_unsellable BIGINT NOT NULL DEFAULT 0,
    historic_on_hand  BIGINT NOT NULL DEFAULT 0,
    historic_unsellable BIGINT NOT NULL DEFAULT 0,
    posting           BIGINT NOT NULL DEFAULT 0,
    price_minor       BIGINT,
    cost_price_minor  BIGINT,
    fee_minor         BIGINT,
    currency          TEXT CHECK (length(currency) = 3),
    occurred_at       BIGINT,
    created_at        BIGINT NOT NULL,
    updated_at        BIGINT NOT NULL,
    UNIQUE (order_id, line_key, component)
);
-- Newest first per product: who could be asked to step back when too much was sold.
CREATE INDEX order_lines_by_product ON order_lines (product_id, id) WHERE product_id IS NOT NULL;
CREATE INDEX order_lines_unmapped ON order_lines (id) WHERE product_id IS NULL;
CREATE INDEX order_lines_historic ON order_lines (id) WHERE historic_on_hand <> 0 OR historic_unsellable <> 0;

-- Increments of a line that come one by one (a refund of 1, another of 1), each counted once.
CREATE TABLE order_facts (
    line_id          UUID NOT NULL REFERENCES order_lines (id),
    kind             TEXT NOT NULL,
    external_fact_id TEXT NOT NULL,
    quantity         BIGINT NOT NULL CHECK (quantity > 0),
    webhook_id       UUID REFERENCES marketplace_webhooks (id),
    created_at       BIGINT NOT NULL,
    PRIMARY KEY (line_id, kind, external_fact_id)
);

CREATE TABLE reservations (
    id             UUID PRIMARY KEY,
    marketplace_id UUID NOT NULL REFERENCES marketplaces (id),
    external_id    TEXT,
    state          TEXT NOT NULL CHECK (state IN ('held', 'consumed', 'released', 'expired')),
    items_hash     BYTEA,
    actor          TEXT NOT NULL,
    expires_at     BIGINT NOT NULL,
    version        BIGINT NOT NULL DEFAULT 1,
    created_at     BIGINT NOT NULL,
    ended_at       BIGINT,
    UNIQUE (marketplace_id, external_id)
);
CREATE INDEX reservations_due ON reservations (expires_at) WHERE state = 'held';

CREATE TABLE reservation_items (
    reservation_id UUID NOT NULL REFERENCES reservations (id),
    product_id     UUID NOT NULL REFERENCES products (id),
    location_id    UUID NOT NULL REFERENCES locations (id),
    quantity       BIGINT NOT NULL CHECK (quantity > 0),
    consumed       BIGINT NOT NULL DEFAULT 0 CHECK (consumed >= 0 AND consumed <= quantity),
    PRIMARY KEY (reservation_id, product_id, location_id)
);
CREATE INDEX reservation_items_by_product ON reservation_items (product_id);

-- The ledger. Append-only; each level's rows form one gapless chain (the foreign key to the version before proves it).
CREATE TABLE inventory_movements (
    id                UUID PRIMARY KEY,
    product_id        UUID NOT NULL,
    location_id       UUID NOT NULL,
    level_version     BIGINT NOT NULL CHECK (level_version > 0),
    previous_version  BIGINT,
    movement_type     TEXT NOT NULL CHECK (movement_type IN ('marketplace_sale', 'sale', 'order_cancelled', 'returned', 'topup',
        'manual', 'adjusted', 'reserved', 'released', 'shipped', 'moved', 'reconciliation', 'opening')),
    on_hand_change    BIGINT NOT NULL DEFAULT 0,
    committed_change  BIGINT NOT NULL DEFAULT 0,
    reserved_change   BIGINT NOT NULL DEFAULT 0,
    unsellable_change BIGINT NOT NULL DEFAULT 0,
    incoming_change   BIGINT NOT NULL DEFAULT 0,
    on_hand_after     BIGINT NOT NULL,
    committed_after   BIGINT NOT NULL,
    reserved_after    BIGINT NOT NULL,
    unsellable_after  BIGINT NOT NULL,
    incoming_after    BIGINT NOT NULL,
    quantity_change   BIGINT NOT NULL GENERATED ALWAYS AS (on_hand_change - committed_change - reserved_change - unsellable_change) STORED,
    quantity_after    BIGINT NOT NULL GENERATED ALWAYS AS (on_hand_after - committed_after - reserved_after - unsellable_after) STORED,
    marketplace_id    UUID REFERENCES marketplaces (id),
    order_line_id     UUID,
    webhook_id        UUID,
    reference_type    TEXT,
    reference_id      TEXT,
    actor             TEXT NOT NULL,
    reason            TEXT,
    note              TEXT,
    source_key        TEXT NOT NULL UNIQUE,
    occurred_at       BIGINT NOT NULL,
    recorded_at       BIGINT NOT NULL,
    UNIQUE (product_id, location_id, level_version),
    FOREIGN KEY (product_id, location_id) REFERENCES inventory (product_id, location_id),
    FOREIGN KEY (product_id, location_id, previous_version)
        REFERENCES inventory_movements (product_id, location_id, level_version),
    CHECK ((level_version = 1 AND previous_version IS NULL) OR (level_version > 1 AND previous_version = level_version - 1)),
    CHECK (on_hand_change <> 0 OR committed_change <> 0 OR reserved_change <> 0 OR unsellable_change <> 0 OR incoming_change <> 0
        OR movement_type IN ('opening', 'adjusted'))
);
-- Ids grow with time, so this also serves "newest first".
CREATE INDEX movements_by_product ON inventory_movements (product_id, id);

CREATE TABLE push_attempts (
    id              UUID PRIMARY KEY,
    listing_id      UUID NOT NULL REFERENCES marketplace_products (id),
    marketplace_id  UUID NOT NULL REFERENCES marketplaces (id),
    version         BIGINT NOT NULL,
    quantity        BIGINT NOT NULL,
    idempotency_key TEXT NOT NULL,
    sync_log_id     UUID,
    trigger_type    TEXT NOT NULL DEFAULT 'webhook',
    sent_at         BIGINT NOT NULL,
    finished_at     BIGINT NOT NULL,
    outcome         TEXT NOT NULL CHECK (outcome IN ('applied', 'accepted', 'retry', 'permanent', 'unknown', 'auth')),
    status_code     BIGINT,
    code            TEXT,
    message         TEXT
);
CREATE INDEX push_attempts_by_listing ON push_attempts (listing_id, finished_at);
CREATE INDEX push_attempts_finished ON push_attempts (finished_at);

CREATE TABLE sync_logs (
    id             UUID PRIMARY KEY,
    marketplace_id UUID NOT NULL REFERENCES marketplaces (id),
    kind           TEXT NOT NULL,
    direction      TEXT NOT NULL CHECK (direction IN ('push', 'pull')),
    trigger_type   TEXT NOT NULL CHECK (trigger_type IN ('webhook', 'manual', 'scheduled', 'startup')),
    status         TEXT NOT NULL CHECK (status IN ('running', 'succeeded', 'partial', 'failed')),
    dry_run        BOOLEAN NOT NULL DEFAULT FALSE,
    cursor         TEXT,
    counts         TEXT NOT NULL DEFAULT '{}',
    api_calls      BIGINT NOT NULL DEFAULT 0,
    error_message  TEXT,
    actor          TEXT NOT NULL DEFAULT 'system',
    started_at     BIGINT NOT NULL,
    finished_at    BIGINT,
    duration_ms    BIGINT
);
CREATE INDEX sync_logs_started ON sync_logs (marketplace_id, started_at);

CREATE TABLE sync_items (
    sync_log_id UUID NOT NULL REFERENCES sync_logs (id),
    listing_id  UUID,
    external_id TEXT NOT NULL,
    market      TEXT NOT NULL DEFAULT '',
    local       BIGINT,
    expected    BIGINT,
    remote      BIGINT,
    difference  BIGINT,
    cause       TEXT,
    decision    TEXT NOT NULL,
    reason      TEXT,
    movement_id UUID,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (sync_log_id, external_id, market)
);

-- The outbox: written in the transaction of its cause, delivered later. `stream` is what its order is kept within (a product, else
-- a marketplace, else nothing but itself), `sequence` the place in it: for products made of the versions of its levels, which
-- grow with every movement under lock. Routed: every sink that wants it has its delivery.
CREATE TABLE events (
    id          UUID PRIMARY KEY,
    event_type  TEXT NOT NULL,
    product_id  UUID,
    stream      UUID NOT NULL,
    sequence    BIGINT NOT NULL DEFAULT 0,
    source_key  TEXT NOT NULL UNIQUE,
    payload     TEXT NOT NULL,
    status      TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'routed')),
    created_at  BIGINT NOT NULL
);
CREATE INDEX events_pending ON events (created_at) WHERE status = 'pending';
CREATE INDEX events_created ON events (created_at);
CREATE INDEX events_by_product ON events (product_id, id) WHERE product_id IS NOT NULL;

CREATE TABLE alerts (
    id             UUID PRIMARY KEY,
    kind           TEXT NOT NULL,
    severity       TEXT NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    dedup_key      TEXT NOT NULL,
    product_id     UUID REFERENCES products (id),
    marketplace_id UUID REFERENCES marketplaces (id),
    message        TEXT NOT NULL,
    details        TEXT NOT NULL DEFAULT '{}',
    state          TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'acknowledged', 'resolved')),
    opened_at      BIGINT NOT NULL,
    acknowledged_at BIGINT,
    acknowledged_by TEXT,
    resolved_at    BIGINT
);
CREATE UNIQUE INDEX alerts_one_open ON alerts (dedup_key) WHERE state <> 'resolved';
CREATE INDEX alerts_opened ON alerts (opened_at);

CREATE TABLE oversell_cases (
    id          UUID PRIMARY KEY,
    product_id  UUID NOT NULL REFERENCES products (id),
    location_id UUID NOT NULL REFERENCES locations (id),
    units       BIGINT NOT NULL,
    candidates  TEXT NOT NULL DEFAULT '[]',
    state       TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved')),
    decision    TEXT,
    actor       TEXT,
    opened_at   BIGINT NOT NULL,
    resolved_at BIGINT
);
CREATE UNIQUE INDEX oversell_one_open ON oversell_cases (product_id, location_id) WHERE state = 'open';

CREATE TABLE users (
    id            UUID PRIMARY KEY,
    email         TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    role          TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created_at    BIGINT NOT NULL,
    last_login_at BIGINT,
    disabled_at   BIGINT
);

CREATE TABLE api_tokens (
    id           UUID PRIMARY KEY,
    name         TEXT NOT NULL,
    token_hash   BYTEA NOT NULL UNIQUE,
    prefix       TEXT NOT NULL,
    role         TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin', 'storefront')),
    user_id      UUID REFERENCES users (id),
    created_by   TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    last_used_at BIGINT,
    revoked_at   BIGINT
);

CREATE TABLE audit_log (
    id         UUID PRIMARY KEY,
    actor      TEXT NOT NULL,
    action     TEXT NOT NULL,
    target     TEXT,
    details    TEXT NOT NULL DEFAULT '{}',
    request_id TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX audit_created ON audit_log (created_at);

-- Answers of our own write API, kept 24 h. `response_status` is null while the first request still runs.
CREATE TABLE idempotency_keys (
    scope           TEXT NOT NULL,
    key             TEXT NOT NULL,
    request_hash    BYTEA NOT NULL,
    response_status BIGINT,
    response_body   TEXT,
    created_at      BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_created ON idempotency_keys (created_at);

CREATE TABLE daily_sales (
    day            TEXT NOT NULL,
    marketplace_id UUID NOT NULL REFERENCES marketplaces (id),
    product_id     UUID NOT NULL REFERENCES products (id),
    currency       TEXT NOT NULL DEFAULT '',
    units          BIGINT NOT NULL DEFAULT 0,
    revenue_minor  BIGINT NOT NULL DEFAULT 0,
    cost_minor     BIGINT NOT NULL DEFAULT 0,
    fee_minor      BIGINT NOT NULL DEFAULT 0,
    orders         BIGINT NOT NULL DEFAULT 0,
    cancelled      BIGINT NOT NULL DEFAULT 0,
    returned       BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (day, marketplace_id, product_id, currency)
);
CREATE INDEX daily_sales_by_product ON daily_sales (product_id, day);

-- Who may do what runs once: `push:<marketplace>`, schedules, migrations of state. `fence` grows with every new owner.
CREATE TABLE leases (
    name       TEXT PRIMARY KEY,
    owner      TEXT NOT NULL,
    until      BIGINT NOT NULL,
    fence      BIGINT NOT NULL
);

-- The name the source documents use for a product's stock on one marketplace.
CREATE VIEW marketplace_stock AS
SELECT l.id, c.product_id, l.marketplace_id, l.listed_stock, l.available_stock, l.locked_stock, l.last_synced_at,
       l.last_api_quantity, l.admin_id, l.created_at, l.updated_at
FROM marketplace_products l JOIN listing_components c ON c.listing_id = l.id;

CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'inventory_movements is append-only: post a compensating movement'; END $$;
CREATE TRIGGER movements_append_only BEFORE UPDATE OR DELETE ON inventory_movements
    FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only();
