//! The way out of one account.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::gate::{ACCOUNT, Gate, Ticket};
use super::health::HealthBoard;
use super::lease::{Busy, Fence, Lease};
use super::token::Tokens;
use super::{Callers, Inner, Purpose};
use crate::db::{DbError, accounts};
use crate::domain::ids::MarketplaceId;
use crate::domain::retry::{RETRY_AFTER_MAX, RETRY_AFTER_MIN};
use crate::domain::time::Timestamp;
use crate::marketplaces::limit::LimitHeaders;
use crate::marketplaces::{Answer, Ask, Call, Connection, Limit, Moment, Outcome, Request, Told, Unreadable};
use crate::outbound::Within;
use crate::pipeline::Tx;
use crate::pipeline::writer::Command;
use crate::settings::Secret;

pub struct Caller {
    callers: Callers,
    id: MarketplaceId,
    gate: Arc<Gate>,
    pub(super) lease: Lease,
    /// Which ownership, of which adapter, the budgets belong to.
    loaded: tokio::sync::Mutex<Option<(Fence, &'static str)>>,
    tokens: Tokens,
    /// In which ownership what an earlier owner left under way was taken over.
    taken_over: Mutex<Option<Fence>>,
    pub health: HealthBoard,
}

/// What came back, and how it went.
#[derive(Debug)]
pub struct Sent {
    pub answer: Answer,
    pub took: Duration,
    /// The answer asked for patience; the budgets know already.
    pub throttled: bool,
    /// The budgets it drew from.
    pub limits: Vec<&'static str>,
}

/// Why nothing was sent.
#[derive(Debug)]
pub enum Refused {
    /// Another process calls out for this account.
    NotOurs,
    /// There is no such account any more.
    Gone,
    /// It was put away: nothing is asked of it and nothing told.
    Archived,
    /// The adapter can make no request of this.
    Unbuildable(Unreadable),
    /// It takes an access token, and there is none.
    NoToken(Outcome),
    /// What must be known before cannot be read.
    Database(String),
}

impl Refused {
    /// The same as the end of a request: surely not applied.
    pub fn outcome(self) -> Outcome {
        let later =
            |code: &str, message: String| Outcome::Retry { after: None, throttled: false, code: Some(code.to_owned()), message };
        match self {
            Self::NotOurs => later("not-owner", "another process calls out for this marketplace".into()),
            Self::Archived => later("archived", "the marketplace is archived".into()),
            Self::Gone => Outcome::Permanent { code: Some("gone".into()), message: "there is no such marketplace".into() },
            Self::Unbuildable(error) => Outcome::Permanent { code: Some(error.code.into()), message: error.message },
            Self::NoToken(outcome) => outcome,
            Self::Database(message) => later("database", message),
        }
    }
}

impl Caller {
    pub(super) fn new(callers: Callers, id: MarketplaceId) -> Self {
        let gate = Gate::new(callers.0.kit.clock.clone());
        let lease = if callers.is_alone() { Lease::for_good() } else { Lease::default() };
        Self {
            callers,
            id,
            gate,
            lease,
            loaded: tokio::sync::Mutex::default(),
            tokens: Tokens::default(),
            taken_over: Mutex::default(),
            health: HealthBoard::default(),
        }
    }

    pub fn id(&self) -> MarketplaceId {
        self.id
    }

    pub(super) fn shared(&self) -> &Inner {
        &self.callers.0
    }

    pub(super) fn now(&self) -> Timestamp {
        self.shared().kit.clock.now()
    }

    /// The account as it is set up at this moment.
    pub fn connection(&self) -> Option<Arc<Connection>> {
        self.shared().kit.registry.by_id(self.id)
    }

    /// Whether this process calls out for the account, and in which ownership.
    pub fn owned(&self) -> Option<Fence> {
        self.lease.held(self.now(), Duration::ZERO)
    }

    /// Waits until this process calls out for the account.
    pub async fn until_owned(&self) -> Fence {
        loop {
            let changed = self.lease.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(fence) = self.owned() {
                return fence;
            }
            changed.await;
        }
    }

