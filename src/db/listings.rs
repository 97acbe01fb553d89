//! Listings: what each marketplace shows, is wanted to show, and is believed to show.

use super::conn::{Conn, execute, execute_exactly, fetch_all, fetch_optional, row};
use super::error::DbError;
use super::sql::{Rows, ids, statements};
use crate::domain::ids::{ListingId, MarketplaceId, MovementId, OrderId, ProductId};
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;
use uuid::Uuid;

statements! {
    LISTING_INSERT = both("INSERT INTO marketplace_products (id, marketplace_id, marketplace_product_id, market, marketplace_sku, refs, \
            marketplace_price, currency, rule, wanted_at, admin_id, created_at, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $10, $10)");
    COMPONENT_INSERT = both("INSERT INTO listing_components (listing_id, product_id, units) VALUES ($1, $2, $3)");
    // By the names the marketplace gives things. The caller says which of an item's names is the surest.
    LISTINGS_RESOLVE_REFS = both("SELECT {int 3} AS item, {int 4} AS place, n.listing_id AS listing_id FROM {rows} \
            JOIN listing_refs n ON n.marketplace_id = {id 0} AND n.name = {text 1} AND n.value = {text 2} \
            JOIN marketplace_products l ON l.id = n.listing_id WHERE l.state <> 'ended'");
    // Three ways in, best first: the marketplace's own id, its SKU, our SKU. The caller judges what they agree on. The last says its
    // order to SQLite, which would else go through all listings of the marketplace.
    LISTINGS_RESOLVE = both("SELECT {int 3} AS item, CAST(1 AS BIGINT) AS way, l.id AS listing_id FROM {rows} \
            JOIN marketplace_products l ON l.marketplace_id = {id 0} AND l.marketplace_product_id = {text 1} WHERE l.state <> 'ended' \
        UNION ALL SELECT {int 3}, CAST(2 AS BIGINT), l.id FROM {rows} \
            JOIN marketplace_products l ON l.marketplace_id = {id 0} AND l.marketplace_sku = {text 2} WHERE l.state <> 'ended' \
        UNION ALL SELECT {int 3}, CAST(3 AS BIGINT), l.id FROM {rows} CROSS JOIN products p CROSS JOIN listing_components c \
            CROSS JOIN marketplace_products l \
            WHERE p.sku = {text 2} AND c.product_id = p.id AND l.id = c.listing_id AND l.marketplace_id = {id 0} \
                AND l.state <> 'ended' AND c.units = 1 \
                AND NOT EXISTS (SELECT 1 FROM listing_components o WHERE o.listing_id = l.id AND o.product_id <> p.id)");
    // All listings that any of these products is part of, locked in one order.
    LISTINGS_LOCK_OF_PRODUCTS = both("SELECT l.id, l.marketplace_id, l.marketplace_product_id, l.market, l.marketplace_sku, \
            l.marketplace_price, l.currency, l.rule, l.state, l.listed_stock, l.wanted_version, l.sent_quantity, l.sent_version, \
            l.sent_at, l.acked_quantity, l.acked_version, l.acked_at, l.expected, l.marketplace_stock, l.observed_sequence, \
            l.stock_last_synced_at, l.quota_left, l.push_state, l.next_push_at, l.gap_since, l.push_trigger, l.created_at, \
            l.raise_held_since, l.verify_at, l.gap_read_at, \
            (SELECT CAST(CASE WHEN m.archived_at IS NOT NULL THEN 1 WHEN m.restored_as IS NOT NULL THEN 2 ELSE 0 END AS BIGINT) \
                FROM marketplaces m WHERE m.id = l.marketplace_id) AS standing \
        FROM marketplace_products l \
        WHERE l.id IN (SELECT listing_id FROM listing_components WHERE product_id IN {ids $1}) AND l.state <> 'ended' \
        ORDER BY l.id {for update}");
    LISTINGS_OF_PRODUCTS = both("SELECT l.id, l.marketplace_id, l.marketplace_product_id, l.market, l.marketplace_sku, \
            l.marketplace_price, l.currency, l.rule, l.state, l.listed_stock, l.wanted_version, l.sent_quantity, l.sent_version, \
            l.sent_at, l.acked_quantity, l.acked_version, l.acked_at, l.expected, l.marketplace_stock, l.observed_sequence, \
            l.stock_last_synced_at, l.quota_left, l.push_state, l.next_push_at, l.gap_since, l.push_trigger, l.created_at, \
            l.raise_held_since, l.verify_at, l.gap_read_at, \
            (SELECT CAST(CASE WHEN m.archived_at IS NOT NULL THEN 1 WHEN m.restored_as IS NOT NULL THEN 2 ELSE 0 END AS BIGINT) \
                FROM marketplaces m WHERE m.id = l.marketplace_id) AS standing \
        FROM marketplace_products l \
        WHERE l.id IN (SELECT listing_id FROM listing_components WHERE product_id IN {ids $1}) AND l.state <> 'ended' \
        ORDER BY l.id");
    COMPONENTS_OF = both("SELECT listing_id, product_id, units FROM listing_components WHERE listing_id IN {ids $1} \
        ORDER BY listing_id, product_id");
    // All parts of all listings that any of these products is part of.
    COMPONENTS_AROUND = both("SELECT listing_id, product_id, units FROM listing_components \
        WHERE listing_id IN (SELECT listing_id FROM listing_components WHERE product_id IN {ids $1}) ORDER BY listing_id, product_id");
    LISTINGS_RETARGET = both("UPDATE marketplace_products AS l SET listed_stock = {int 1}, available_stock = {int 1}, \
            wanted_version = {int 2}, wanted_at = {int 3}, expected = {int 4}, push_state = {text 5}, sent_version = {int 6}, \
            acked_version = {int 7}, acked_quantity = {int 8}, next_push_at = {int 9}, quota_left = {int 10}, \
            marketplace_stock = {int 11}, previous_stock = (CASE WHEN l.marketplace_stock IS DISTINCT FROM {int 11} \
                THEN l.marketplace_stock ELSE l.previous_stock END), \
            stock_last_synced_at = {int 12}, observed_sequence = {text 13}, gap_since = {int 14}, push_trigger = {text 15}, \
            raise_held_since = {int 16}, verify_at = {int 17}, \
            version = l.version + 1, updated_at = {int 3} \
        FROM {rows} WHERE l.id = {id 0}");
    HISTORY_INSERT = both("INSERT INTO marketplace_stock_history (id, listing_id, product_id, marketplace_id, quantity_before, \
            quantity_after, quantity_change, change_type, order_id, order_item_id, reference_id, admin_id, created_at) \
        SELECT {id 0}, {id 1}, {id 2}, {id 3}, {int 4}, {int 5}, {int 5} - {int 4}, {text 6}, {id 7}, {id 8}, {text 9}, {text 10}, {int 11} \
        FROM {rows}");
    LISTINGS_OF_PRODUCT = both("SELECT l.id, m.code AS marketplace, l.marketplace_product_id, l.market, l.marketplace_sku, l.refs, \
            l.listed_stock, l.wanted_version, l.sent_quantity, l.sent_version, l.acked_quantity, l.acked_version, l.expected, \
            l.last_api_quantity, l.marketplace_stock, l.push_state, l.state, l.last_synced_at, l.last_error, l.version \
        FROM marketplace_products l JOIN marketplaces m ON m.id = l.marketplace_id \
        WHERE l.id IN (SELECT listing_id FROM listing_components WHERE product_id = $1) AND m.archived_at IS NULL \
        ORDER BY m.code, l.marketplace_product_id");
    LISTINGS_AROUND = both("SELECT l.id, m.code AS marketplace, l.marketplace_product_id, l.market, l.marketplace_sku, l.refs, \
            l.listed_stock, l.wanted_version, l.sent_quantity, l.sent_version, l.acked_quantity, l.acked_version, l.expected, \
            l.last_api_quantity, l.marketplace_stock, l.push_state, l.state, l.last_synced_at, l.last_error, l.version \
        FROM marketplace_products l JOIN marketplaces m ON m.id = l.marketplace_id \
        WHERE l.id IN {ids $1} AND m.archived_at IS NULL ORDER BY m.code, l.marketplace_product_id");
    LISTINGS_TO_LOOK_AT = both("SELECT l.id, m.code AS marketplace, l.marketplace_product_id, l.market, l.marketplace_sku, l.refs, \
            l.listed_stock, l.wanted_version, l.sent_quantity, l.sent_version, l.acked_quantity, l.acked_version, l.expected, \
            l.last_api_quantity, l.marketplace_stock, l.push_state, l.state, l.last_synced_at, l.last_error, l.version \
        FROM marketplace_products l JOIN marketplaces m ON m.id = l.marketplace_id \
        WHERE l.id IN {ids $1} ORDER BY m.code, l.marketplace_product_id");
    LISTING_BY_ID = both("SELECT l.id, m.code AS marketplace, l.marketplace_product_id, l.market, l.marketplace_sku, l.refs, \
            l.listed_stock, l.wanted_version, l.sent_quantity, l.sent_version, l.acked_quantity, l.acked_version, l.expected, \
            l.last_api_quantity, l.marketplace_stock, l.push_state, l.state, l.last_synced_at, l.last_error, l.version \
        FROM marketplace_products l JOIN marketplaces m ON m.id = l.marketplace_id WHERE l.id = $1");
    // Those of an archived marketplace are shown to who asks for that one.
    LISTINGS_PAGE = both("SELECT l.id, m.code AS marketplace, l.marketplace_product_id, l.market, l.marketplace_sku, l.refs, \
            l.listed_stock, l.wanted_version, l.sent_quantity, l.sent_version, l.acked_quantity, l.acked_version, l.expected, \
            l.last_api_quantity, l.marketplace_stock, l.push_state, l.state, l.last_synced_at, l.last_error, l.version \
        FROM marketplace_products l JOIN marketplaces m ON m.id = l.marketplace_id \
        WHERE l.id > $1 AND m.code <> 'store' AND ($2 = '' OR m.code = $2) AND ($2 <> '' OR m.archived_at IS NULL) \
            AND ($3 = '' OR (CASE WHEN l.state = 'active' THEN l.push_state ELSE l.state END) = $3) ORDER BY l.id LIMIT $4");
    // The same of one marketplace: its index gives them in order.
    LISTINGS_PAGE_OF_MARKETPLACE = both("SELECT l.id, m.code AS marketplace, l.marketplace_product_id, l.market, l.marketplace_sku, l.refs, \
            l.listed_stock, l.wanted_version, l.sent_quantity, l.sent_version, l.acked_quantity, l.acked_version, l.expected, \
            l.last_api_quantity, l.marketplace_stock, l.push_state, l.state, l.last_synced_at, l.last_error, l.version \
        FROM marketplaces m CROSS JOIN marketplace_products l \
        WHERE m.code = $2 AND m.code <> 'store' AND l.marketplace_id = m.id AND l.id > $1 \
            AND ($3 = '' OR (CASE WHEN l.state = 'active' THEN l.push_state ELSE l.state END) = $3) ORDER BY l.id LIMIT $4");
    // States that few are in: indexes hold only these, and are used where their own words are said.
    LISTINGS_UNUSUAL = both("SELECT u.id FROM ( \
            SELECT * FROM (SELECT l.id FROM marketplace_products l JOIN marketplaces m ON m.id = l.marketplace_id \
                WHERE l.push_state IN ('new', 'unknown', 'blocked', 'paused', 'task') AND l.push_state = $3 AND l.state = 'active' \
                    AND l.id > $1 AND m.code <> 'store' AND ($2 = '' OR m.code = $2) AND ($2 <> '' OR m.archived_at IS NULL) \
                ORDER BY l.id LIMIT $4) AS told \
            UNION ALL SELECT * FROM (SELECT l.id FROM marketplace_products l JOIN marketplaces m ON m.id = l.marketplace_id \
                WHERE l.state <> 'active' AND l.state = $3 AND l.id > $1 AND m.code <> 'store' AND ($2 = '' OR m.code = $2) \
                    AND ($2 <> '' OR m.archived_at IS NULL) ORDER BY l.id LIMIT $4) AS away) AS u ORDER BY u.id LIMIT $4");
    // What is not told yet. The id is asked for in a way that no index answers: of a marketplace there is the index of these.
    LISTINGS_UNTOLD = both("SELECT l.id FROM marketplaces m CROSS JOIN marketplace_products l \
        WHERE l.marketplace_id = m.id AND l.wanted_version > l.acked_version AND l.push_state = $3 AND l.state = 'active' \
            AND (CASE WHEN l.id > $1 THEN 1 ELSE 0 END) = 1 AND m.code <> 'store' AND ($2 = '' OR m.code = $2) \
            AND ($2 <> '' OR m.archived_at IS NULL) ORDER BY l.id LIMIT $4");
    LISTINGS_PAGE_OF_SKU = both("SELECT l.id, m.code AS marketplace, l.marketplace_product_id, l.market, l.marketplace_sku, l.refs, \
            l.listed_stock, l.wanted_version, l.sent_quantity, l.sent_version, l.acked_quantity, l.acked_version, l.expected, \
            l.last_api_quantity, l.marketplace_stock, l.push_state, l.state, l.last_synced_at, l.last_error, l.version \
        FROM marketplace_products l JOIN marketplaces m ON m.id = l.marketplace_id \
        WHERE l.id IN (SELECT c.listing_id FROM listing_components c JOIN products p ON p.id = c.product_id WHERE p.sku = $5) \
            AND l.id > $1 AND m.code <> 'store' AND ($2 = '' OR m.code = $2) AND ($2 <> '' OR m.archived_at IS NULL) \
            AND ($3 = '' OR (CASE WHEN l.state = 'active' THEN l.push_state ELSE l.state END) = $3) ORDER BY l.id LIMIT $4");
    LISTING_NAMES_LOCK = both("SELECT id, marketplace_id, marketplace_sku, refs, marketplace_price, currency, state, version \
        FROM marketplace_products WHERE id = $1 {for update}");
    LISTING_NAMES_OF = both("SELECT id, marketplace_id, marketplace_sku, refs, marketplace_price, currency, state, version \
        FROM marketplace_products WHERE id IN {ids $1}");
    LISTING_NAMES_SET = both("UPDATE marketplace_products SET marketplace_sku = $2, refs = $3, marketplace_price = $4, currency = $5, \
            state = $6, expected = (CASE WHEN $7 THEN NULL ELSE expected END), \
            push_state = (CASE WHEN $7 AND push_state = 'blocked' THEN 'dirty' ELSE push_state END), \
            next_push_at = (CASE WHEN $7 THEN $8 ELSE next_push_at END), attempts = (CASE WHEN $7 THEN 0 ELSE attempts END), version = version + 1, updated_at = $8 WHERE id = $1");
    LISTINGS_EXPORT = both("SELECT l.id, m.code AS marketplace, l.marketplace_product_id, l.market, l.marketplace_sku, l.refs, \
            l.marketplace_price, l.currency, l.state FROM marketplace_products l JOIN marketplaces m ON m.id = l.marketplace_id \
        WHERE l.id > $1 AND m.code <> 'store' AND m.archived_at IS NULL ORDER BY l.id LIMIT $2");
    // What the storefront publishes, to fill the keyed table at start: the store's listings carry the published version. In the order
    // of an index, so that each of them is read once, however many pages that takes.
    STORE_ITEMS = both("SELECT l.id, p.sku, l.listed_stock, l.wanted_version, l.state FROM ( \
            SELECT s.id, s.listed_stock, s.wanted_version, s.state FROM marketplace_products s \
            WHERE s.marketplace_id = (SELECT id FROM marketplaces WHERE code = 'store') AND s.id > $1 ORDER BY s.id LIMIT $2) AS l \
        CROSS JOIN listing_components c CROSS JOIN products p \
        WHERE c.listing_id = l.id AND p.id = c.product_id ORDER BY l.id");
    DIRTY_SUMMARY = both("SELECT m.code, COUNT(*), CAST(MIN(l.wanted_at) AS BIGINT) FROM marketplace_products l \
            JOIN marketplaces m ON m.id = l.marketplace_id \
        WHERE l.wanted_version > l.acked_version AND m.archived_at IS NULL GROUP BY m.code");
}

