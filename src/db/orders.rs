//! Orders and their lines: cumulative state, and what of it the ledger already holds.

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_optional, row};
use super::error::DbError;
use super::span::Ids;
use super::sql::{Rows, ids, statements};
use crate::domain::ids::{LineId, ListingId, LocationId, MarketplaceId, OrderId, ProductId, ReservationId};
use crate::domain::time::Timestamp;

statements! {
    ORDERS_INSERT_ONCE = both("INSERT INTO orders (id, marketplace_id, external_id, source, status, placed_at, items_hash, customer_name, \
            customer_phone, actor, reservation_id, created_at, updated_at) \
        SELECT {id 0}, {id 1}, {text 2}, {text 3}, {text 4}, {int 5}, {bytes 6}, {bytes 7}, {bytes 8}, {text 9}, {id 11}, {int 10}, {int 10} \
        FROM {rows} WHERE TRUE ON CONFLICT (marketplace_id, external_id) DO NOTHING");
    ORDERS_LOCK = both("SELECT o.id, o.marketplace_id, o.external_id, o.source, o.status, o.cancel_all, o.items_hash, \
            o.reservation_id, o.source_updated_at FROM orders o \
        JOIN (SELECT {id 0} AS marketplace_id, {text 1} AS external_id FROM {rows}) k \
            ON o.marketplace_id = k.marketplace_id AND o.external_id = k.external_id ORDER BY o.id {for update of o}");
    ORDER_LOCK_BY_ID = both("SELECT o.id, o.marketplace_id, o.external_id, o.source, o.status, o.cancel_all, o.items_hash, \
            o.reservation_id, o.source_updated_at FROM orders o WHERE o.id = $1 {for update}");
    LINES_OF_ORDERS = both("SELECT id, order_id, line_key, component, external_product, external_sku, listing_id, product_id, location_id, \
            units, ordered, stated_total, stated_at, cancelled, shipped, returned, returned_unsellable, posted_on_hand, posted_committed, \
            posted_unsellable, posting, historic_on_hand, historic_unsellable, price_minor, cost_price_minor, currency, occurred_at \
        FROM order_lines WHERE order_id IN {ids $1} \
        ORDER BY order_id, line_key, component");
    LINES_UPSERT = both("INSERT INTO order_lines (id, order_id, line_key, component, external_product, external_sku, listing_id, product_id, \
            location_id, units, ordered, stated_total, stated_at, cancelled, shipped, returned, \
            returned_unsellable, posted_on_hand, posted_committed, posted_unsellable, posting, price_minor, \
            cost_price_minor, currency, occurred_at, created_at, updated_at, historic_on_hand, historic_unsellable) \
        SELECT {id 0}, {id 1}, {text 2}, {int 3}, {text 4}, {text 5}, {id 6}, {id 7}, {id 8}, {int 9}, {int 10}, {int 11}, \
            {int 12}, {int 13}, {int 14}, {int 15}, {int 16}, {int 17}, {int 18}, {int 19}, {int 20}, {int 21}, {int 22}, \
            {text 23}, {int 24}, {int 25}, {int 25}, {int 26}, {int 27} \
        FROM {rows} WHERE TRUE ON CONFLICT (id) DO UPDATE SET line_key = excluded.line_key, \
            external_product = excluded.external_product, external_sku = excluded.external_sku, \
            historic_on_hand = excluded.historic_on_hand, historic_unsellable = excluded.historic_unsellable, \
            listing_id = excluded.listing_id, product_id = excluded.product_id, \
            location_id = excluded.location_id, units = excluded.units, ordered = excluded.ordered, \
            stated_total = excluded.stated_total, stated_at = excluded.stated_at, \
            cancelled = excluded.cancelled, shipped = excluded.shipped, returned = excluded.returned, \
            returned_unsellable = excluded.returned_unsellable, posted_on_hand = excluded.posted_on_hand, \
            posted_committed = excluded.posted_committed, posted_unsellable = excluded.posted_unsellable, \
            posting = excluded.posting, price_minor = excluded.price_minor, \
            cost_price_minor = excluded.cost_price_minor, currency = excluded.currency, \
            occurred_at = excluded.occurred_at, updated_at = excluded.updated_at");
    ORDERS_UPDATE = both("UPDATE orders AS o SET status = {text 1}, cancel_all = {bool 2}, source_updated_at = {int 3}, \
            version = o.version + 1, updated_at = {int 4} FROM {rows} WHERE o.id = {id 0}");
    ORDERS_PAGE = both("SELECT o.id, m.code AS marketplace, o.external_id, o.source, o.status, o.placed_at, o.created_at, o.updated_at \
        FROM orders o JOIN marketplaces m ON m.id = o.marketplace_id \
        WHERE o.id < $1 AND o.id >= $2 AND ($3 = '' OR o.status = $3) ORDER BY o.id DESC LIMIT $4");
    ORDERS_PAGE_OF_MARKETPLACE = both("SELECT o.id, m.code AS marketplace, o.external_id, o.source, o.status, o.placed_at, o.created_at, \
            o.updated_at FROM marketplaces m CROSS JOIN orders o \
        WHERE m.code = $3 AND o.marketplace_id = m.id AND o.id < $1 AND o.id >= $2 AND ($4 = '' OR o.status = $4) \
        ORDER BY o.id DESC LIMIT $5");
    // In a state that few stay in: an index holds only these, and is used where its own words are said.
    ORDERS_UNUSUAL = both("SELECT o.id, m.code AS marketplace, o.external_id, o.source, o.status, o.placed_at, o.created_at, o.updated_at \
        FROM orders o JOIN marketplaces m ON m.id = o.marketplace_id \
        WHERE o.status NOT IN ('created', 'shipped') AND o.status = $4 AND o.id < $1 AND o.id >= $2 AND ($3 = '' OR m.code = $3) \
        ORDER BY o.id DESC LIMIT $5");
    // By the marketplace's own name for it, which is unique within each marketplace.
    ORDERS_NAMED = both("SELECT o.id, m.code AS marketplace, o.external_id, o.source, o.status, o.placed_at, o.created_at, o.updated_at \
        FROM marketplaces m CROSS JOIN orders o \
        WHERE o.marketplace_id = m.id AND o.external_id = $5 AND o.id < $1 AND o.id >= $2 AND ($3 = '' OR m.code = $3) \
            AND ($4 = '' OR o.status = $4) ORDER BY o.id DESC LIMIT $6");
    // By what moved its stock, and what is older than its count: the lines of all orders are not read for it.
    ORDERS_PAGE_OF_SKU = both("SELECT o.id, m.code AS marketplace, o.external_id, o.source, o.status, o.placed_at, o.created_at, \
            o.updated_at FROM orders o JOIN marketplaces m ON m.id = o.marketplace_id \
        WHERE o.id IN (SELECT l.order_id FROM products p JOIN inventory_movements v ON v.product_id = p.id \
                    JOIN order_lines l ON l.id = v.order_line_id WHERE p.sku = $7 \
                UNION SELECT l.order_id FROM order_lines l JOIN products p ON p.id = l.product_id \
                    WHERE (l.historic_on_hand <> 0 OR l.historic_unsellable <> 0) AND p.sku = $7) \
            AND o.id < $1 AND o.id >= $2 AND ($3 = '' OR m.code = $3) AND ($4 = '' OR o.status = $4) \
            AND ($5 = '' OR o.external_id = $5) ORDER BY o.id DESC LIMIT $6");
    ORDER_BY_ID = both("SELECT o.id, m.code AS marketplace, o.external_id, o.source, o.status, o.placed_at, o.created_at, o.updated_at \
        FROM orders o JOIN marketplaces m ON m.id = o.marketplace_id WHERE o.id = $1");
    LINE_VIEWS = both("SELECT l.order_id, l.line_key, p.sku, l.external_sku, l.external_product, l.ordered, l.cancelled, l.shipped, \
            l.returned, l.returned_unsellable, l.price_minor, l.currency FROM order_lines l \
            LEFT JOIN products p ON p.id = l.product_id WHERE l.order_id IN {ids $1} ORDER BY l.order_id, l.line_key, l.component");
}

