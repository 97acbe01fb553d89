-- Lists that look for something rare must not read through all that is common. Indexes that are ordered by time or hold only what is
-- rare: a sale adds to the ends of three of them, as it did before to the three that go.
CREATE INDEX products_by_state ON products (stock_state, sku) WHERE archived_at IS NULL;
CREATE INDEX listings_of_marketplace ON marketplace_products (marketplace_id, id);
CREATE INDEX listings_unusual ON marketplace_products (push_state, id)
    WHERE push_state IN ('new', 'unknown', 'blocked', 'paused', 'task');
CREATE INDEX listings_put_away ON marketplace_products (state, id) WHERE state <> 'active';
CREATE INDEX movements_by_marketplace ON inventory_movements (marketplace_id, id) WHERE marketplace_id IS NOT NULL;
CREATE INDEX movements_unusual ON inventory_movements (movement_type, id)
    WHERE movement_type NOT IN ('marketplace_sale', 'sale', 'shipped', 'reserved', 'released');
CREATE INDEX orders_by_marketplace ON orders (marketplace_id, id);
CREATE INDEX orders_unusual ON orders (status, id) WHERE status NOT IN ('created', 'shipped');
CREATE INDEX webhooks_by_marketplace ON marketplace_webhooks (marketplace_id, id);
CREATE INDEX push_attempts_by_marketplace ON push_attempts (marketplace_id, id);
CREATE INDEX push_attempts_unusual ON push_attempts (outcome, id) WHERE outcome <> 'applied';
-- Ids begin with their time: what these served is a range of ids.
DROP INDEX orders_created;
DROP INDEX webhooks_created;
DROP INDEX push_attempts_finished;
-- Made anew, so that SQLite looks at them first: of two indexes it believes as good it takes the younger.
DROP INDEX webhooks_waiting;
DROP INDEX webhooks_unmapped;
CREATE INDEX webhooks_waiting ON marketplace_webhooks (marketplace_id) WHERE status IN ('pending', 'retry');
CREATE INDEX webhooks_unmapped ON marketplace_webhooks (marketplace_id) WHERE status = 'unmapped';