row! {
    /// A listing as retargeting needs it.
    #[derive(Clone, Debug)]
    pub struct ListingRow {
        pub id: ListingId,
        pub marketplace_id: MarketplaceId,
        pub marketplace_product_id: String,
        pub market: String,
        pub marketplace_sku: Option<String>,
        pub marketplace_price: Option<i64>,
        pub currency: Option<String>,
        pub rule: String,
        pub state: String,
        pub listed_stock: i64,
        pub wanted_version: i64,
        pub sent_quantity: Option<i64>,
        pub sent_version: i64,
        pub sent_at: Option<Timestamp>,
        pub acked_quantity: Option<i64>,
        pub acked_version: i64,
        pub acked_at: Option<Timestamp>,
        pub expected: Option<i64>,
        pub marketplace_stock: Option<i64>,
        pub observed_sequence: Option<String>,
        pub stock_last_synced_at: Option<Timestamp>,
        pub quota_left: Option<i64>,
        pub push_state: String,
        pub next_push_at: Timestamp,
        pub gap_since: Option<Timestamp>,
        pub push_trigger: String,
        pub created_at: Timestamp,
        /// Since when its number may not be raised, because nobody knows what is shown.
        pub raise_held_since: Option<Timestamp>,
        pub verify_at: Option<Timestamp>,
        pub gap_read_at: Option<Timestamp>,
        /// Of its marketplace, see [`ListingRow::is_archived`].
        pub standing: i64,
    }
}

