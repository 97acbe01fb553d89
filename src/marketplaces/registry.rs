//! Which connections are live, and the catalogue of adapters that they were made from.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Connection;
use super::catalogue::Catalogue;
use crate::domain::ids::MarketplaceId;

/// The live connections. Replaced as a whole when settings change; readers keep what they took.
#[derive(Clone)]
pub struct Registry {
    live: Arc<RwLock<Arc<Live>>>,
    catalogue: Catalogue,
}

impl Default for Registry {
    fn default() -> Self {
        Self::new(Catalogue::built_in())
    }
}

#[derive(Default)]
struct Live {
    by_code: HashMap<String, Arc<Connection>>,
    by_id: HashMap<MarketplaceId, Arc<Connection>>,
}

impl Registry {
    pub fn new(catalogue: Catalogue) -> Self {
        Self { live: Arc::default(), catalogue }
    }

    pub const fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// All of them at once; who took one before keeps it.
    pub fn put(&self, connections: Vec<Arc<Connection>>) {
        let mut live = Live::default();
        for connection in connections {
            live.by_id.insert(connection.id, connection.clone());
            live.by_code.insert(connection.code.clone(), connection);
        }
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }

    /// The same, of connections nobody holds yet.
    pub fn replace(&self, connections: Vec<Connection>) {
        self.put(connections.into_iter().map(Arc::new).collect());
    }

    fn live(&self) -> Arc<Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn by_code(&self, code: &str) -> Option<Arc<Connection>> {
        self.live().by_code.get(code).cloned()
    }

    pub fn by_id(&self, id: MarketplaceId) -> Option<Arc<Connection>> {
        self.live().by_id.get(&id).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Connection>> {
        let mut all: Vec<_> = self.live().by_code.values().cloned().collect();
        all.sort_by(|a, b| a.code.cmp(&b.code));
        all
    }
}
