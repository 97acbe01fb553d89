//! Logged facts → stock. Effect = implied − posted, per order line; whatever comes twice, late or shuffled ends the same.
//!
//! A whole group of facts is worked through with one load and one flush. What only this file knows: which feed moves stock, how
//! an order's lines become postings, and what a fact tells us about the number its own marketplace shows.

mod absolute;
pub(crate) mod gap;
mod lines;
mod observed;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::absolute::Seen;
use super::Tx;
use super::log::{self, Logged};
use super::orders_book::{Book, OrderKey};
use super::posting::LineError;
use super::working::{Cause, Working};
use crate::breakage::{self, Breakage};
use crate::db::alerts::{self, NewAlert};
use crate::db::history;
use crate::db::listings::{self, ItemQuery, ListingRow, RefQuery};
use crate::db::webhooks::{self, PendingWebhook, WebhookResult};
use crate::db::{self, DbError};
use crate::domain::fact::{Fact, Item, OrderFact, StockDelta, StockObservation};
use crate::domain::ids::{ListingId, MovementId, ProductId};
use crate::domain::listing::{OwnChange, Position, PushWindow, expected_after};
use crate::domain::retry;
use crate::domain::time::Timestamp;
use crate::marketplaces::{Connection, Door, Incoming, StockFeed, Verdict};

/// Applies a group of new log rows and writes down what became of each.
pub(crate) async fn logged(tx: &mut Tx<'_>, list: Vec<Logged>) -> Result<(), DbError> {
    if list.is_empty() {
        return Ok(());
    }
    let results = facts(tx, &list).await?;
    if breakage::is(Breakage::ApplyTwice) {
        let again = list.into_iter().map(|one| Logged { event_key: breakage::never_again(one.event_key), ..one });
        facts(tx, &again.collect::<Vec<_>>()).await?;
    }
    webhooks::settle(&mut tx.conn, &results, tx.now).await
}

/// The same for one row, which may be poison: its failure is written down, and the log keeps it for another try.
pub(crate) async fn one_by_itself(tx: &mut Tx<'_>, list: Vec<Logged>) -> Result<(), DbError> {
    let [one] = &list[..] else { return logged(tx, list).await };
    let (id, retry_count) = (one.id, one.retry_count);
    db::savepoint(&mut tx.conn).await?;
    match logged(tx, list).await {
        Ok(()) => db::release_savepoint(&mut tx.conn).await,
        Err(error) if error.is_transient() => Err(error),
        Err(error) => {
            tracing::error!(webhook.id = %id, %error, "a webhook could not be applied; it stays in the log");
            tx.effects = super::Effects::default();
            db::rollback_to_savepoint(&mut tx.conn).await?;
            let result = after_failure(tx, id, retry_count, &error);
            webhooks::settle(&mut tx.conn, &[result], tx.now).await
        }
    }
}

fn after_failure(tx: &Tx<'_>, id: crate::domain::ids::WebhookId, retry_count: i64, error: &DbError) -> WebhookResult {
    let limits = &tx.kit.limits;
    let attempt = u32::try_from(retry_count + 1).unwrap_or(u32::MAX);
    let again = attempt < limits.attempts_max;
    let wait = retry::delay(attempt, limits.retry_base, limits.retry_cap, None, tx.kit.chance.unit());
    WebhookResult {
        id,
        fresh: false,
        status: if again { "retry" } else { "failed" },
        error_code: Some("not-applied"),
        error_message: Some(error.to_string()),
        effect: None,
        failed_attempts: 1,
        next_attempt_at: again.then(|| tx.now.plus(wait)),
    }
}

/// Rows of the log that wait for another try, or for a mapping that has appeared.
pub struct ApplyDue {
    pub limit: i64,
}

impl super::writer::Command for ApplyDue {
    /// How many were due.
    type Output = usize;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<usize, DbError> {
        let due = webhooks::due(&mut tx.conn, tx.now, self.limit).await?;
        let count = due.len();
        for row in due {
            match read_again(tx, row) {
                Ok(one) => one_by_itself(tx, vec![one]).await?,
                Err(result) => webhooks::settle(&mut tx.conn, &[result], tx.now).await?,
            }
        }
        Ok(count)
    }
}