impl ListingRow {
    /// Its marketplace is archived: it is told nothing, and takes part in nothing.
    pub const fn is_archived(&self) -> bool {
        self.standing == 1
    }

    /// Its marketplace is being brought back: what it shows is not known.
    pub const fn is_coming_back(&self) -> bool {
        self.standing == 2
    }
}

row! {
    /// A listing as people look at it.
    #[derive(Clone, Debug)]
    pub struct ListingView {
        pub id: ListingId,
        pub marketplace: String,
        pub marketplace_product_id: String,
        pub market: String,
        pub marketplace_sku: Option<String>,
        pub refs: String,
        pub listed_stock: i64,
        pub wanted_version: i64,
        pub sent_quantity: Option<i64>,
        pub sent_version: i64,
        pub acked_quantity: Option<i64>,
        pub acked_version: i64,
        pub expected: Option<i64>,
        pub last_api_quantity: Option<i64>,
        pub marketplace_stock: Option<i64>,
        pub push_state: String,
        pub state: String,
        pub last_synced_at: Option<Timestamp>,
        pub last_error: Option<String>,
        pub version: i64,
    }
}

row! {
    #[derive(Clone, Copy, Debug)]
    pub struct ComponentRow {
        pub listing_id: ListingId,
        pub product_id: ProductId,
        pub units: i64,
    }
}

