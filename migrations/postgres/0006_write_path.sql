-- What a sale writes is spread over fewer pages: every index that is ordered by something other than time costs a page of its own
-- per sale once it has grown. The changes of all listings of a product now lie beside each other, as they are read.
CREATE INDEX stock_history_by_product ON marketplace_stock_history (product_id, id);
DROP INDEX stock_history_by_listing;
-- Nothing is read by it: events are paged by id.
DROP INDEX events_by_product;
-- What could be cancelled of a product that was oversold is found by its movements.
DROP INDEX order_lines_by_product;
