//! The orders a transaction touches: loaded and locked once, changed in memory, written once.

use std::collections::{BTreeMap, HashMap};

use super::Tx;
use super::working::Working;
use crate::db::DbError;
use crate::db::orders::{self, LineRow, NewOrder, OrderRow, OrderUpdate};
use crate::domain::fact::LineFact;
use crate::domain::ids::{ListingId, LocationId, MarketplaceId, OrderId, ProductId};
use crate::domain::money::{Currency, Money};
use crate::domain::order::{LineState, Posting, Stated};
use crate::domain::order_status::order_status;
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;

/// An order by its own marketplace's name for it.
#[derive(Clone, Debug)]
pub struct OrderKey {
    marketplace_id: MarketplaceId,
    external_id: String,
    source: &'static str,
    placed_at: Option<Timestamp>,
    /// When it was surely ordered.
    ordered_at: Option<Timestamp>,
    actor: String,
}

impl OrderKey {
    pub fn of_order(connection: &Connection, external_id: &str, source: &'static str, placed_at: Option<Timestamp>) -> Self {
        Self {
            marketplace_id: connection.id,
            external_id: external_id.to_owned(),
            source,
            placed_at,
            ordered_at: None,
            actor: format!("marketplace:{}", connection.code),
        }
    }

    /// The marketplace says when it was ordered, not only when it last changed.
    pub fn ordered(self, at: Option<Timestamp>) -> Self {
        Self { placed_at: at.or(self.placed_at), ordered_at: at, ..self }
    }

    pub fn ordered_at(&self) -> Option<Timestamp> {
        self.ordered_at
    }

    /// A delta feed names no order: each of its events has one of its own.
    pub fn of_delta(connection: &Connection, event_key: &str, placed_at: Option<Timestamp>) -> Self {
        Self { source: "delta", ..Self::of_order(connection, event_key, "delta", placed_at) }
    }

    /// An order that stands already.
    pub fn of_known(row: &OrderRow, actor: &str) -> Self {
        Self {
            marketplace_id: row.marketplace_id,
            external_id: row.external_id.clone(),
            source: "manual",
            placed_at: None,
            ordered_at: None,
            actor: actor.to_owned(),
        }
    }

    pub fn marketplace_id(&self) -> MarketplaceId {
        self.marketplace_id
    }

    pub fn external_id(&self) -> &str {
        &self.external_id
    }

    fn key(&self) -> (MarketplaceId, &str) {
        (self.marketplace_id, &self.external_id)
    }
}

/// Where a line is in the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinePlace(usize);

/// A price as a fact or a listing gives it.
pub struct Priced<'a> {
    pub text: Option<&'a str>,
    pub currency: Option<&'a str>,
}

struct Order {
    id: OrderId,
    cancel_all: bool,
    status: String,
    source_updated_at: Option<Timestamp>,
    changed: bool,
    /// Written first by this transaction.
    new: bool,
    lines: Vec<usize>,
}

impl Order {
    fn of_row(row: &OrderRow) -> Self {
        Self {
            id: row.id,
            cancel_all: row.cancel_all,
            status: row.status.clone(),
            source_updated_at: row.source_updated_at,
            changed: false,
            new: false,
            lines: Vec::new(),
        }
    }
}

#[derive(Default)]
pub struct Book {
    orders: BTreeMap<(MarketplaceId, String), Order>,
    lines: Vec<LineRow>,
    changed: Vec<bool>,
}