pub struct NewOrder<'a> {
    pub id: OrderId,
    pub marketplace_id: MarketplaceId,
    pub external_id: &'a str,
    pub source: &'a str,
    pub status: &'a str,
    pub placed_at: Option<Timestamp>,
    pub items_hash: Option<&'a [u8]>,
    pub customer_name: Option<&'a [u8]>,
    pub customer_phone: Option<&'a [u8]>,
    pub actor: &'a str,
    /// The hold it takes from.
    pub reservation_id: Option<ReservationId>,
}

pub async fn insert_once(conn: &mut Conn<'_>, orders: &[NewOrder<'_>], now: Timestamp) -> Result<u64, DbError> {
    let mut rows = Rows::new();
    for o in orders {
        rows.push(|r| {
            r.id(o.id).id(o.marketplace_id).text(o.external_id).text(o.source).text(o.status);
            r.opt_int(o.placed_at.map(Timestamp::micros));
            for sealed in [o.items_hash, o.customer_name, o.customer_phone] {
                match sealed {
                    Some(bytes) => r.bytes(bytes),
                    None => r.null(),
                };
            }
            r.text(o.actor).int(now.micros()).opt_id(o.reservation_id);
        });
    }
    execute!(conn, ORDERS_INSERT_ONCE, rows.finish())
}