/// A logged row was verified when it came in; its bytes are read again by the adapter of today. What still cannot be used is
/// settled as that: it must neither count as done nor stay in line for ever.
fn read_again(tx: &Tx<'_>, row: PendingWebhook) -> Result<Logged, WebhookResult> {
    let PendingWebhook { id, event_key, created_at: received_at, retry_count, initial, .. } = row;
    let (source, parked) = (source(&row.source), row.error_code.as_deref() == Some("unmapped"));
    let settled = |status, error_code, error_message| WebhookResult {
        id,
        fresh: false,
        status,
        error_code,
        error_message,
        effect: None,
        failed_attempts: 0,
        next_attempt_at: None,
    };
    let Some(connection) = tx.kit.registry.by_id(row.marketplace_id) else {
        return Err(settled("failed", Some("not-served"), Some("its marketplace is not declared any more".to_owned())));
    };
    let door = if source == "poll" { Door::Poll } else { Door::Webhook };
    let incoming = Incoming { body: &row.payload, headers: &row.headers, door, limits: tx.kit.limits.json };
    let reading = super::normalise::again(&connection, &event_key, incoming);
    match reading.verdict {
        Verdict::Facts(facts) => {
            let fresh = false;
            Ok(Logged { id, connection, event_key, source, facts, received_at, retry_count, fresh, parked, initial })
        }
        Verdict::Ignored => Err(settled("ignored", None, None)),
        // Waits again, for who fetches orders.
        Verdict::Hint { .. } if log::can_be_followed(&connection) => Err(settled("retry", Some(log::HINT), None)),
        Verdict::Hint { .. } => Err(settled("failed", Some("hint-only"), Some(log::NOT_FOLLOWED.into()))),
        Verdict::Failed(error) => Err(settled("failed", Some(error.code), Some(error.message))),
    }
}

/// The items of a logged row that lead nowhere, each with its order's id where it has one.
pub(super) async fn waiting_items(tx: &mut Tx<'_>, row: PendingWebhook) -> Result<Vec<(Item, Option<String>)>, DbError> {
    let Ok(logged) = read_again(tx, row) else { return Ok(Vec::new()) };
    let list = [logged];
    let resolved = resolve(tx, &list).await?;
    let nowhere = |index: usize, n: usize| resolved.get(&(0, index, n)).is_none_or(|r| *r == Resolution::Unmapped);
    let mut items = Vec::new();
    for (index, fact) in list[0].facts.iter().enumerate() {
        match fact {
            Fact::Order(order) => {
                let waiting = order.lines.iter().enumerate().filter(|(n, _)| nowhere(index, *n));
                items.extend(waiting.map(|(_, line)| (line.item.clone(), Some(order.order_id.clone()))));
            }
            Fact::Delta(delta) if nowhere(index, 0) => items.push((delta.item.clone(), None)),
            Fact::Observation(seen) if nowhere(index, 0) => items.push((seen.item.clone(), None)),
            Fact::Delta(_) | Fact::Observation(_) => {}
        }
    }
    Ok(items)
}

fn source(text: &str) -> &'static str {
    ["poll", "import", "bus"].into_iter().find(|known| *known == text).unwrap_or("webhook")
}

/// What became of one log row so far.
#[derive(Default)]
struct Outcome {
    movements: Vec<MovementId>,
    unmapped: Vec<String>,
    failed: Option<LineError>,
    note: Option<&'static str>,
}

/// Where an item of a fact leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resolution {
    Listing(ListingId),
    Unmapped,
}

struct Applying {
    working: Working,
    book: Book,
    resolved: HashMap<(usize, usize, usize), Resolution>,
    /// When each product was counted last: what happened before is in that count.
    counted: HashMap<ProductId, Timestamp>,
    alerts: Vec<NewAlert>,
}

async fn facts(tx: &mut Tx<'_>, list: &[Logged]) -> Result<Vec<WebhookResult>, DbError> {
    let mut applying = load(tx, list).await?;
    let mut results = Vec::with_capacity(list.len());
    for (row, logged) in list.iter().enumerate() {
        let mut outcome = Outcome::default();
        for (index, fact) in logged.facts.iter().enumerate() {
            match fact {
                Fact::Order(order) => applying.order(tx, logged, (row, index), order, &mut outcome).await?,
                Fact::Delta(delta) => applying.delta(tx, logged, (row, index), delta, &mut outcome).await?,
                Fact::Observation(seen) => applying.observation(tx, logged, (row, index), seen, &mut outcome).await?,
            }
        }
        results.push(result(logged, outcome));
    }
    alerts::open_once(&mut tx.conn, &applying.alerts, tx.now).await?;
    applying.book.flush(tx).await?;
    applying.working.flush(tx).await?;
    Ok(results)
}

