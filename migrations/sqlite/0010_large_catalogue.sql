-- A text is looked for in every SKU and name: beside each other, without the rest of the product.
CREATE INDEX products_named ON products (sku, name) WHERE archived_at IS NULL;

-- Daily figures lie in the order of their days, so that a span of them is read in one go, and a new one is written to one page less.
CREATE TABLE daily_sales_kept AS SELECT * FROM daily_sales;
DROP TABLE daily_sales;
CREATE TABLE daily_sales (
    day            TEXT NOT NULL,
    marketplace_id BLOB NOT NULL REFERENCES marketplaces (id),
    product_id     BLOB NOT NULL REFERENCES products (id),
    currency       TEXT NOT NULL DEFAULT '',
    units          INTEGER NOT NULL DEFAULT 0,
    revenue_minor  INTEGER NOT NULL DEFAULT 0,
    cost_minor     INTEGER NOT NULL DEFAULT 0,
    fee_minor      INTEGER NOT NULL DEFAULT 0,
    orders         INTEGER NOT NULL DEFAULT 0,
    cancelled      INTEGER NOT NULL DEFAULT 0,
    returned       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, marketplace_id, product_id, currency)
) STRICT, WITHOUT ROWID;
INSERT INTO daily_sales (day, marketplace_id, product_id, currency, units, revenue_minor, cost_minor, fee_minor, orders, cancelled, returned)
SELECT day, marketplace_id, product_id, currency, units, revenue_minor, cost_minor, fee_minor, orders, cancelled, returned
FROM daily_sales_kept ORDER BY day, marketplace_id, product_id, currency;
DROP TABLE daily_sales_kept;
CREATE INDEX daily_sales_by_product ON daily_sales (product_id, day);

-- The same figures of all products together, kept by the database whoever changes a product's: no fact can be in one and not in the
-- other. `part` keeps writers apart that would wait for each other's row; with one writer there is one part.
CREATE TABLE daily_totals (
    day            TEXT NOT NULL,
    marketplace_id BLOB NOT NULL REFERENCES marketplaces (id),
    currency       TEXT NOT NULL,
    part           INTEGER NOT NULL,
    units          INTEGER NOT NULL,
    revenue_minor  INTEGER NOT NULL,
    cost_minor     INTEGER NOT NULL,
    fee_minor      INTEGER NOT NULL,
    orders         INTEGER NOT NULL,
    cancelled      INTEGER NOT NULL,
    returned       INTEGER NOT NULL,
    PRIMARY KEY (day, marketplace_id, currency, part)
) STRICT, WITHOUT ROWID;
INSERT INTO daily_totals (day, marketplace_id, currency, part, units, revenue_minor, cost_minor, fee_minor, orders, cancelled, returned)
SELECT day, marketplace_id, currency, 0, SUM(units), SUM(revenue_minor), SUM(cost_minor), SUM(fee_minor), SUM(orders), SUM(cancelled),
    SUM(returned) FROM daily_sales GROUP BY day, marketplace_id, currency;

CREATE TRIGGER daily_totals_new AFTER INSERT ON daily_sales
BEGIN
    INSERT INTO daily_totals (day, marketplace_id, currency, part, units, revenue_minor, cost_minor, fee_minor, orders, cancelled, returned)
    VALUES (NEW.day, NEW.marketplace_id, NEW.currency, 0, NEW.units, NEW.revenue_minor, NEW.cost_minor, NEW.fee_minor, NEW.orders,
        NEW.cancelled, NEW.returned)
    ON CONFLICT (day, marketplace_id, currency, part) DO UPDATE SET units = units + excluded.units,
        revenue_minor = revenue_minor + excluded.revenue_minor, cost_minor = cost_minor + excluded.cost_minor,
        fee_minor = fee_minor + excluded.fee_minor, orders = orders + excluded.orders, cancelled = cancelled + excluded.cancelled,
        returned = returned + excluded.returned;
END;
CREATE TRIGGER daily_totals_changed AFTER UPDATE ON daily_sales
BEGIN
    UPDATE daily_totals SET units = units + NEW.units - OLD.units, revenue_minor = revenue_minor + NEW.revenue_minor - OLD.revenue_minor,
        cost_minor = cost_minor + NEW.cost_minor - OLD.cost_minor, fee_minor = fee_minor + NEW.fee_minor - OLD.fee_minor,
        orders = orders + NEW.orders - OLD.orders, cancelled = cancelled + NEW.cancelled - OLD.cancelled,
        returned = returned + NEW.returned - OLD.returned
    WHERE day = OLD.day AND marketplace_id = OLD.marketplace_id AND currency = OLD.currency AND part = 0;
END;
CREATE TRIGGER daily_sales_stay_put BEFORE UPDATE OF day, marketplace_id, product_id, currency ON daily_sales
WHEN NEW.day <> OLD.day OR NEW.marketplace_id <> OLD.marketplace_id OR NEW.product_id <> OLD.product_id OR NEW.currency <> OLD.currency
BEGIN SELECT RAISE(ABORT, 'a row of daily_sales keeps its key'); END;
CREATE TRIGGER daily_sales_no_delete BEFORE DELETE ON daily_sales
BEGIN SELECT RAISE(ABORT, 'daily_sales is added to: post the opposite'); END;