row! {
    #[derive(Clone, Debug)]
    pub struct OrderRow {
        pub id: OrderId,
        pub marketplace_id: MarketplaceId,
        pub external_id: String,
        pub source: String,
        pub status: String,
        pub cancel_all: bool,
        pub items_hash: Option<Vec<u8>>,
        pub reservation_id: Option<ReservationId>,
        pub source_updated_at: Option<Timestamp>,
    }
}

/// The orders under these keys, locked in one order: the order's row guards its lines.
pub async fn lock(conn: &mut Conn<'_>, keys: &[(MarketplaceId, &str)]) -> Result<Vec<OrderRow>, DbError> {
    let mut rows = Rows::new();
    for (marketplace, external_id) in keys {
        rows.push(|r| {
            r.id(*marketplace).text(external_id);
        });
    }
    fetch_all!(conn, ORDERS_LOCK, OrderRow, rows.finish())
}

/// One order by our own id, locked.
pub async fn lock_by_id(conn: &mut Conn<'_>, id: OrderId) -> Result<Option<OrderRow>, DbError> {
    fetch_optional!(conn, ORDER_LOCK_BY_ID, OrderRow, id)
}

row! {
    #[derive(Clone, Debug)]
    pub struct LineRow {
        pub id: LineId,
        pub order_id: OrderId,
        pub line_key: String,
        pub component: i64,
        pub external_product: Option<String>,
        pub external_sku: Option<String>,
        pub listing_id: Option<ListingId>,
        pub product_id: Option<ProductId>,
        pub location_id: Option<LocationId>,
        pub units: i64,
        pub ordered: Option<i64>,
        pub stated_total: Option<i64>,
        pub stated_at: Option<Timestamp>,
        pub cancelled: i64,
        pub shipped: i64,
        pub returned: i64,
        pub returned_unsellable: i64,
        pub posted_on_hand: i64,
        pub posted_committed: i64,
        pub posted_unsellable: i64,
        pub posting: i64,
        pub historic_on_hand: i64,
        pub historic_unsellable: i64,
        pub price_minor: Option<i64>,
        pub cost_price_minor: Option<i64>,
        pub currency: Option<String>,
        pub occurred_at: Option<Timestamp>,
    }
}

pub async fn lines(conn: &mut Conn<'_>, orders: impl IntoIterator<Item = OrderId>) -> Result<Vec<LineRow>, DbError> {
    fetch_all!(conn, LINES_OF_ORDERS, LineRow, ids(orders.into_iter().map(OrderId::uuid)))
}