fn result(logged: &Logged, outcome: Outcome) -> WebhookResult {
    let (status, error_code, error_message) = match (&outcome.failed, &outcome.unmapped[..]) {
        (Some(error), _) => ("failed", Some(error.code()), Some(error.to_string())),
        (None, []) => ("processed", None, None),
        (None, names) => ("unmapped", Some("unmapped"), Some(format!("not mapped to a product: {}", names.join(", ")))),
    };
    let movements: Vec<String> = outcome.movements.iter().map(ToString::to_string).collect();
    let mut effect = serde_json::json!({ "movements": movements });
    if let Some(note) = outcome.note {
        effect["note"] = note.into();
    }
    WebhookResult {
        id: logged.id,
        fresh: logged.fresh,
        status,
        error_code,
        error_message,
        effect: Some(effect.to_string()),
        failed_attempts: 0,
        next_attempt_at: None,
    }
}

/// Where a fact lies relative to the latest push of its listing.
fn position(row: &ListingRow, connection: &Connection, at: Option<Timestamp>) -> Position {
    let window = PushWindow { sent_at: row.sent_at, acked_at: row.acked_at, in_flight: row.push_state == "in_flight" };
    window.position(at, connection.policy.clock_tolerance)
}

/// Whether an order fact of this connection moves stock.
fn orders_move(connection: &Connection) -> bool {
    connection.stock_feed == StockFeed::Orders
}

fn delta_moves(connection: &Connection, delta: &StockDelta) -> bool {
    connection.stock_feed == StockFeed::Delta && delta.reason.moves_stock()
}

async fn load(tx: &mut Tx<'_>, list: &[Logged]) -> Result<Applying, DbError> {
    let resolved = resolve(tx, list).await?;
    let mut keys: Vec<OrderKey> = Vec::new();
    for (row, logged) in list.iter().enumerate() {
        for (index, fact) in logged.facts.iter().enumerate() {
            let mapped = matches!(resolved.get(&(row, index, 0)), Some(Resolution::Listing(_)));
            match fact {
                Fact::Order(order) if orders_move(&logged.connection) => {
                    keys.push(
                        OrderKey::of_order(&logged.connection, &order.order_id, logged.source, order.at).ordered(order.placed_at),
                    );
                }
                // An order of somebody else's is kept whole until it is mapped; a change of stock has nothing but its own row.
                Fact::Delta(delta) if mapped && delta_moves(&logged.connection, delta) => {
                    keys.push(OrderKey::of_delta(&logged.connection, &logged.event_key, delta.at));
                }
                _ => {}
            }
        }
    }
    let book = Book::open(tx, keys).await?;
    let targets: BTreeSet<ListingId> =
        resolved.values().filter_map(|r| if let Resolution::Listing(id) = r { Some(*id) } else { None }).collect();
    let parts = listings::components(&mut tx.conn, targets).await?;
    let mut products: BTreeSet<ProductId> = parts.iter().map(|part| part.product_id).collect();
    products.extend(book.products());
    let counted = if book.has_waiting() || list.iter().any(|logged| logged.parked || logged.initial) {
        history::counted(&mut tx.conn, products.iter().copied()).await?
    } else {
        HashMap::new()
    };
    let working = Working::of_products(tx, products).await?;
    Ok(Applying { working, book, resolved, counted, alerts: Vec::new() })
}

/// Finds the listing of every item named, in one statement.
async fn resolve(tx: &mut Tx<'_>, list: &[Logged]) -> Result<HashMap<(usize, usize, usize), Resolution>, DbError> {
    let mut places = Vec::new();
    let mut queries = Vec::new();
    for (row, logged) in list.iter().enumerate() {
        let named = logged.facts.iter().enumerate().flat_map(|(index, fact)| {
            let items: Vec<&Item> = match fact {
                Fact::Order(order) => order.lines.iter().map(|line| &line.item).collect(),
                Fact::Delta(delta) => vec![&delta.item],
                Fact::Observation(seen) => vec![&seen.item],
            };
            items.into_iter().enumerate().map(move |(n, item)| ((row, index, n), item))
        });
        for (place, item) in named {
            places.push(place);
            queries.push(ItemQuery {
                marketplace_id: logged.connection.id,
                // The surest name is also what a listing without refs is called.
                product_id: item.product_id.as_deref().or(item.refs.first().map(|(_, value)| value.as_str())),
                sku: item.sku.as_deref(),
            });
        }
    }
    let by_refs = resolve_refs(tx, list, &places).await?;
    let found = listings::resolve(&mut tx.conn, &queries).await?;
    let mut ways = vec![Vec::new(); places.len()];
    for row in found {
        let of_item = usize::try_from(row.item).ok().and_then(|item| ways.get_mut(item));
        of_item.into_iter().for_each(|list| list.push((row.way, row.listing_id)));
    }
    let judged = places.into_iter().zip(ways).map(|(place, ways)| match by_refs.get(&place) {
        Some(resolution) => (place, *resolution),
        None => (place, judge(ways)),
    });
    Ok(judged.collect())
}