row! {
    pub struct StoreItem {
        pub id: ListingId,
        pub sku: Sku,
        pub listed_stock: i64,
        pub wanted_version: i64,
        pub state: String,
    }
}

pub struct NewListing<'a> {
    pub id: ListingId,
    pub marketplace_id: MarketplaceId,
    pub marketplace_product_id: &'a str,
    pub market: &'a str,
    pub marketplace_sku: Option<&'a str>,
    pub refs: &'a str,
    pub price_minor: Option<i64>,
    pub currency: Option<&'a str>,
    pub rule: &'a str,
    pub actor: &'a str,
}

/// `DbError::Exists` when the marketplace has a listing of that id and market.
pub async fn insert(
    conn: &mut Conn<'_>,
    l: &NewListing<'_>,
    components: &[(ProductId, i64)],
    now: Timestamp,
) -> Result<(), DbError> {
    execute_exactly!(
        1,
        conn,
        LISTING_INSERT,
        l.id,
        l.marketplace_id,
        l.marketplace_product_id,
        l.market,
        l.marketplace_sku,
        l.refs,
        l.price_minor,
        l.currency,
        l.rule,
        now,
        l.actor
    )?;
    for (product, units) in components {
        execute_exactly!(1, conn, COMPONENT_INSERT, l.id, *product, *units)?;
    }
    Ok(())
}

