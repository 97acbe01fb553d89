//! The live connections: made of what the file declares and what the API stored, and made anew whenever either changes. Nothing
//! is restarted for that; who took a connection before keeps it until the end of its work.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::{Mutex, Notify};
use uuid::Uuid;

use super::Kit;
use super::setup::{SetupError, connection, with_store};
use crate::db::marketplaces::{self, MarketplaceRow};
use crate::db::secrets::{self, SecretRow};
use crate::db::{Conn, Db, DbError, products};
use crate::domain::ids::{LocationId, MarketplaceId};
use crate::domain::time::Timestamp;
use crate::marketplaces::Connection;
use crate::marketplaces::catalogue::Catalogue;
use crate::marketplaces::connection::Status;
use crate::seal::Sealer;
use crate::settings::{MarketplaceSettings, Secret, Settings};

/// What a connection was made of: while it is the same, the connection stays the same object.
#[derive(Clone, PartialEq, Eq)]
struct Made {
    version: i64,
    secrets: Vec<Uuid>,
    locations: Vec<LocationId>,
}

/// All connections as they are to be now.
struct Read {
    connections: Vec<(Connection, Made)>,
    /// When the next secret begins or ends.
    next_change: Option<Timestamp>,
    mark: (i64, i64),
}

/// Keeps the registry as the database has it.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

struct Inner {
    kit: Kit,
    db: Db,
    settings: Arc<Settings>,
    sealer: Sealer,
    state: Mutex<State>,
    bell: Arc<Notify>,
}

#[derive(Default)]
struct State {
    made: HashMap<MarketplaceId, Made>,
    mark: Option<(i64, i64)>,
    next_change: Option<Timestamp>,
}

impl Connections {
    pub fn new(kit: Kit, db: Db, settings: Arc<Settings>, sealer: Sealer, bell: Arc<Notify>) -> Self {
        Self(Arc::new(Inner { kit, db, settings, sealer, state: Mutex::default(), bell }))
    }

    /// Reads everything anew. What changed is live when this returns.
    pub async fn refresh(&self) -> Result<(), DbError> {
        let inner = &self.0;
        let mut state = inner.state.lock().await;
        let mut reader = inner.db.read().await?;
        let read = read(&mut reader.conn(), &inner.kit, &inner.settings, Some(&inner.sealer)).await?;
        drop(reader);
        let mut live = Vec::with_capacity(read.connections.len());
        let mut made = HashMap::new();
        for (connection, of) in read.connections {
            let old = inner.kit.registry.by_id(connection.id).filter(|_| state.made.get(&connection.id) == Some(&of));
            made.insert(connection.id, of);
            live.push(old.unwrap_or_else(|| Arc::new(connection)));
        }
        for connection in live.iter().filter(|connection| connection.is_archived()) {
            // Nobody gives it rest any more.
            inner.kit.metrics.circuit(&connection.code, false);
        }
        inner.kit.registry.put(live);
        *state = State { made, mark: Some(read.mark), next_change: read.next_change };
        drop(state);
        inner.bell.notify_one();
        Ok(())
    }

    /// Reads anew where a secret begins or ends, or where another node changed something.
    pub async fn refresh_if_changed(&self) -> Result<(), DbError> {
        let mut reader = self.0.db.read().await?;
        let mark = marketplaces::mark(&mut reader.conn()).await?;
        drop(reader);
        let state = self.0.state.lock().await;
        let due = state.next_change.is_some_and(|at| at <= self.0.kit.clock.now());
        let same = state.mark == Some(mark) && !due;
        drop(state);
        if same { Ok(()) } else { self.refresh().await }
    }

    /// How long until something changes by itself, at most so long.
    pub async fn quiet_for(&self, at_most: Duration) -> Duration {
        let next = self.0.state.lock().await.next_change;
        next.map_or(at_most, |at| at.since(self.0.kit.clock.now()).min(at_most))
    }

    pub async fn rung(&self) {
        self.0.bell.notified().await;
    }
}

/// What the API stored of a marketplace.
pub fn stored(text: &str) -> Result<Map<String, Value>, DbError> {
    serde_json::from_str(text).map_err(|_| DbError::inconsistent("marketplaces", "api_settings", text))
}