impl Book {
    /// Opens the orders under these keys, new or known, and locks them.
    pub async fn open(tx: &mut Tx<'_>, keys: Vec<OrderKey>) -> Result<Self, DbError> {
        let mut wanted: BTreeMap<(MarketplaceId, &str), &OrderKey> = BTreeMap::new();
        for key in &keys {
            wanted.entry(key.key()).or_insert(key);
        }
        let mut book = Self::default();
        if wanted.is_empty() {
            return Ok(book);
        }
        let new: Vec<NewOrder<'_>> = wanted
            .values()
            .map(|key| NewOrder {
                id: tx.id(),
                marketplace_id: key.marketplace_id,
                external_id: &key.external_id,
                source: key.source,
                status: "created",
                placed_at: key.placed_at,
                items_hash: None,
                customer_name: None,
                customer_phone: None,
                actor: &key.actor,
                reservation_id: None,
            })
            .collect();
        let inserted = orders::insert_once(&mut tx.conn, &new, tx.now).await?;
        if inserted == new.len() as u64 {
            for order in new {
                book.add(order.marketplace_id, order.external_id, order.id);
            }
            return Ok(book);
        }
        let names: Vec<(MarketplaceId, &str)> = wanted.keys().copied().collect();
        let rows = orders::lock(&mut tx.conn, &names).await?;
        let fresh: Vec<OrderId> = new.iter().map(|order| order.id).collect();
        book.load(tx, rows, &fresh).await?;
        Ok(book)
    }

    /// An order that stands already, locked, with its lines.
    pub async fn of_known(tx: &mut Tx<'_>, row: OrderRow) -> Result<Self, DbError> {
        let mut book = Self::default();
        book.load(tx, vec![row], &[]).await?;
        Ok(book)
    }

    async fn load(&mut self, tx: &mut Tx<'_>, rows: Vec<OrderRow>, fresh: &[OrderId]) -> Result<(), DbError> {
        let mut by_id = HashMap::new();
        for row in rows {
            let order = Order { new: fresh.contains(&row.id), ..Order::of_row(&row) };
            let key = (row.marketplace_id, row.external_id);
            by_id.insert(row.id, key.clone());
            self.orders.insert(key, order);
        }
        for line in orders::lines(&mut tx.conn, by_id.keys().copied()).await? {
            let Some(key) = by_id.get(&line.order_id) else { continue };
            self.add_line(key, line, false);
        }
        Ok(())
    }

    /// Opens one more, where only the facts themselves show that it is needed. Its key must hang on a row that is locked already.
    pub async fn open_one(&mut self, tx: &mut Tx<'_>, key: &OrderKey) -> Result<(), DbError> {
        if self.order(key).is_some() {
            return Ok(());
        }
        let more = Self::open(tx, vec![key.clone()]).await?;
        let before = self.lines.len();
        self.lines.extend(more.lines);
        self.changed.extend(more.changed);
        for (key, mut order) in more.orders {
            order.lines.iter_mut().for_each(|line| *line += before);
            self.orders.insert(key, order);
        }
        Ok(())
    }

    /// An order that this transaction has just written itself.
    pub fn of_new(marketplace_id: MarketplaceId, external_id: &str, id: OrderId) -> Self {
        let mut book = Self::default();
        book.add(marketplace_id, external_id, id);
        book
    }

    fn add(&mut self, marketplace_id: MarketplaceId, external_id: &str, id: OrderId) {
        let order = Order {
            id,
            cancel_all: false,
            status: "created".into(),
            source_updated_at: None,
            changed: false,
            new: true,
            lines: Vec::new(),
        };
        self.orders.insert((marketplace_id, external_id.to_owned()), order);
    }

    fn add_line(&mut self, key: &(MarketplaceId, String), line: LineRow, changed: bool) {
        if let Some(order) = self.orders.get_mut(key) {
            order.lines.push(self.lines.len());
            self.lines.push(line);
            self.changed.push(changed);
        }
    }

    fn order(&self, key: &OrderKey) -> Option<&Order> {
        self.orders.get(&(key.marketplace_id, key.external_id.clone()))
    }

    pub fn products(&self) -> Vec<ProductId> {
        self.lines.iter().filter_map(|line| line.product_id).collect()
    }

    /// Whether any line waits for its mapping.
    pub fn has_waiting(&self) -> bool {
        self.lines.iter().any(|line| line.product_id.is_none())
    }

    /// Remembers what a fact says of the order as a whole. Its status follows from its lines, see [`Book::flush`].
    pub fn note(&mut self, key: &OrderKey, cancel_all: bool, at: Option<Timestamp>) {
        let Some(order) = self.orders.get_mut(&(key.marketplace_id, key.external_id.clone())) else { return };
        if cancel_all && !order.cancel_all {
            order.cancel_all = true;
            order.changed = true;
        }
        let newer = at.is_some_and(|at| order.source_updated_at.is_none_or(|known| at > known));
        if newer {
            order.source_updated_at = at;
            order.changed = true;
        }
    }