    /// In which ownership the pushes an earlier owner left under way were taken over.
    pub fn taken_over(&self) -> Option<Fence> {
        *self.taken_over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note_taken_over(&self, fence: Fence) {
        *self.taken_over.lock().unwrap_or_else(PoisonError::into_inner) = Some(fence);
    }

    /// While this is held, a stopping process keeps its leases: what was sent is still to be written down.
    pub fn busy(&self) -> Busy<'_> {
        self.shared().busy()
    }

    /// Asks for a poll of its orders before long: an increase waits for one. Several asks are one.
    pub fn want_poll(&self) {
        self.shared().kit.bells.poll_now(self.id, self.now());
    }

    /// What is left of each budget, and until when one is closed.
    pub fn left(&self) -> Vec<(&'static str, Option<i64>, Option<Timestamp>)> {
        self.gate.left()
    }

    /// Until when nothing at all may be sent, if it asked to be left alone.
    pub fn rests_until(&self) -> Option<Timestamp> {
        self.left().into_iter().filter(|(name, ..)| *name == ACCOUNT).find_map(|(_, _, until)| until)
    }

    /// Asks, waiting for its turn, and reads the answer. `Err` is how the request ended, or why there was none.
    pub async fn ask(&self, purpose: Purpose, ask: &Ask) -> Result<Told, Outcome> {
        let build = |connection: &Connection, moment: &Moment| connection.adapter.ask(connection, moment, ask);
        let sent = self.call(purpose, None, build).await.map_err(Refused::outcome)?;
        let connection = self.connection().ok_or_else(|| Refused::Gone.outcome())?;
        let told = connection.adapter.told(&connection, ask, &sent.answer);
        if let Err(outcome) = &told {
            self.heed(&sent, outcome).await;
        }
        told
    }

    /// Some ask for patience in words that only their adapter reads: their budgets are closed for as long.
    pub async fn heed(&self, sent: &Sent, outcome: &Outcome) {
        let Outcome::Retry { throttled: true, after: Some(after), .. } = outcome else { return };
        if sent.throttled {
            return;
        }
        let until = self.now().plus((*after).clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX));
        for name in self.gate.close(&sent.limits, until) {
            self.remember(name, until).await;
        }
    }

