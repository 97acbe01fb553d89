//! The inbox of what could not be applied yet: mapping it to a product, and posting what was only recorded as history.

use super::apply::{self, ApplyDue};
use super::catalogue::{CatalogueError, CreateListing};
use super::order_changes::{ChangeError, Opened};
use super::writer::Command;
use super::{CommandError, Tx};
use crate::db::history::{self, LinePlaceRow};
use crate::db::listings::ListingView;
use crate::db::{DbError, orders, webhooks};
use crate::domain::fact::Item;
use crate::domain::ids::{LineId, MarketplaceId, WebhookId};
use crate::domain::rule::Rule;
use crate::domain::sku::Sku;
use uuid::Uuid;

/// Says which product a waiting line or delivery means; or, without a SKU, posts a recorded one after all.
pub struct MapUnmapped {
    /// A line's or a log row's.
    pub id: Uuid,
    pub sku: Option<Sku>,
    /// Pieces of the product in one unit of what is sold there.
    pub units: i64,
    /// Posts it even if it is older than the product's count.
    pub post: bool,
    pub actor: String,
}

pub struct Mapped {
    /// The new listing; none where only history was posted.
    pub listing: Option<ListingView>,
    /// Lines of it that were recorded without moving stock.
    pub historic: Vec<LineId>,
}

#[derive(Debug, thiserror::Error)]
pub enum MapError {
    #[error("nothing of that id waits")]
    Unknown,
    #[error("say which product it is")]
    NoSku,
    /// It was not named by anything a listing could be found by.
    #[error("it names neither a product nor a SKU")]
    Nameless,
    #[error("its marketplace is not declared any more")]
    NotDeclared,
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for MapError {
    fn database(&self) -> Option<&DbError> {
        match self {
            Self::Database(error) => Some(error),
            Self::Catalogue(error) => error.database(),
            Self::Change(error) => error.database(),
            _ => None,
        }
    }
}

/// Log rows tried again at once after a mapping; the rest follows by itself.
const APPLY_MAX: i64 = 64;

/// Where what waits will be found once it is applied.
struct Waiting {
    marketplace: MarketplaceId,
    item: Item,
    /// The order it belongs to, and the line where that is known.
    order: Option<(String, Option<String>)>,
}

impl Command for MapUnmapped {
    type Output = Mapped;
    type Error = MapError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<Mapped, MapError> {
        let line = history::line(&mut tx.conn, LineId::new(self.id)).await?;
        if let Some(line) = line.as_ref().filter(|line| line.product_id.is_some()) {
            return self.post_recorded(tx, line).await;
        }
        let waiting = match line {
            Some(line) => of_line(tx, line),
            None => self.of_webhook(tx).await?,
        };
        let sku = self.sku.clone().ok_or(MapError::NoSku)?;
        let listing = self.create(tx, sku, &waiting).await?;
        ApplyDue { limit: APPLY_MAX }.run(tx).await?;
        let historic = self.historic(tx, &waiting).await?;
        Ok(Mapped { listing: Some(listing), historic })
    }
}

fn of_line(tx: &Tx<'_>, line: LinePlaceRow) -> Waiting {
    let refs = tx.kit.registry.by_id(line.marketplace_id).map(|connection| connection.adapter.refs()).unwrap_or_default();
    let is_name = |name: &str| refs.required.contains(&name) || refs.optional.contains(&name);
    let item = Item::of_external(line.external_product, line.external_sku, is_name);
    Waiting { marketplace: line.marketplace_id, item, order: Some((line.external_id, Some(line.line_key))) }
}

impl MapUnmapped {
    async fn of_webhook(&self, tx: &mut Tx<'_>) -> Result<Waiting, MapError> {
        let row = webhooks::unmapped(&mut tx.conn, WebhookId::new(self.id)).await?.ok_or(MapError::Unknown)?;
        let (marketplace, event_key) = (row.marketplace_id, row.event_key.clone());
        let items = apply::waiting_items(tx, row).await?;
        let (item, order) = items.into_iter().find(|(item, _)| *item != Item::default()).ok_or(MapError::Nameless)?;
        Ok(Waiting { marketplace, item, order: Some((order.unwrap_or(event_key), None)) })
    }

    async fn create(&self, tx: &mut Tx<'_>, sku: Sku, waiting: &Waiting) -> Result<ListingView, MapError> {
        let connection = tx.kit.registry.by_id(waiting.marketplace).ok_or(MapError::NotDeclared)?;
        if waiting.item == Item::default() {
            return Err(MapError::Nameless);
        }
        let mut listing = CreateListing {
            connection,
            components: vec![(sku, self.units)],
            marketplace_product_id: waiting.item.product_id.clone(),
            marketplace_sku: waiting.item.sku.clone(),
            market: String::new(),
            refs: waiting.item.refs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect(),
            price: None,
            rule: Rule::default(),
            actor: self.actor.clone(),
        };
        Ok(listing.run(tx).await?)
    }

    /// What of it was recorded only; posted right away where that was asked for.
    async fn historic(&self, tx: &mut Tx<'_>, waiting: &Waiting) -> Result<Vec<LineId>, MapError> {
        let Some((external_id, line_key)) = &waiting.order else { return Ok(Vec::new()) };
        let rows = orders::lock(&mut tx.conn, &[(waiting.marketplace, external_id)]).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(Vec::new()) };
        let mut opened = Opened::new(tx, row, &self.actor).await?;
        let mut historic = Vec::new();
        for place in opened.book.all_lines(&opened.key) {
            let row = opened.book.row(place);
            if line_key.as_ref().is_some_and(|key| *key != row.line_key) || !opened.book.is_historic(place) {
                continue;
            }
            historic.push(row.id);
            if self.post {
                post(tx, &mut opened, place).await?;
            }
        }
        opened.flush(tx).await?;
        Ok(if self.post { Vec::new() } else { historic })
    }

    /// A mapped line: all its parts that were only recorded move stock now.
    async fn post_recorded(&self, tx: &mut Tx<'_>, line: &LinePlaceRow) -> Result<Mapped, MapError> {
        if !self.post {
            return Err(MapError::Unknown);
        }
        let row = orders::lock_by_id(&mut tx.conn, line.order_id).await?.ok_or(MapError::Unknown)?;
        let mut opened = Opened::new(tx, row, &self.actor).await?;
        let places = opened.book.lines(&opened.key, &line.line_key);
        let recorded: Vec<_> = places.into_iter().filter(|place| opened.book.is_historic(*place)).collect();
        if recorded.is_empty() {
            return Err(MapError::Unknown);
        }
        for place in recorded {
            post(tx, &mut opened, place).await?;
        }
        opened.flush(tx).await?;
        Ok(Mapped { listing: None, historic: Vec::new() })
    }
}

async fn post(tx: &mut Tx<'_>, opened: &mut Opened, place: super::orders_book::LinePlace) -> Result<(), ChangeError> {
    opened.book.forget_history(place);
    let state = opened.book.state(place);
    opened.post(tx, place, state, false).await
}
