//! Logged facts → stock. Effect = implied − posted, per order line; whatever comes twice, late or shuffled ends the same.
//!
//! A whole group of facts is worked through with one load and one flush. What only this file knows: which feed moves stock, how
//! an order's lines become postings, and what a fact tells us about the number its own marketplace shows.

mod lines;

use std::collections::{BTreeSet, HashMap};

use super::Tx;
use super::log::Logged;
use super::orders_book::{Book, OrderKey};
use super::working::{Cause, Working};
use crate::db::alerts::{self, NewAlert};
use crate::db::listings::{self, ItemQuery};
use crate::db::webhooks::{self, PendingWebhook, WebhookResult};
use crate::db::{self, DbError};
use crate::domain::fact::{Fact, Item, OrderFact, StockDelta, StockObservation};
use crate::domain::ids::{ListingId, MovementId, ProductId};
use crate::domain::listing::{OwnChange, PushWindow, expected_after};
use crate::domain::retry;
use crate::domain::time::Timestamp;
use crate::marketplaces::{Connection, StockFeed, Verdict};

/// Applies a group of new log rows and writes down what became of each.
pub(super) async fn logged(tx: &mut Tx<'_>, list: Vec<Logged>) -> Result<(), DbError> {
    if list.is_empty() {
        return Ok(());
    }
    let results = facts(tx, &list).await?;
    webhooks::settle(&mut tx.conn, &results, tx.now).await
}

/// The same for one row, which may be poison: its failure is written down, and the log keeps it for another try.
pub(super) async fn one_by_itself(tx: &mut Tx<'_>, list: Vec<Logged>) -> Result<(), DbError> {
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
    let PendingWebhook { id, event_key, created_at: received_at, retry_count, .. } = row;
    let settled = |status, error_code, error_message| WebhookResult {
        id,
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
    let reading = super::normalise::again(&connection, &event_key, &row.payload, tx.kit.limits.json);
    match reading.verdict {
        Verdict::Facts(facts) => Ok(Logged { id, connection, event_key, source: "webhook", facts, received_at, retry_count }),
        Verdict::Ignored => Err(settled("ignored", None, None)),
        Verdict::Failed(error) => Err(settled("failed", Some(error.code), Some(error.message))),
    }
}

/// What became of one log row so far.
#[derive(Default)]
struct Outcome {
    movements: Vec<MovementId>,
    unmapped: Vec<String>,
    failed: Option<String>,
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
                Fact::Observation(seen) => applying.observation(tx, (row, index), seen, &mut outcome),
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
        (Some(message), _) => ("failed", Some("not-postable"), Some(message.clone())),
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
        status,
        error_code,
        error_message,
        effect: Some(effect.to_string()),
        failed_attempts: 0,
        next_attempt_at: None,
    }
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
    for logged in list {
        for fact in &logged.facts {
            match fact {
                Fact::Order(order) if orders_move(&logged.connection) => {
                    keys.push(OrderKey::of_order(&logged.connection, &order.order_id, logged.source, order.at));
                }
                Fact::Delta(delta) if delta_moves(&logged.connection, delta) => {
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
    let working = Working::of_products(tx, products).await?;
    Ok(Applying { working, book, resolved, alerts: Vec::new() })
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
                product_id: item.product_id.as_deref(),
                sku: item.sku.as_deref(),
            });
        }
    }
    let found = listings::resolve(&mut tx.conn, &queries).await?;
    let judged = places.iter().enumerate().map(|(n, place)| {
        let ways = found.iter().filter(|f| f.item == n as i64).map(|f| (f.way, f.listing_id));
        (*place, judge(ways.collect()))
    });
    Ok(judged.collect())
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
        let key = OrderKey::of_order(&logged.connection, &fact.order_id, logged.source, fact.at);
        self.book.note(&key, fact.cancel_all, fact.at, fact.status);
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
        self.observe(listing, delta.current, delta.at, tx.now);
        if !delta_moves(&logged.connection, delta) {
            outcome.note = Some("observed only: not a sale, a cancel or a return of the feed that moves stock");
            return Ok(());
        }
        self.check_gap(tx, logged, listing, delta);
        self.delta_line(tx, logged, listing, delta, outcome).await
    }

    fn observation(&mut self, tx: &Tx<'_>, at: (usize, usize), seen: &StockObservation, outcome: &mut Outcome) {
        match self.resolved.get(&(at.0, at.1, 0)) {
            Some(Resolution::Listing(listing)) => self.observe(*listing, seen.quantity, seen.at, tx.now),
            _ => outcome.unmapped.push(seen.item.name().to_owned()),
        }
    }

    /// A number the marketplace reports about itself. Never a command; older ones than the last are dropped.
    fn observe(&mut self, listing: ListingId, quantity: i64, at: Option<Timestamp>, now: Timestamp) {
        let Some(listing) = self.working.listings.get_mut(&listing) else { return };
        let last = listing.row.observed_sequence.as_deref().and_then(|text| text.parse::<i64>().ok());
        if let (Some(at), Some(last)) = (at, last)
            && at.micros() < last
        {
            return;
        }
        listing.row.marketplace_stock = Some(quantity);
        listing.row.stock_last_synced_at = Some(now);
        if let Some(at) = at {
            listing.row.observed_sequence = Some(at.micros().to_string());
        }
        listing.changed = true;
    }

    /// Its number before this change is not the one we believed: something was missed. What we believe is unknown from here, so
    /// it is told again at once (the hub's number wins).
    fn check_gap(&mut self, tx: &Tx<'_>, logged: &Logged, id: ListingId, delta: &StockDelta) {
        let Some(listing) = self.working.listings.get_mut(&id) else { return };
        let Some(expected) = listing.row.expected.filter(|expected| *expected != delta.previous) else { return };
        tx.kit.metrics.gaps.inc();
        listing.row.expected = None;
        listing.changed = true;
        if listing.row.gap_since.is_none() {
            listing.row.gap_since = Some(tx.now);
            let code = &logged.connection.code;
            let name = delta.item.name();
            let message =
                format!("{code}: {name} went from {} where {expected} was expected; it is told our number again", delta.previous);
            self.alerts.push(NewAlert {
                id: tx.id(),
                kind: "listing-gap",
                severity: "info",
                dedup_key: format!("listing-gap:{id}"),
                product_id: None,
                marketplace_id: Some(logged.connection.id),
                message,
            });
        }
    }

    /// What a fact tells about the number its own marketplace shows now.
    fn expect(&mut self, connection: &Connection, listing: ListingId, own: OwnChange, at: Option<Timestamp>) {
        let Some(listing) = self.working.listings.get_mut(&listing) else { return };
        let window = PushWindow {
            sent_at: listing.row.sent_at,
            acked_at: listing.row.acked_at,
            in_flight: listing.row.push_state == "in_flight",
        };
        let position = window.position(at, connection.policy.clock_tolerance);
        let expected = expected_after(listing.row.expected, own, position);
        if expected != listing.row.expected {
            listing.row.expected = expected;
            listing.changed = true;
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