    /// Whether this transaction is the first to hear of it.
    pub fn is_new(&self, key: &OrderKey) -> bool {
        self.order(key).is_some_and(|order| order.new)
    }

    pub fn cancels_all(&self, key: &OrderKey) -> bool {
        self.order(key).is_some_and(|order| order.cancel_all)
    }

    pub fn all_lines(&self, key: &OrderKey) -> Vec<LinePlace> {
        self.order(key).map_or(Vec::new(), |order| order.lines.iter().copied().map(LinePlace).collect())
    }

    /// The components of one line.
    pub fn lines(&self, key: &OrderKey, line_key: &str) -> Vec<LinePlace> {
        self.all_lines(key).into_iter().filter(|place| self.lines[place.0].line_key == line_key).collect()
    }

    pub fn row(&self, place: LinePlace) -> &LineRow {
        &self.lines[place.0]
    }

    pub fn state(&self, place: LinePlace) -> LineState {
        let row = self.row(place);
        LineState {
            ordered: row.ordered,
            stated: row.stated_at.zip(row.stated_total).map(|(at, total)| Stated { at, total }),
            cancelled: row.cancelled,
            shipped: row.shipped,
            returned: row.returned,
            returned_unsellable: row.returned_unsellable,
        }
    }

    pub fn set_state(&mut self, place: LinePlace, state: &LineState) {
        if self.state(place) == *state {
            return;
        }
        let row = &mut self.lines[place.0];
        row.ordered = state.ordered;
        row.stated_total = state.stated.map(|s| s.total);
        row.stated_at = state.stated.map(|s| s.at);
        row.cancelled = state.cancelled;
        row.shipped = state.shipped;
        row.returned = state.returned;
        row.returned_unsellable = state.returned_unsellable;
        self.changed[place.0] = true;
    }

    pub fn posted(&mut self, place: LinePlace, posting: Posting, location: LocationId) {
        let row = &mut self.lines[place.0];
        row.posted_on_hand = posting.on_hand;
        row.posted_committed = posting.committed;
        row.posted_unsellable = posting.unsellable;
        row.posting += 1;
        row.location_id = Some(location);
        self.changed[place.0] = true;
    }

    /// Makes sure a line exists whose listing is not known; what is said of it is kept until it is.
    pub fn unmapped_line(&mut self, tx: &Tx<'_>, key: &OrderKey, fact: &LineFact, at: Timestamp) {
        if let Some(place) = self.lines(key, &fact.line_key).first() {
            self.age_waiting(*place, fact, at);
            return;
        }
        let Some(order) = self.order(key).map(|order| order.id) else { return };
        let mut line = blank(tx, order, &fact.line_key);
        line.external_product = fact.item.external_product();
        line.external_sku = fact.item.sku.clone();
        line.occurred_at = Some(at);
        self.add_line(&(key.marketplace_id, key.external_id.clone()), line, true);
    }

    /// A waiting line is as old as the oldest fact of it, and learns how its item is named from whichever fact says so.
    fn age_waiting(&mut self, place: LinePlace, fact: &LineFact, at: Timestamp) {
        let row = &mut self.lines[place.0];
        if row.product_id.is_some() {
            return;
        }
        let before = (row.occurred_at, row.external_product.is_some(), row.external_sku.is_some());
        row.occurred_at = Some(row.occurred_at.map_or(at, |known| known.min(at)));
        row.external_product = row.external_product.take().or_else(|| fact.item.external_product());
        row.external_sku = row.external_sku.take().or_else(|| fact.item.sku.clone());
        self.changed[place.0] |= before != (row.occurred_at, row.external_product.is_some(), row.external_sku.is_some());
    }

    /// Since when a line has waited for its mapping, if it has.
    pub fn waiting_since(&self, key: &OrderKey, line_key: &str) -> Option<Timestamp> {
        let known = self.lines(key, line_key);
        if known.iter().any(|place| self.row(*place).product_id.is_some()) {
            return None;
        }
        known.first().and_then(|place| self.row(*place).occurred_at)
    }

