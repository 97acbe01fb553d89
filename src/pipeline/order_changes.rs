//! What people do to an order that stands: cancel, take back, ship. The same join and the same difference as with facts from
//! outside, so that a cancel typed in here and the marketplace's own message of it give the stock back once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::orders::{Placed, placed};
use super::orders_book::{Book, LinePlace, OrderKey};
use super::posting::{self, LinePosting};
use super::working::{Cause, Working};
use super::writer::Command;
use super::{CommandError, Tx};
use crate::db::DbError;
use crate::db::orders::{self, OrderRow};
use crate::domain::ids::{OrderId, ProductId};
use crate::domain::order::{self, Fulfilment, LineState, LineUpdate};
use crate::domain::quantity::Quantity;
use crate::marketplaces::{Connection, Kind};

/// Which units, all numbers so far and not in addition.
#[derive(Clone, Debug)]
pub enum Which {
    All,
    Lines(Vec<LineQuantity>),
}

#[derive(Clone, Debug)]
pub struct LineQuantity {
    pub line: String,
    pub quantity: Quantity,
}

#[derive(Clone, Debug)]
pub enum OrderChange {
    Cancel(Which),
    Return {
        lines: Vec<LineQuantity>,
        /// Whether they can be sold again.
        sellable: bool,
    },
    Ship(Which),
}

pub struct ChangeOrder {
    pub id: OrderId,
    pub change: OrderChange,
    pub actor: String,
    /// The storefront may only touch its own.
    pub store_only: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("unknown order")]
    UnknownOrder,
    /// Index in the request's lines.
    #[error("unknown line")]
    UnknownLine(usize),
    #[error("at most {most}")]
    TooMany { index: usize, most: i64 },
    #[error("it is shipped")]
    Shipped,
    #[error("the stock cannot move that way: {0}")]
    NotPostable(String),
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for ChangeError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

impl Command for ChangeOrder {
    type Output = Placed;
    type Error = ChangeError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Placed, ChangeError> {
        let row = orders::lock_by_id(&mut tx.conn, self.id).await?.ok_or(ChangeError::UnknownOrder)?;
        let mut opened = Opened::new(tx, row, &self.actor).await?;
        if self.store_only && !opened.connection.as_ref().is_some_and(|connection| connection.is_storefront()) {
            return Err(ChangeError::UnknownOrder);
        }
        let returned = matches!(self.change, OrderChange::Return { .. });
        for (place, update) in self.updates(&mut opened)? {
            let state = order::merge(&opened.book.state(place), &update);
            opened.book.set_state(place, &state);
            opened.post(tx, place, state, returned).await?;
        }
        opened.flush(tx).await?;
        Ok(placed_again(tx, self.id).await?)
    }
}

async fn placed_again(tx: &mut Tx<'_>, id: OrderId) -> Result<Placed, DbError> {
    placed(tx, id, true).await.map_err(|error| match error {
        super::orders::OrderError::Database(error) => error,
        other => DbError::inconsistent("orders", "id", other.to_string()),
    })
}

impl ChangeOrder {
    /// What each touched line is told.
    fn updates(&self, opened: &mut Opened) -> Result<Vec<(LinePlace, LineUpdate)>, ChangeError> {
        let whole = LineUpdate::default;
        match &self.change {
            OrderChange::Cancel(Which::All) => {
                let places = opened.book.all_lines(&opened.key);
                let open = |state: &LineState| state.ordered.is_none_or(|ordered| ordered > state.shipped);
                if !places.is_empty() && !places.iter().any(|place| open(&opened.book.state(*place))) {
                    return Err(ChangeError::Shipped);
                }
                opened.book.note(&opened.key, true, None);
                Ok(places.into_iter().map(|place| (place, LineUpdate { cancel_all: true, ..whole() })).collect())
            }
            OrderChange::Ship(Which::All) => {
                let places = opened.book.all_lines(&opened.key);
                let all = |place: LinePlace| {
                    let state = opened.book.state(place);
                    let kept = state.ordered.unwrap_or(0) - state.cancelled_units();
                    (place, LineUpdate { shipped: Quantity::parse(kept.max(0)).ok(), ..whole() })
                };
                Ok(places.into_iter().map(all).collect())
            }
            OrderChange::Cancel(Which::Lines(lines)) => {
                let most = |state: &LineState| state.ordered.map_or(i64::MAX, |ordered| (ordered - state.shipped).max(0));
                named(opened, lines, most, |quantity| LineUpdate { cancelled: Some(quantity), ..whole() })
            }
            OrderChange::Ship(Which::Lines(lines)) => {
                let most = |state: &LineState| (state.ordered.unwrap_or(0) - state.cancelled_units()).max(state.shipped);
                named(opened, lines, most, |quantity| LineUpdate { shipped: Some(quantity), ..whole() })
            }
            OrderChange::Return { lines, sellable: true } => {
                let most = |state: &LineState| state.sold_units() - state.returned_unsellable;
                named(opened, lines, most, |quantity| LineUpdate { returned: Some(quantity), ..whole() })
            }
            OrderChange::Return { lines, sellable: false } => {
                let most = |state: &LineState| state.sold_units() - state.returned;
                named(opened, lines, most, |quantity| LineUpdate { returned_unsellable: Some(quantity), ..whole() })
            }
        }
    }
}