/// What an outside fact names: the marketplace's product id, a SKU, or both.
pub struct ItemQuery<'a> {
    pub marketplace_id: MarketplaceId,
    pub product_id: Option<&'a str>,
    pub sku: Option<&'a str>,
}

row! {
    pub struct Resolved {
        /// Index of the query.
        pub item: i64,
        /// 1 by the marketplace's product id, 2 by its SKU, 3 by ours.
        pub way: i64,
        pub listing_id: ListingId,
    }
}

/// One name of an outside fact's item.
pub struct RefQuery<'a> {
    pub marketplace_id: MarketplaceId,
    pub name: &'a str,
    pub value: &'a str,
    /// Index of the item, and the name's place among its names.
    pub item: usize,
    pub place: usize,
}

row! {
    pub struct ResolvedRef {
        pub item: i64,
        pub place: i64,
        pub listing_id: ListingId,
    }
}

/// The listings that bear these names.
pub async fn resolve_refs(conn: &mut Conn<'_>, names: &[RefQuery<'_>]) -> Result<Vec<ResolvedRef>, DbError> {
    let mut rows = Rows::new();
    for name in names {
        rows.push(|r| {
            r.id(name.marketplace_id).text(name.name).text(name.value).int(name.item as i64).int(name.place as i64);
        });
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    fetch_all!(conn, LISTINGS_RESOLVE_REFS, ResolvedRef, rows.finish())
}

pub async fn resolve(conn: &mut Conn<'_>, items: &[ItemQuery<'_>]) -> Result<Vec<Resolved>, DbError> {
    let mut rows = Rows::new();
    for (index, item) in items.iter().enumerate() {
        rows.push(|r| {
            r.id(item.marketplace_id).opt_text(item.product_id).opt_text(item.sku).int(index as i64);
        });
    }
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    fetch_all!(conn, LISTINGS_RESOLVE, Resolved, rows.finish())
}