async fn read(conn: &mut Conn<'_>, kit: &Kit, settings: &Settings, sealer: Option<&Sealer>) -> Result<Read, DbError> {
    let (now, catalogue) = (kit.clock.now(), kit.registry.catalogue());
    let mark = marketplaces::mark(conn).await?;
    let places = products::locations(conn).await?;
    let declared = with_store(&settings.marketplaces);
    let all_secrets = secrets::unexpired(conn, now).await?;
    let ends = all_secrets.iter().filter_map(|secret| secret.expires_at);
    let begins = all_secrets.iter().map(|secret| secret.not_before).filter(|at| *at > now);
    let next_change = ends.chain(begins).min();
    let mut connections = Vec::new();
    for row in marketplaces::list(conn).await? {
        let file = declared.iter().find(|entry| entry.code == row.code);
        if row.declared_in == "file" && file.is_none() {
            continue;
        }
        // Put away as something else than the file declares now: neither is heard under this name.
        let other = file.and_then(|file| file.adapter.as_ref()).filter(|adapter| **adapter != row.adapter);
        if row.archived_at.is_some()
            && let Some(adapter) = other
        {
            tracing::warn!(marketplace = %row.code, was = %row.adapter, %adapter, "is archived with another adapter: not served");
            continue;
        }
        let own = all_secrets.iter().filter(|secret| secret.marketplace_id == row.id && secret.not_before <= now);
        match one(&row, file, own, settings, sealer, &places, catalogue) {
            Ok(made) => connections.push(made),
            Err(error) => tracing::error!(marketplace = %row.code, %error, "cannot be served as it is stored"),
        }
    }
    Ok(Read { connections, next_change, mark })
}

fn one<'a>(
    row: &MarketplaceRow,
    file: Option<&MarketplaceSettings>,
    own: impl Iterator<Item = &'a SecretRow>,
    settings: &Settings,
    sealer: Option<&Sealer>,
    places: &[(LocationId, String)],
    catalogue: &Catalogue,
) -> Result<(Connection, Made), SetupError> {
    let mut entry = effective(&row.code, file, &row.api_settings, settings)?;
    let mut used = Vec::new();
    let mut added: BTreeMap<String, Vec<Secret>> = BTreeMap::new();
    for secret in own.filter(|secret| !entry.secrets.contains_key(&secret.name)) {
        used.push(secret.id);
        match sealer.map(|sealer| sealer.open(&secret.sealed)) {
            Some(Ok(text)) => added.entry(secret.name.clone()).or_default().push(Secret::new(text)),
            Some(Err(error)) => tracing::error!(marketplace = %row.code, secret = %secret.name, %error, "a secret is lost"),
            // A command beside the hub has no use for it.
            None => {}
        }
    }
    entry.secrets.extend(added);
    let mut made = connection(catalogue, &entry, places, settings.push.min_gap(), (row.id, row.feed_since))?;
    if row.archived_at.is_some() {
        made.status = Status::Archived;
    } else if made.status == Status::Active {
        made.status = Status::parse(&row.status).unwrap_or(Status::Paused);
    }
    let of = Made { version: row.version, secrets: used, locations: made.locations.clone() };
    Ok((made, of))
}

/// What holds for a marketplace: the file's entry over the API's.
pub fn effective(
    code: &str,
    file: Option<&MarketplaceSettings>,
    api: &str,
    settings: &Settings,
) -> Result<MarketplaceSettings, SetupError> {
    let api = stored(api)?;
    let private = settings.security.allow_private_targets;
    let read = match file {
        Some(file) => file.over(&api, private),
        None => MarketplaceSettings::from_json(&api, private),
    };
    read.map_err(|faults| SetupError::Stored { code: code.to_owned(), faults })
}

/// The connections as a running hub has them, for commands beside it that only look; secrets stay sealed.
pub async fn look(kit: &Kit, conn: &mut Conn<'_>, settings: &Settings) -> Result<(), DbError> {
    let read = read(conn, kit, settings, None).await?;
    kit.registry.put(read.connections.into_iter().map(|(connection, _)| Arc::new(connection)).collect());
    Ok(())
}