/// Where in a group an item stands: its row, its fact, its number in the fact.
type Place = (usize, usize, usize);

/// Items by the names their marketplace gives them. The first name that a listing bears decides; where several bear it, the other
/// names tell them apart, and where they do not, nobody guesses. An item of which no name is borne is not in the answer.
async fn resolve_refs(tx: &mut Tx<'_>, list: &[Logged], places: &[Place]) -> Result<HashMap<Place, Resolution>, DbError> {
    let mut queries = Vec::new();
    for (item, place) in places.iter().enumerate() {
        let Some((logged, named)) = list.get(place.0).and_then(|logged| Some((logged, item_at(logged, *place)?))) else {
            continue;
        };
        queries.extend(named.refs.iter().enumerate().map(|(n, (name, value))| RefQuery {
            marketplace_id: logged.connection.id,
            name,
            value,
            item,
            place: n,
        }));
    }
    let mut borne: BTreeMap<i64, BTreeMap<i64, BTreeSet<ListingId>>> = BTreeMap::new();
    for row in listings::resolve_refs(&mut tx.conn, &queries).await? {
        borne.entry(row.item).or_default().entry(row.place).or_default().insert(row.listing_id);
    }
    let resolved = borne.into_iter().filter_map(|(item, names)| {
        let place = usize::try_from(item).ok().and_then(|item| places.get(item))?;
        Some((*place, judge_refs(names.into_values())))
    });
    Ok(resolved.collect())
}

fn item_at(logged: &Logged, (_, fact, n): Place) -> Option<&Item> {
    match logged.facts.get(fact)? {
        Fact::Order(order) => order.lines.get(n).map(|line| &line.item),
        Fact::Delta(delta) => Some(&delta.item),
        Fact::Observation(seen) => Some(&seen.item),
    }
}

fn judge_refs(names: impl IntoIterator<Item = BTreeSet<ListingId>>) -> Resolution {
    let mut names = names.into_iter();
    let mut found = names.next().unwrap_or_default();
    for other in names {
        let both: BTreeSet<ListingId> = found.intersection(&other).copied().collect();
        if found.len() > 1 && !both.is_empty() {
            found = both;
        }
    }
    match (found.len(), found.first()) {
        (1, Some(id)) => Resolution::Listing(*id),
        _ => Resolution::Unmapped,
    }
}

/// By the marketplace's own id, then by SKU. Where the two name different listings, nobody guesses.
fn judge(ways: Vec<(i64, ListingId)>) -> Resolution {
    let by_id = ways.iter().find(|(way, _)| *way == 1).map(|(_, id)| *id);
    let by_sku: BTreeSet<ListingId> = match ways.iter().filter(|(way, _)| *way == 2).map(|(_, id)| *id).collect::<BTreeSet<_>>() {
        own if !own.is_empty() => own,
        _ => ways.iter().filter(|(way, _)| *way == 3).map(|(_, id)| *id).collect(),
    };
    match (by_id, by_sku.len()) {
        (Some(id), 0) => Resolution::Listing(id),
        (Some(id), _) if by_sku.contains(&id) => Resolution::Listing(id),
        (None, 1) => by_sku.first().map_or(Resolution::Unmapped, |id| Resolution::Listing(*id)),
        _ => Resolution::Unmapped,
    }
}

impl Applying {
    async fn order(
        &mut self,
        tx: &mut Tx<'_>,
        logged: &Logged,
        at: (usize, usize),
        fact: &OrderFact,
        outcome: &mut Outcome,
    ) -> Result<(), DbError> {
        if !orders_move(&logged.connection) {
            outcome.note = Some("observed only: another feed of this marketplace moves stock");
            return Ok(());
        }
        let key = OrderKey::of_order(&logged.connection, &fact.order_id, logged.source, fact.at).ordered(fact.placed_at);
        self.book.note(&key, fact.cancel_all, fact.at);
        for (n, line) in fact.lines.iter().enumerate() {
            let resolution = self.resolved.get(&(at.0, at.1, n)).copied().unwrap_or(Resolution::Unmapped);
            self.order_line(tx, logged, &key, line, resolution, outcome).await?;
        }
        if fact.cancel_all {
            self.cancel_rest(tx, logged, &key, fact.at, outcome).await?;
        }
        Ok(())
    }