pub async fn upsert_lines(conn: &mut Conn<'_>, lines: &[LineRow], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for l in lines {
        rows.push(|r| {
            r.id(l.id).id(l.order_id).text(&l.line_key).int(l.component).opt_text(l.external_product.as_deref());
            r.opt_text(l.external_sku.as_deref()).opt_id(l.listing_id).opt_id(l.product_id).opt_id(l.location_id).int(l.units);
            r.opt_int(l.ordered)
                .opt_int(l.stated_total)
                .opt_int(l.stated_at.map(Timestamp::micros))
                .int(l.cancelled)
                .int(l.shipped)
                .int(l.returned)
                .int(l.returned_unsellable);
            r.int(l.posted_on_hand).int(l.posted_committed).int(l.posted_unsellable).int(l.posting).opt_int(l.price_minor);
            r.opt_int(l.cost_price_minor).opt_text(l.currency.as_deref()).opt_int(l.occurred_at.map(Timestamp::micros));
            r.int(now.micros()).int(l.historic_on_hand).int(l.historic_unsellable);
        });
    }
    execute_exactly!(lines.len(), conn, LINES_UPSERT, rows.finish())
}

pub struct OrderUpdate {
    pub id: OrderId,
    pub status: String,
    pub cancel_all: bool,
    pub source_updated_at: Option<Timestamp>,
}

pub async fn update(conn: &mut Conn<'_>, orders: &[OrderUpdate], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for o in orders {
        rows.push(|r| {
            r.id(o.id).text(&o.status).bool(o.cancel_all).opt_int(o.source_updated_at.map(Timestamp::micros)).int(now.micros());
        });
    }
    execute_exactly!(orders.len(), conn, ORDERS_UPDATE, rows.finish())
}

row! {
    pub struct OrderView {
        pub id: OrderId,
        pub marketplace: String,
        pub external_id: String,
        pub source: String,
        pub status: String,
        pub placed_at: Option<Timestamp>,
        pub created_at: Timestamp,
        pub updated_at: Timestamp,
    }
}

row! {
    pub struct LineView {
        pub order_id: OrderId,
        pub line_key: String,
        pub sku: Option<String>,
        pub external_sku: Option<String>,
        pub external_product: Option<String>,
        pub ordered: Option<i64>,
        pub cancelled: i64,
        pub shipped: i64,
        pub returned: i64,
        pub returned_unsellable: i64,
        pub price_minor: Option<i64>,
        pub currency: Option<String>,
    }
}

/// Which orders; empty means any.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub sku: String,
    pub marketplace: String,
    pub status: String,
    pub external_id: String,
}

/// Newest first.
pub async fn page(conn: &mut Conn<'_>, which: &Filter, ids: Ids, limit: i64) -> Result<Vec<OrderView>, DbError> {
    let Ids { from, before } = ids;
    let (code, status, name) = (which.marketplace.as_str(), which.status.as_str(), which.external_id.as_str());
    match (which.sku.as_str(), name, code, status) {
        ("", "", "", "" | "created" | "shipped") => fetch_all!(conn, ORDERS_PAGE, OrderView, before, from, status, limit),
        ("", "", code, "" | "created" | "shipped") => {
            fetch_all!(conn, ORDERS_PAGE_OF_MARKETPLACE, OrderView, before, from, code, status, limit)
        }
        ("", "", code, status) => fetch_all!(conn, ORDERS_UNUSUAL, OrderView, before, from, code, status, limit),
        ("", ..) => fetch_all!(conn, ORDERS_NAMED, OrderView, before, from, code, status, name, limit),
        (sku, ..) => fetch_all!(conn, ORDERS_PAGE_OF_SKU, OrderView, before, from, code, status, name, limit, sku),
    }
}

pub async fn get(conn: &mut Conn<'_>, id: OrderId) -> Result<Option<OrderView>, DbError> {
    fetch_optional!(conn, ORDER_BY_ID, OrderView, id)
}

pub async fn line_views(conn: &mut Conn<'_>, orders: impl IntoIterator<Item = OrderId>) -> Result<Vec<LineView>, DbError> {
    fetch_all!(conn, LINE_VIEWS, LineView, ids(orders.into_iter().map(OrderId::uuid)))
}