pub async fn lock_of_products(
    conn: &mut Conn<'_>,
    products: impl IntoIterator<Item = ProductId>,
) -> Result<Vec<ListingRow>, DbError> {
    fetch_all!(conn, LISTINGS_LOCK_OF_PRODUCTS, ListingRow, ids(products.into_iter().map(ProductId::uuid)))
}

/// The same as [`lock_of_products`], without the lock.
pub async fn list_of_products(
    conn: &mut Conn<'_>,
    products: impl IntoIterator<Item = ProductId>,
) -> Result<Vec<ListingRow>, DbError> {
    fetch_all!(conn, LISTINGS_OF_PRODUCTS, ListingRow, ids(products.into_iter().map(ProductId::uuid)))
}

pub async fn components(
    conn: &mut Conn<'_>,
    listings: impl IntoIterator<Item = ListingId>,
) -> Result<Vec<ComponentRow>, DbError> {
    fetch_all!(conn, COMPONENTS_OF, ComponentRow, ids(listings.into_iter().map(ListingId::uuid)))
}

pub async fn components_around(
    conn: &mut Conn<'_>,
    products: impl IntoIterator<Item = ProductId>,
) -> Result<Vec<ComponentRow>, DbError> {
    fetch_all!(conn, COMPONENTS_AROUND, ComponentRow, ids(products.into_iter().map(ProductId::uuid)))
}