    /// Counts this much as posted without a movement: it happened before the product was counted, and is in the count.
    pub fn historic(&mut self, place: LinePlace, implied: Posting) {
        let row = &mut self.lines[place.0];
        row.historic_on_hand += implied.on_hand - row.posted_on_hand;
        row.historic_unsellable += implied.unsellable - row.posted_unsellable;
        row.posted_on_hand = implied.on_hand;
        row.posted_unsellable = implied.unsellable;
        self.changed[place.0] = true;
    }

    pub fn is_historic(&self, place: LinePlace) -> bool {
        let row = self.row(place);
        row.historic_on_hand != 0 || row.historic_unsellable != 0
    }

    /// What was only recorded is to be posted after all.
    pub fn forget_history(&mut self, place: LinePlace) {
        let row = &mut self.lines[place.0];
        row.posted_on_hand -= row.historic_on_hand;
        row.posted_unsellable -= row.historic_unsellable;
        row.historic_on_hand = 0;
        row.historic_unsellable = 0;
        self.changed[place.0] = true;
    }

    /// A line that a person typed in for a marketplace's order is the one its own fact speaks of, whatever the fact calls it.
    pub fn adopt(&mut self, key: &OrderKey, line_key: &str, listing: ListingId) {
        if !self.lines(key, line_key).is_empty() {
            return;
        }
        let typed = |row: &LineRow| row.line_key.starts_with(TYPED) && row.listing_id == Some(listing);
        if let Some(place) = self.all_lines(key).into_iter().find(|place| typed(self.row(*place))) {
            self.lines[place.0].line_key = line_key.to_owned();
            self.changed[place.0] = true;
        }
    }

    /// Makes sure a line exists, one row per part of its listing, with price and cost as they are now.
    #[expect(clippy::too_many_arguments, reason = "a line is what all of these say together")]
    pub fn map_line(
        &mut self,
        tx: &Tx<'_>,
        key: &OrderKey,
        fact: &LineFact,
        listing: ListingId,
        parts: &[(ProductId, i64)],
        working: &Working,
        priced: Priced<'_>,
    ) {
        let known = self.lines(key, &fact.line_key);
        if known.iter().any(|place| self.row(*place).product_id.is_some()) {
            return;
        }
        let Some(order) = self.order(key).map(|order| order.id) else { return };
        // A line that waited unmapped carries its state over to every part.
        let waiting = known.first().map(|place| self.state(*place));
        for (component, (product, units)) in parts.iter().enumerate() {
            let mut line = match known.first().filter(|_| component == 0) {
                Some(place) => self.row(*place).clone(),
                None => blank(tx, order, &fact.line_key),
            };
            line.component = component as i64;
            line.external_product = fact.item.external_product().or(line.external_product);
            line.external_sku = fact.item.sku.clone().or(line.external_sku);
            line.occurred_at = fact.update.at.or(line.occurred_at);
            self.fill(&mut line, listing, *product, *units, working, &priced);
            match known.first().filter(|_| component == 0) {
                Some(place) => {
                    self.lines[place.0] = line;
                    self.changed[place.0] = true;
                }
                None => {
                    let place = LinePlace(self.lines.len());
                    self.add_line(&(key.marketplace_id, key.external_id.clone()), line, true);
                    if let Some(state) = &waiting {
                        self.set_state(place, state);
                    }
                }
            }
        }
    }

    /// The line of one delta, priced from the listing.
    #[expect(clippy::too_many_arguments, reason = "a line is what all of these say together")]
    pub fn delta_line(
        &mut self,
        tx: &Tx<'_>,
        key: &OrderKey,
        listing: ListingId,
        state: &LineState,
        parts: &[(ProductId, i64)],
        working: &Working,
        currency: Option<&str>,
    ) {
        let Some(order) = self.order(key).map(|order| order.id) else { return };
        for (component, (product, units)) in parts.iter().enumerate() {
            let mut line = blank(tx, order, "1");
            line.component = component as i64;
            line.occurred_at = key.placed_at;
            self.fill(&mut line, listing, *product, *units, working, &Priced { text: None, currency });
            let place = LinePlace(self.lines.len());
            self.add_line(&(key.marketplace_id, key.external_id.clone()), line, true);
            self.set_state(place, state);
        }
    }