    /// Up to `most` rights to send one request that draws from these budgets; waits for the first. Who holds them knows that its
    /// requests leave at once, and may choose late what they say.
    pub async fn admit(&self, purpose: Purpose, limits: &[&'static str], most: usize) -> Result<Vec<Ticket>, Refused> {
        self.own().await?;
        Ok(self.gate.admit(purpose, limits, most).await)
    }

    /// Sends what `build` makes, with a token where one is needed, once its budgets allow it. `build` may be called more than
    /// once: waiting takes time, and a token may be refused.
    pub async fn call(
        &self,
        purpose: Purpose,
        ticket: Option<Ticket>,
        build: impl Fn(&Connection, &Moment) -> Result<Call, Unreadable>,
    ) -> Result<Sent, Refused> {
        let mut ticket = ticket;
        let mut refused: Option<Secret> = None;
        let mut cut = false;
        loop {
            let connection = self.own().await?;
            let token = self.tokens.get(self, &connection, refused.as_ref()).await.map_err(Refused::NoToken)?;
            let made_at = self.now();
            let moment = Moment { now: made_at, access_token: token.clone(), refresh_token: None };
            let call = build(&connection, &moment).map_err(Refused::Unbuildable)?;
            let mut admitted = match ticket.take().filter(|ticket| ticket.is_for(&call.limits)) {
                Some(ticket) => ticket,
                None => self.wait(purpose, &call.limits).await?,
            };
            if self.now().since(made_at) > STALE {
                // Signatures and tokens age: made again, with the right to send in hand.
                ticket = Some(admitted);
                continue;
            }
            let timeout = self.timeout(&connection);
            if self.lease.held(self.now(), timeout).is_none() {
                return Err(Refused::NotOurs);
            }
            admitted.spend();
            let sent = self.send(&connection, purpose, call, timeout).await;
            drop(admitted);
            if let (Answer::Response { status: 401, .. }, Some(token), None) = (&sent.answer, &token, &refused) {
                refused = Some(token.clone());
                continue;
            }
            // Servers close lines that were idle, now and then just as we use one. A question asked twice does no harm; a number
            // told twice may, so what became of a push is found out in other ways.
            if matches!(sent.answer, Answer::Cut(_)) && purpose != Purpose::Push && !cut {
                cut = true;
                continue;
            }
            return Ok(sent);
        }
    }

    async fn wait(&self, purpose: Purpose, limits: &[&'static str]) -> Result<Ticket, Refused> {
        self.gate.admit(purpose, limits, 1).await.pop().ok_or(Refused::Gone)
    }

    /// Makes sure that this process may call out for the account, with budgets that belong to this ownership.
    async fn own(&self) -> Result<Arc<Connection>, Refused> {
        let connection = self.connection().ok_or(Refused::Gone)?;
        if connection.is_archived() {
            return Err(Refused::Archived);
        }
        let fence = self.owned().ok_or(Refused::NotOurs)?;
        let mut loaded = self.loaded.lock().await;
        let wanted = (fence, connection.adapter.id());
        if *loaded == Some(wanted) {
            return Ok(connection);
        }
        let unread = |error: DbError| Refused::Database(format!("the account's budgets could not be read: {error}"));
        let mut reader = self.shared().db.read().await.map_err(unread)?;
        let blocked = accounts::blocked(&mut reader.conn(), self.id).await.map_err(unread)?;
        let mut limits = connection.adapter.limits().to_vec();
        limits.push(self.account_limit());
        self.gate.reset(limits, &blocked);
        *loaded = Some(wanted);
        Ok(connection)
    }

    /// What holds for every request of the account, whatever its adapter says.
    fn account_limit(&self) -> Limit {
        Limit {
            name: ACCOUNT,
            requests: None,
            per: Duration::ZERO,
            burst: 1,
            concurrency: Some(self.shared().limits.concurrency),
            min_interval: Duration::ZERO,
            throttle_status: vec![429],
            costs: Vec::new(),
            penalty: self.shared().limits.penalty,
            reads: LimitHeaders::default(),
        }
    }

    /// Under half a lease, so that a request is over before somebody else may own the account.
    fn timeout(&self, connection: &Connection) -> Duration {
        let limits = &self.shared().limits;
        let asked = connection.adapter.traits().timeout.unwrap_or(limits.timeout);
        asked.min(limits.lease.mul_f64(0.49))
    }

    async fn send(&self, connection: &Connection, purpose: Purpose, call: Call, timeout: Duration) -> Sent {
        let shared = self.shared();
        let of_purpose = if purpose == Purpose::Push { shared.limits.push_max_bytes } else { shared.limits.read_max_bytes };
        let max_bytes = connection.adapter.traits().response_max_bytes.unwrap_or(of_purpose);
        shared.kit.metrics.api_call(&connection.code, purpose.as_str());
        let started = shared.kit.clock.elapsed();
        let answer = shared.outbound.send_within(call.request, Within { timeout, max_bytes }).await;
        let took = shared.kit.clock.elapsed().saturating_sub(started);
        let mut throttled = false;
        if let Answer::Response { status, retry_after, headers, .. } = &answer {
            let (news, asked) = self.gate.learn(&call.limits, *status, headers, *retry_after);
            throttled = asked;
            for (name, until) in news {
                self.remember(name, until).await;
            }
        }
        Sent { answer, took, throttled, limits: call.limits }
    }

    pub(super) async fn send_token_request(&self, connection: &Connection, request: Request) -> Answer {
        let call = Call { request, limits: Vec::new() };
        self.send(connection, Purpose::Token, call, self.timeout(connection)).await.answer
    }

    /// A kill right after must not make us forget that we were asked to wait.
    async fn remember(&self, name: &'static str, until: Timestamp) {
        let block = Block { marketplace: self.id, name, until };
        if let Err(error) = self.shared().writer.run_patiently(block).await {
            tracing::warn!(marketplace.id = %self.id, limit = name, %error, "that a marketplace wants to be left alone could not be stored");
        }
    }
}

/// A request that has waited for longer is made again before it leaves.
const STALE: Duration = Duration::from_secs(1);

struct Block {
    marketplace: MarketplaceId,
    name: &'static str,
    until: Timestamp,
}

impl Command for Block {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        accounts::block(&mut tx.conn, self.marketplace, self.name, self.until).await
    }
}
