-- What its marketplace calls a listing, by the names its adapter gives: a mirror of `marketplace_products.refs`, kept by the database
-- whoever changes them, so that an order is found by an index and not by reading every listing.
CREATE TABLE listing_refs (
    marketplace_id UUID NOT NULL REFERENCES marketplaces (id),
    name           TEXT NOT NULL,
    value          TEXT NOT NULL,
    listing_id     UUID NOT NULL REFERENCES marketplace_products (id),
    PRIMARY KEY (marketplace_id, name, value, listing_id)
);
CREATE INDEX listing_refs_of ON listing_refs (listing_id);
INSERT INTO listing_refs (marketplace_id, name, value, listing_id)
SELECT l.marketplace_id, j.key, j.value #>> '{}', l.id FROM marketplace_products l, jsonb_each(CAST(l.refs AS jsonb)) j
WHERE jsonb_typeof(j.value) IN ('string', 'number');

CREATE FUNCTION listing_refs_follow() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN
    DELETE FROM listing_refs WHERE listing_id = NEW.id;
    INSERT INTO listing_refs (marketplace_id, name, value, listing_id)
    SELECT NEW.marketplace_id, j.key, j.value #>> '{}', NEW.id FROM jsonb_each(CAST(NEW.refs AS jsonb)) j
    WHERE jsonb_typeof(j.value) IN ('string', 'number');
    RETURN NULL;
END $$;
CREATE TRIGGER listing_refs_new AFTER INSERT ON marketplace_products
    FOR EACH ROW WHEN (NEW.refs <> '{}') EXECUTE FUNCTION listing_refs_follow();
CREATE TRIGGER listing_refs_changed AFTER UPDATE OF refs ON marketplace_products
    FOR EACH ROW WHEN (NEW.refs IS DISTINCT FROM OLD.refs) EXECUTE FUNCTION listing_refs_follow();