/// Writes back what retargeting and observations decided. The whole list in one statement.
pub async fn retarget(conn: &mut Conn<'_>, changed: &[ListingRow], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for l in changed {
        rows.push(|r| {
            r.id(l.id).int(l.listed_stock).int(l.wanted_version).int(now.micros()).opt_int(l.expected).text(&l.push_state);
            r.int(l.sent_version)
                .int(l.acked_version)
                .opt_int(l.acked_quantity)
                .int(l.next_push_at.micros())
                .opt_int(l.quota_left);
            r.opt_int(l.marketplace_stock).opt_int(l.stock_last_synced_at.map(Timestamp::micros));
            r.opt_text(l.observed_sequence.as_deref()).opt_int(l.gap_since.map(Timestamp::micros)).text(&l.push_trigger);
            r.opt_int(l.raise_held_since.map(Timestamp::micros)).opt_int(l.verify_at.map(Timestamp::micros));
        });
    }
    execute_exactly!(changed.len(), conn, LISTINGS_RETARGET, rows.finish())
}

pub struct HistoryRow {
    pub id: MovementId,
    pub listing_id: ListingId,
    pub product_id: ProductId,
    pub marketplace_id: MarketplaceId,
    pub before: i64,
    pub after: i64,
    pub change_type: &'static str,
    pub order_id: Option<OrderId>,
    pub order_item_id: Option<Uuid>,
    pub reference_id: Option<String>,
    pub actor: Option<String>,
}

pub async fn insert_history(conn: &mut Conn<'_>, history: &[HistoryRow], now: Timestamp) -> Result<(), DbError> {
    let mut rows = Rows::new();
    for h in history {
        rows.push(|r| {
            r.id(h.id).id(h.listing_id).id(h.product_id).id(h.marketplace_id).int(h.before).int(h.after).text(h.change_type);
            r.opt_id(h.order_id).opt_id(h.order_item_id).opt_text(h.reference_id.as_deref()).opt_text(h.actor.as_deref());
            r.int(now.micros());
        });
    }
    if rows.is_empty() {
        return Ok(());
    }
    execute!(conn, HISTORY_INSERT, rows.finish()).map(drop)
}

pub async fn of_product(conn: &mut Conn<'_>, product: ProductId) -> Result<Vec<ListingView>, DbError> {
    fetch_all!(conn, LISTINGS_OF_PRODUCT, ListingView, product)
}

/// The listings of several products without those of archived marketplaces, each with the products it is made of.
pub async fn of_products(conn: &mut Conn<'_>, products: &[ProductId]) -> Result<(Vec<ListingView>, Vec<ComponentRow>), DbError> {
    let parts = components_around(conn, products.iter().copied()).await?;
    let listings = ids(parts.iter().map(|part| part.listing_id.uuid()));
    Ok((fetch_all!(conn, LISTINGS_AROUND, ListingView, listings)?, parts))
}

pub async fn get(conn: &mut Conn<'_>, id: ListingId) -> Result<Option<ListingView>, DbError> {
    fetch_optional!(conn, LISTING_BY_ID, ListingView, id)
}

/// Which listings; empty means any.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub marketplace: String,
    pub sku: String,
    /// As it is shown: how far it is told, or paused, or ended.
    pub state: String,
}