    async fn delta(
        &mut self,
        tx: &mut Tx<'_>,
        logged: &Logged,
        at: (usize, usize),
        delta: &StockDelta,
        outcome: &mut Outcome,
    ) -> Result<(), DbError> {
        let Some(Resolution::Listing(listing)) = self.resolved.get(&(at.0, at.1, 0)).copied() else {
            outcome.unmapped.push(delta.item.name().to_owned());
            return Ok(());
        };
        if logged.connection.stock_feed == StockFeed::Absolute {
            let seen = Seen { item: &delta.item, quantity: delta.current, at: delta.at, sequence: None };
            return self.absolute(tx, logged, listing, &seen, outcome).await;
        }
        self.observe(listing, delta.current, delta.at, None, tx.now);
        if !delta_moves(&logged.connection, delta) {
            outcome.note = Some("observed only: not a sale, a cancel or a return of the feed that moves stock");
            return Ok(());
        }
        self.check_gap(tx, logged, listing, delta, outcome).await?;
        let key = OrderKey::of_delta(&logged.connection, &logged.event_key, delta.at);
        self.delta_line(tx, logged, key, listing, delta, outcome).await
    }

    async fn observation(
        &mut self,
        tx: &mut Tx<'_>,
        logged: &Logged,
        at: (usize, usize),
        fact: &StockObservation,
        outcome: &mut Outcome,
    ) -> Result<(), DbError> {
        let Some(Resolution::Listing(listing)) = self.resolved.get(&(at.0, at.1, 0)).copied() else {
            outcome.unmapped.push(fact.item.name().to_owned());
            return Ok(());
        };
        let seen = Seen { item: &fact.item, quantity: fact.quantity, at: fact.at, sequence: fact.sequence.as_deref() };
        if logged.connection.stock_feed == StockFeed::Absolute {
            return self.absolute(tx, logged, listing, &seen, outcome).await;
        }
        self.observe(listing, seen.quantity, seen.at, seen.sequence, tx.now);
        outcome.note = Some("observed only: another feed of this marketplace moves stock");
        Ok(())
    }

    /// A number the marketplace reports about itself. Never a command; older ones than the last are dropped.
    /// Gives whether it was taken.
    fn observe(
        &mut self,
        listing: ListingId,
        quantity: i64,
        at: Option<Timestamp>,
        sequence: Option<&str>,
        now: Timestamp,
    ) -> bool {
        let Some(listing) = self.working.listings.get_mut(&listing) else { return false };
        if listing.row.observed_sequence.as_deref().is_some_and(|last| observed::is_older(at, sequence, last)) {
            return false;
        }
        listing.row.marketplace_stock = Some(quantity);
        listing.row.stock_last_synced_at = Some(now);
        if let Some(mark) = observed::mark(at, sequence) {
            listing.row.observed_sequence = Some(mark);
        }
        listing.changed = true;
        true
    }

    /// What a fact tells about the number its own marketplace shows now. Its listings are then looked at again, also where no
    /// stock moves: a number that became unknown has to be confirmed.
    fn expect(&mut self, logged: &Logged, id: ListingId, own: OwnChange, at: Option<Timestamp>) {
        let Some(listing) = self.working.listings.get_mut(&id) else { return };
        let position = position(&listing.row, &logged.connection, at);
        let expected = expected_after(listing.row.expected, own, position);
        if expected == listing.row.expected {
            return;
        }
        listing.row.expected = expected;
        listing.changed = true;
        self.look_again(id, &Self::cause(logged, "", "api_sync", at));
    }

    fn look_again(&mut self, id: ListingId, cause: &Cause) {
        let parts = self.working.components.get(&id).cloned().unwrap_or_default();
        for (product, _) in parts {
            self.working.touch(product, cause.clone());
        }
    }

    fn cause(logged: &Logged, movement_type: &'static str, change_type: &'static str, at: Option<Timestamp>) -> Cause {
        Cause {
            movement_type,
            change_type,
            marketplace_id: Some(logged.connection.id),
            order_id: None,
            line_id: None,
            webhook_id: Some(logged.id),
            reference_type: None,
            reference_id: None,
            actor: format!("marketplace:{}", logged.connection.code),
            reason: None,
            note: None,
            source_key: String::new(),
            occurred_at: at.unwrap_or(logged.received_at),
        }
    }
}
