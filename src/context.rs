//! What a request handler may use: one value, without logic.

use std::sync::Arc;

use crate::alerts::Messenger;
use crate::caller::Callers;
use crate::db::{Conn, Db, DbError, Reader};
use crate::http::analytics::Kept;
use crate::http::auth::Tokens;
use crate::http::live::UsedTickets;
use crate::http::live_feed::Live;
use crate::people::People;
use crate::pipeline::Kit;
use crate::pipeline::connections::Connections;
use crate::pipeline::writer::Writer;
use crate::realtime::Engine;
use crate::seal::Sealer;
use crate::settings::Settings;
use crate::workers::Workers;

#[derive(Clone)]
pub struct Context {
    pub settings: Arc<Settings>,
    pub kit: Kit,
    pub db: Db,
    pub writer: Writer,
    pub engine: Engine,
    pub workers: Workers,
    pub sealer: Sealer,
    pub tokens: Tokens,
    pub people: People,
    /// What those who watch are told.
    pub live: Live,
    pub tickets: UsedTickets,
    /// Figures that took long to find out.
    pub figures: Kept,
    /// What makes a changed connection live.
    pub connections: Connections,
    /// The way out to marketplaces.
    pub callers: Callers,
    /// The way out to sinks, for trying one.
    pub messenger: Messenger,
    /// Whether this is the demo, whose shoppers buy without paying.
    pub demo: bool,
}

/// A question to the database, asked on a task of its own: a client that leaves does not leave a query half-way behind.
pub trait Question: Send + 'static {
    type Answer: Send + 'static;
    fn ask(self, conn: &mut Conn<'_>) -> impl Future<Output = Result<Self::Answer, DbError>> + Send;
}

impl Context {
    pub async fn ask<Q: Question>(&self, question: Q) -> Result<Q::Answer, DbError> {
        let db = self.db.clone();
        let asked = self.workers.finish(async move {
            let mut reader: Reader = db.read().await?;
            question.ask(&mut reader.conn()).await
        });
        asked.await.unwrap_or_else(|| Err(DbError::inconsistent("task", "read", "stopped")))
    }
}

/// Makes a question of an expression over a connection, with what it needs moved in.
#[macro_export]
macro_rules! ask {
    ($ctx:expr, $answer:ty, [$($name:ident: $type:ty = $value:expr),*] |$conn:ident| $body:expr) => {{
        struct Asked { $($name: $type),* }
        impl $crate::context::Question for Asked {
            type Answer = $answer;
            async fn ask(self, $conn: &mut $crate::db::Conn<'_>) -> Result<$answer, $crate::db::DbError> {
                let Asked { $($name),* } = self;
                $body
            }
        }
        $ctx.ask(Asked { $($name: $value),* }).await
    }};
}
