-- What its marketplace calls a listing, by the names its adapter gives: a mirror of `marketplace_products.refs`, kept by the database
-- whoever changes them, so that an order is found by an index and not by reading every listing.
CREATE TABLE listing_refs (
    marketplace_id BLOB NOT NULL REFERENCES marketplaces (id),
    name           TEXT NOT NULL,
    value          TEXT NOT NULL,
    listing_id     BLOB NOT NULL REFERENCES marketplace_products (id),
    PRIMARY KEY (marketplace_id, name, value, listing_id)
) STRICT;
CREATE INDEX listing_refs_of ON listing_refs (listing_id);
INSERT INTO listing_refs (marketplace_id, name, value, listing_id)
SELECT l.marketplace_id, j.key, CAST(j.value AS TEXT), l.id FROM marketplace_products l, json_each(l.refs) j
WHERE j.type IN ('text', 'integer');

CREATE TRIGGER listing_refs_new AFTER INSERT ON marketplace_products WHEN NEW.refs <> '{}'
BEGIN
    INSERT INTO listing_refs (marketplace_id, name, value, listing_id)
    SELECT NEW.marketplace_id, key, CAST(value AS TEXT), NEW.id FROM json_each(NEW.refs) WHERE type IN ('text', 'integer');
END;
CREATE TRIGGER listing_refs_changed AFTER UPDATE OF refs ON marketplace_products WHEN NEW.refs <> OLD.refs
BEGIN
    DELETE FROM listing_refs WHERE listing_id = NEW.id;
    INSERT INTO listing_refs (marketplace_id, name, value, listing_id)
    SELECT NEW.marketplace_id, key, CAST(value AS TEXT), NEW.id FROM json_each(NEW.refs) WHERE type IN ('text', 'integer');
END;
