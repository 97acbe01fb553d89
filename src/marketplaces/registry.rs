//! Which adapters there are, and which connections are live. The one list of adapters.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Adapter, Connection};
use crate::domain::ids::MarketplaceId;

/// Every adapter of this program.
pub fn adapters() -> Vec<Arc<dyn Adapter>> {
    vec![
        Arc::new(super::generic::Generic::new()),
        Arc::new(super::manual::Manual::new()),
        Arc::new(super::storefront::Storefront::new()),
    ]
}

pub fn adapter(id: &str) -> Option<Arc<dyn Adapter>> {
    adapters().into_iter().find(|adapter| adapter.id() == id)
}

/// The live connections. Replaced as a whole when settings change; readers keep what they took.
#[derive(Clone, Default)]
pub struct Registry(Arc<RwLock<Arc<Live>>>);

#[derive(Default)]
struct Live {
    by_code: HashMap<String, Arc<Connection>>,
    by_id: HashMap<MarketplaceId, Arc<Connection>>,
}

impl Registry {
    /// All of them at once; who took one before keeps it.
    pub fn put(&self, connections: Vec<Arc<Connection>>) {
        let mut live = Live::default();
        for connection in connections {
            live.by_id.insert(connection.id, connection.clone());
            live.by_code.insert(connection.code.clone(), connection);
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }

    /// The same, of connections nobody holds yet.
    pub fn replace(&self, connections: Vec<Connection>) {
        self.put(connections.into_iter().map(Arc::new).collect());
    }

    fn live(&self) -> Arc<Live> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
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