    fn fill(
        &self,
        line: &mut LineRow,
        listing: ListingId,
        product: ProductId,
        units: i64,
        working: &Working,
        priced: &Priced<'_>,
    ) {
        line.listing_id = Some(listing);
        line.product_id = Some(product);
        line.units = units;
        let row = working.listings.get(&listing).map(|l| &l.row);
        let product = working.product(product);
        let of_product = product.and_then(|p| p.currency.as_deref());
        let currency = priced.currency.or(row.and_then(|l| l.currency.as_deref())).or(of_product);
        line.currency = currency.map(str::to_owned);
        let said = priced.text.zip(currency).and_then(|(text, code)| Money::parse(text, Currency::parse(code).ok()?).ok());
        let listed = row.filter(|l| l.currency.as_deref() == currency).and_then(|l| l.marketplace_price);
        let own = product.filter(|_| of_product == currency);
        line.price_minor = said.map(|money| money.minor).or(listed).or(own.and_then(|p| p.price_minor));
        line.cost_price_minor = own.and_then(|p| p.cost_price_minor);
    }

    /// A line of our own making: the product is known, its listing need not exist.
    pub fn own_line(&mut self, key: (MarketplaceId, &str), line: LineRow) -> Option<LinePlace> {
        let place = LinePlace(self.lines.len());
        self.add_line(&(key.0, key.1.to_owned()), line, true);
        (self.lines.len() > place.0).then_some(place)
    }

    pub fn order_id(&self, marketplace_id: MarketplaceId, external_id: &str) -> Option<OrderId> {
        self.orders.get(&(marketplace_id, external_id.to_owned())).map(|order| order.id)
    }

    fn derive_statuses(&mut self) {
        let statuses: Vec<&'static str> = self
            .orders
            .values()
            .map(|order| {
                let firsts = order.lines.iter().filter(|line| self.lines[**line].component == 0);
                let states: Vec<LineState> = firsts.map(|line| self.state(LinePlace(*line))).collect();
                order_status(&states, order.cancel_all).as_str()
            })
            .collect();
        for (order, status) in self.orders.values_mut().zip(statuses) {
            if order.status != status {
                order.status = status.to_owned();
                order.changed = true;
            }
        }
    }

    /// Writes every line and order that changed.
    pub async fn flush(mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        self.derive_statuses();
        let changed: Vec<LineRow> =
            self.lines.into_iter().zip(self.changed).filter(|(_, changed)| *changed).map(|(line, _)| line).collect();
        if !changed.is_empty() {
            orders::upsert_lines(&mut tx.conn, &changed, tx.now).await?;
        }
        let updates: Vec<OrderUpdate> = self
            .orders
            .into_values()
            .filter(|order| order.changed)
            .map(|o| OrderUpdate { id: o.id, status: o.status, cancel_all: o.cancel_all, source_updated_at: o.source_updated_at })
            .collect();
        if updates.is_empty() { Ok(()) } else { orders::update(&mut tx.conn, &updates, tx.now).await }
    }
}

/// How the lines of an order are called that a person typed in for a marketplace that names its lines itself.
pub const TYPED: &str = "typed:";

/// A line nothing is known of yet.
pub fn blank(tx: &Tx<'_>, order_id: OrderId, line_key: &str) -> LineRow {
    LineRow {
        id: tx.id(),
        order_id,
        line_key: line_key.to_owned(),
        component: 0,
        external_product: None,
        external_sku: None,
        listing_id: None,
        product_id: None,
        location_id: None,
        units: 1,
        ordered: None,
        stated_total: None,
        stated_at: None,
        cancelled: 0,
        shipped: 0,
        returned: 0,
        returned_unsellable: 0,
        posted_on_hand: 0,
        posted_committed: 0,
        posted_unsellable: 0,
        posting: 0,
        historic_on_hand: 0,
        historic_unsellable: 0,
        price_minor: None,
        cost_price_minor: None,
        currency: None,
        occurred_at: None,
    }
}
