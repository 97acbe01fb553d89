-- The names a marketplace gives a listing, one row each: an order or a stock event that names an offer, a size or an item is
-- led to its listing by them. Kept in step with `marketplace_products.refs`.
CREATE TABLE listing_refs (
    marketplace_id BLOB NOT NULL REFERENCES marketplaces (id),
    name           TEXT NOT NULL,
    value          TEXT NOT NULL,
    listing_id     BLOB NOT NULL REFERENCES marketplace_products (id) ON DELETE CASCADE,
    PRIMARY KEY (marketplace_id, name, value, listing_id)
) STRICT;
CREATE INDEX listing_refs_by_listing ON listing_refs (listing_id);

INSERT INTO listing_refs (marketplace_id, name, value, listing_id)
SELECT l.marketplace_id, j.key, CAST(j.value AS TEXT), l.id
FROM marketplace_products l, json_each(l.refs) j
WHERE j.type IN ('text', 'integer') AND CAST(j.value AS TEXT) <> '';