/// The next ones after an id, without the own store's.
pub async fn page(conn: &mut Conn<'_>, which: &Filter, after: Uuid, limit: i64) -> Result<Vec<ListingView>, DbError> {
    let (code, state) = (which.marketplace.as_str(), which.state.as_str());
    let found: Vec<(Uuid,)> = match (which.sku.as_str(), code, state) {
        ("", _, "new" | "unknown" | "blocked" | "paused" | "task" | "ended") => {
            fetch_all!(conn, LISTINGS_UNUSUAL, (Uuid,), after, code, state, limit)?
        }
        ("", _, "dirty" | "in_flight") => fetch_all!(conn, LISTINGS_UNTOLD, (Uuid,), after, code, state, limit)?,
        ("", "", _) => return fetch_all!(conn, LISTINGS_PAGE, ListingView, after, code, state, limit),
        ("", code, _) => return fetch_all!(conn, LISTINGS_PAGE_OF_MARKETPLACE, ListingView, after, code, state, limit),
        (sku, ..) => return fetch_all!(conn, LISTINGS_PAGE_OF_SKU, ListingView, after, code, state, limit, sku),
    };
    let mut views = fetch_all!(conn, LISTINGS_TO_LOOK_AT, ListingView, ids(found.into_iter().map(|row| row.0)))?;
    views.sort_unstable_by_key(|view| view.id);
    Ok(views)
}

row! {
    /// A listing as a table shows it.
    pub struct ExportRow {
        pub id: ListingId,
        pub marketplace: String,
        pub marketplace_product_id: String,
        pub market: String,
        pub marketplace_sku: Option<String>,
        pub refs: String,
        pub marketplace_price: Option<i64>,
        pub currency: Option<String>,
        pub state: String,
    }
}

/// The next ones after an id, without the own store's.
pub async fn export(conn: &mut Conn<'_>, after: Uuid, limit: i64) -> Result<Vec<ExportRow>, DbError> {
    fetch_all!(conn, LISTINGS_EXPORT, ExportRow, after, limit)
}

row! {
    /// What people change of a listing.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ListingNames {
        pub id: ListingId,
        pub marketplace_id: MarketplaceId,
        pub marketplace_sku: Option<String>,
        pub refs: String,
        pub marketplace_price: Option<i64>,
        pub currency: Option<String>,
        pub state: String,
        pub version: i64,
    }
}

pub async fn lock_names(conn: &mut Conn<'_>, id: ListingId) -> Result<Option<ListingNames>, DbError> {
    fetch_optional!(conn, LISTING_NAMES_LOCK, ListingNames, id)
}

/// The same of several, to look at.
pub async fn names(conn: &mut Conn<'_>, of: impl IntoIterator<Item = ListingId>) -> Result<Vec<ListingNames>, DbError> {
    fetch_all!(conn, LISTING_NAMES_OF, ListingNames, ids(of.into_iter().map(ListingId::uuid)))
}

/// `forget`: what it shows is not known any more.
pub async fn set_names(conn: &mut Conn<'_>, n: &ListingNames, forget: bool, now: Timestamp) -> Result<(), DbError> {
    let (sku, refs, currency, state) = (n.marketplace_sku.as_deref(), n.refs.as_str(), n.currency.as_deref(), n.state.as_str());
    execute_exactly!(1, conn, LISTING_NAMES_SET, n.id, sku, refs, n.marketplace_price, currency, state, forget, now)
}

/// What the store publishes: the next listings after an id.
pub async fn store_items(conn: &mut Conn<'_>, after: Uuid, limit: i64) -> Result<Vec<StoreItem>, DbError> {
    fetch_all!(conn, STORE_ITEMS, StoreItem, after, limit)
}

/// Per marketplace: how many listings are behind, and since when the oldest.
pub async fn dirty(conn: &mut Conn<'_>) -> Result<Vec<(String, i64, Timestamp)>, DbError> {
    fetch_all!(conn, DIRTY_SUMMARY, (String, i64, Timestamp))
}
