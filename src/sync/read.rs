//! Reading what a marketplace shows: all pages of its list, or so many named listings per request. An absent row is unknown, never
//! zero.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Sync;
use super::matching::{Found, Names};
use super::poll::unexpected;
use super::way::NotTold;
use crate::ask;
use crate::caller::Purpose;
use crate::db::DbError;
use crate::db::observations::{self, ListingName};
use crate::domain::ids::{ListingId, MarketplaceId};
use crate::domain::time::Timestamp;
use crate::marketplaces::call::{Ask, Page, StockRow, Told};
use crate::marketplaces::{Connection, Outcome};

/// Where a reading is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// A page of the marketplace's own list.
    Page(Page),
    /// So many of our own listings were asked for.
    Keys(usize),
    End,
}

/// What one request told.
#[derive(Default)]
pub(super) struct Batch {
    /// Of listings we know.
    pub seen: Vec<Seen>,
    /// Of nobody we know, or of several.
    pub strange: Vec<(StockRow, Found)>,
    /// Listed, but without a number.
    pub numberless: usize,
    pub calls: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The place of the listing in the names.
    pub n: usize,
    pub listing: ListingId,
    pub quantity: i64,
    /// When it was asked for: it was true then, or a moment later.
    pub asked_at: Timestamp,
    /// When the marketplace says it became so.
    pub at: Option<Timestamp>,
    /// What a push must say again of it, where that is not what the listing bears.
    pub refs: Vec<(String, String)>,
}

/// One walk over a marketplace's numbers.
pub(super) struct Reader<'a> {
    sync: &'a Sync,
    connection: Arc<Connection>,
    pub names: &'a Names,
    pub place: Place,
    /// Only these are wanted.
    only: Option<Vec<usize>>,
    /// In which order listings are asked for by name: those that may share a request beside each other.
    keys: Vec<(String, usize)>,
    pages: u32,
    purpose: Purpose,
}

/// Listings read from our own table at once.
const NAMES_PAGE: i64 = 2_000;

impl Sync {
    /// Every listing of an account, by all it is called.
    pub(super) async fn names(&self, id: MarketplaceId) -> Result<Names, DbError> {
        let mut all: Vec<ListingName> = Vec::new();
        loop {
            let after = all.last().map_or(Uuid::nil(), |row| row.id.uuid());
            let page = ask!(self, Vec<ListingName>, [id: MarketplaceId = id, after: Uuid = after] |conn| {
                observations::names(conn, id, after, NAMES_PAGE).await
            })?;
            let last = (page.len() as i64) < NAMES_PAGE;
            all.extend(page);
            if last {
                return Ok(Names::new(all));
            }
        }
    }
}

/// Whether its numbers can be read at all.
pub fn can_be_read(connection: &Connection) -> bool {
    let abilities = connection.adapter.traits().abilities;
    abilities.stock || abilities.stock_of.is_some_and(|most| most > 0)
}

impl<'a> Reader<'a> {
    /// `only`: just these listings. A marketplace that cannot be asked for single ones is then read as a whole.
    pub fn new(
        sync: &'a Sync,
        connection: &Arc<Connection>,
        names: &'a Names,
        place: Option<Place>,
        only: Option<Vec<usize>>,
    ) -> Self {
        let abilities = connection.adapter.traits().abilities;
        let by_key = abilities.stock_of.is_some_and(|most| most > 0) && (only.is_some() || !abilities.stock);
        let start = if by_key { Place::Keys(0) } else { Place::Page(Page::default()) };
        let mut keys = Vec::new();
        if by_key {
            let group = |n: usize| (connection.adapter.push_group(connection, &names.item(n)), n);
            keys = match &only {
                Some(only) => only.iter().copied().map(group).collect(),
                None => (0..names.rows.len()).map(group).collect(),
            };
            keys.sort();
        }
        let purpose = if only.is_some() { Purpose::Check } else { Purpose::Bulk };
        Self { sync, connection: connection.clone(), names, place: place.unwrap_or(start), only, keys, pages: 0, purpose }
    }

    /// The next request and what it told; `None` at the end. After an error the place is where it was.
    pub async fn next(&mut self) -> Result<Option<Batch>, (NotTold, i64)> {
        let (ask, of) = match &self.place {
            Place::End => return Ok(None),
            Place::Page(page) => (Ask::Stock { page: page.clone() }, Vec::new()),
            Place::Keys(done) => {
                let most = self.connection.adapter.traits().abilities.stock_of.unwrap_or(1).max(1);
                let left = self.keys.get(*done..).unwrap_or(&[]);
                let group = left.first().map(|(group, _)| group);
                let same = left.iter().take_while(|(other, _)| Some(other) == group);
                let keys: Vec<usize> = same.take(most).map(|(_, n)| *n).collect();
                if keys.is_empty() {
                    self.place = Place::End;
                    return Ok(None);
                }
                (Ask::StockOf { items: keys.iter().map(|n| self.names.item(*n)).collect() }, keys)
            }
        };
        self.pages += 1;
        if self.pages > self.sync.limits.pages_max {
            let message = format!("the list has more than {} pages", self.sync.limits.pages_max);
            return Err((NotTold::Failed(Outcome::Permanent { code: None, message }), 0));
        }
        let asked_at = self.sync.kit.clock.now();
        let asked = self.sync.way.ask(&self.connection, self.purpose, &ask).await;
        let (rows, next) = match asked.told {
            Ok(Told::Stock { rows, next }) => (rows, next),
            Ok(other) => return Err((unexpected(&other), asked.calls)),
            Err(why) => return Err((why, asked.calls)),
        };
        self.place = match (&self.place, next) {
            (Place::Keys(done), _) => Place::Keys(done + of.len()),
            (Place::Page(now), Some(next)) if *now == next => {
                let message = "the list gives its own page as the next one".to_owned();
                return Err((NotTold::Failed(Outcome::Permanent { code: None, message }), asked.calls));
            }
            (_, Some(next)) => Place::Page(next),
            (_, None) => Place::End,
        };
        Ok(Some(self.sorted(rows, asked_at, asked.calls)))
    }

    fn sorted(&self, rows: Vec<StockRow>, asked_at: Timestamp, calls: i64) -> Batch {
        let mut batch = Batch { calls, ..Batch::default() };
        for row in rows {
            let found = self.names.find(&row);
            let Found::One(n) = found else {
                batch.strange.push((row, found));
                continue;
            };
            if self.only.as_ref().is_some_and(|only| !only.contains(&n)) {
                continue;
            }
            match row.quantity {
                Some(quantity) => {
                    let listing = self.names.rows[n].id;
                    // A marketplace that oversold shows what it may: less than nothing is nothing to sell.
                    let refs = self.names.other_refs(n, row.refs);
                    batch.seen.push(Seen { n, listing, quantity: quantity.max(0), asked_at, at: row.at, refs });
                }
                None => batch.numberless += 1,
            }
        }
        batch
    }
}
