-- A text is looked for in every SKU and name: beside each other, without the rest of the product.
CREATE INDEX products_named ON products (sku, name) WHERE archived_at IS NULL;

-- The daily figures of all products together, kept by the database whoever changes a product's: no fact can be in one and not in the
-- other. `part` keeps writers apart that would wait for each other's row: each connection has its own, of 64.
CREATE TABLE daily_totals (
    day            TEXT NOT NULL,
    marketplace_id UUID NOT NULL REFERENCES marketplaces (id),
    currency       TEXT NOT NULL,
    part           BIGINT NOT NULL,
    units          BIGINT NOT NULL,
    revenue_minor  BIGINT NOT NULL,
    cost_minor     BIGINT NOT NULL,
    fee_minor      BIGINT NOT NULL,
    orders         BIGINT NOT NULL,
    cancelled      BIGINT NOT NULL,
    returned       BIGINT NOT NULL,
    PRIMARY KEY (day, marketplace_id, currency, part)
);
INSERT INTO daily_totals (day, marketplace_id, currency, part, units, revenue_minor, cost_minor, fee_minor, orders, cancelled, returned)
SELECT day, marketplace_id, currency, 0, SUM(units), SUM(revenue_minor), SUM(cost_minor), SUM(fee_minor), SUM(orders), SUM(cancelled),
    SUM(returned) FROM daily_sales GROUP BY day, marketplace_id, currency;

CREATE FUNCTION daily_totals_follow_new() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    INSERT INTO daily_totals AS t (day, marketplace_id, currency, part, units, revenue_minor, cost_minor, fee_minor, orders, cancelled,
        returned)
    SELECT day, marketplace_id, currency, pg_backend_pid() % 64, SUM(units), SUM(revenue_minor), SUM(cost_minor), SUM(fee_minor),
        SUM(orders), SUM(cancelled), SUM(returned) FROM made GROUP BY day, marketplace_id, currency ORDER BY day, marketplace_id, currency
    ON CONFLICT (day, marketplace_id, currency, part) DO UPDATE SET units = t.units + excluded.units,
        revenue_minor = t.revenue_minor + excluded.revenue_minor, cost_minor = t.cost_minor + excluded.cost_minor,
        fee_minor = t.fee_minor + excluded.fee_minor, orders = t.orders + excluded.orders, cancelled = t.cancelled + excluded.cancelled,
        returned = t.returned + excluded.returned;
    RETURN NULL;
END $$;
CREATE FUNCTION daily_totals_follow_changed() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    INSERT INTO daily_totals AS t (day, marketplace_id, currency, part, units, revenue_minor, cost_minor, fee_minor, orders, cancelled,
        returned)
    SELECT day, marketplace_id, currency, pg_backend_pid() % 64, SUM(units), SUM(revenue_minor), SUM(cost_minor), SUM(fee_minor),
        SUM(orders), SUM(cancelled), SUM(returned) FROM (
            SELECT day, marketplace_id, currency, units, revenue_minor, cost_minor, fee_minor, orders, cancelled, returned FROM made
            UNION ALL
            SELECT day, marketplace_id, currency, -units, -revenue_minor, -cost_minor, -fee_minor, -orders, -cancelled, -returned FROM was
        ) AS changed GROUP BY day, marketplace_id, currency ORDER BY day, marketplace_id, currency
    ON CONFLICT (day, marketplace_id, currency, part) DO UPDATE SET units = t.units + excluded.units,
        revenue_minor = t.revenue_minor + excluded.revenue_minor, cost_minor = t.cost_minor + excluded.cost_minor,
        fee_minor = t.fee_minor + excluded.fee_minor, orders = t.orders + excluded.orders, cancelled = t.cancelled + excluded.cancelled,
        returned = t.returned + excluded.returned;
    RETURN NULL;
END $$;
CREATE FUNCTION daily_sales_is_added_to() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'daily_sales is added to: post the opposite'; END $$;
CREATE TRIGGER daily_totals_new AFTER INSERT ON daily_sales REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION daily_totals_follow_new();
CREATE TRIGGER daily_totals_changed AFTER UPDATE ON daily_sales REFERENCING NEW TABLE AS made OLD TABLE AS was
    FOR EACH STATEMENT EXECUTE FUNCTION daily_totals_follow_changed();
CREATE TRIGGER daily_sales_stay_put BEFORE UPDATE OF day, marketplace_id, product_id, currency ON daily_sales
    FOR EACH ROW WHEN ((NEW.day, NEW.marketplace_id, NEW.product_id, NEW.currency)
        IS DISTINCT FROM (OLD.day, OLD.marketplace_id, OLD.product_id, OLD.currency)) EXECUTE FUNCTION daily_sales_is_added_to();
CREATE TRIGGER daily_sales_no_delete BEFORE DELETE ON daily_sales FOR EACH ROW EXECUTE FUNCTION daily_sales_is_added_to();