/// The places of the named lines, a bundle's parts together; each may be told at most so much.
fn named(
    opened: &Opened,
    lines: &[LineQuantity],
    most: impl Fn(&LineState) -> i64,
    update: impl Fn(Quantity) -> LineUpdate,
) -> Result<Vec<(LinePlace, LineUpdate)>, ChangeError> {
    let mut updates = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let places = opened.book.lines(&opened.key, &line.line);
        if places.is_empty() {
            return Err(ChangeError::UnknownLine(index));
        }
        for place in places {
            let most = most(&opened.book.state(place));
            if line.quantity.get() > most {
                return Err(ChangeError::TooMany { index, most });
            }
            updates.push((place, update(line.quantity)));
        }
    }
    Ok(updates)
}

/// A standing order with all it touches, ready for its lines to be posted.
pub(super) struct Opened {
    pub id: OrderId,
    pub key: OrderKey,
    pub book: Book,
    pub working: Working,
    /// `None` where the marketplace is no longer declared; its orders are still there.
    pub connection: Option<Arc<Connection>>,
    actor: String,
}

impl Opened {
    pub(super) async fn new(tx: &mut Tx<'_>, row: OrderRow, actor: &str) -> Result<Self, DbError> {
        let (id, key) = (row.id, OrderKey::of_known(&row, actor));
        let connection = tx.kit.registry.by_id(row.marketplace_id);
        let book = Book::of_known(tx, row).await?;
        let products: BTreeSet<ProductId> = book.products().into_iter().collect();
        let working = Working::of_products(tx, products).await?;
        Ok(Self { id, key, book, working, connection, actor: actor.to_owned() })
    }

    /// Posts what the line implies by now; one without a product waits.
    pub(super) async fn post(
        &mut self,
        tx: &mut Tx<'_>,
        place: LinePlace,
        state: LineState,
        returned: bool,
    ) -> Result<(), ChangeError> {
        let row = self.book.row(place).clone();
        let Some(product) = row.product_id else { return Ok(()) };
        let locations = self.connection.as_ref().map_or(&[][..], |connection| &connection.locations);
        let chosen = row.location_id.or_else(|| self.working.choose_location(product, row.units * state.sold_units(), locations));
        let nowhere = || ChangeError::NotPostable("the line has no location: its marketplace is not declared any more".into());
        let location = chosen.ok_or_else(nowhere)?;
        self.working.ensure_level(tx, (product, location)).await?;
        let policy = self.connection.as_ref().map_or(Fulfilment::Instant, |connection| connection.policy.fulfilment);
        let by_marketplace = self.connection.as_ref().is_some_and(|c| matches!(c.kind, Kind::Api | Kind::Polling));
        let line = LinePosting {
            place,
            location,
            state,
            fulfilment: if self.book.is_historic(place) { Fulfilment::Instant } else { policy },
            sale_type: if by_marketplace { "marketplace_sale" } else { "sale" },
            returned,
            historic: false,
        };
        let cause = self.cause(tx);
        posting::post_line(tx, &mut self.working, &mut self.book, line, cause)
            .map(drop)
            .map_err(|error| ChangeError::NotPostable(error.to_string()))
    }

    fn cause(&self, tx: &Tx<'_>) -> Cause {
        Cause {
            movement_type: "",
            change_type: "",
            marketplace_id: Some(self.key.marketplace_id()),
            order_id: Some(self.id),
            line_id: None,
            webhook_id: None,
            reference_type: Some("order"),
            reference_id: Some(self.key.external_id().to_owned()),
            actor: self.actor.clone(),
            reason: None,
            note: None,
            source_key: String::new(),
            occurred_at: tx.now,
        }
    }

    pub(super) async fn flush(self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        self.book.flush(tx).await?;
        self.working.flush(tx).await
    }
}
