//! One marketplace account's way out: budgets, access tokens, one owner by lease. Every request to a marketplace passes here,
//! whoever makes it: pushes, polls, bulk reads, hints, the doctor.
//!
//! ```text
//! Caller::ask / Caller::call ─▶ ours? (lease) ─▶ token ─▶ gate (budgets, who is first) ─▶ outbound
//!                                                           ▲                               │
//!                                                           └── what the answer says ◀──────┘
//! ```
//!
//! The budgets live in the memory of the account's owner, the only process that calls out for it. What must outlive it (how long a
//! marketplace wants to be left alone, what it lent us) is stored before the next request leaves.

mod account;
mod budget;
mod gate;
mod health;
mod lease;
mod token;

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::db::Db;
use crate::domain::ids::MarketplaceId;
use crate::outbound::Outbound;
use crate::pipeline::Kit;
use crate::pipeline::writer::Writer;
use crate::seal::Sealer;

pub use account::{Caller, Refused, Sent};
pub use gate::Ticket;
pub use health::{Health, HealthBoard};
pub use lease::{Fence, name as lease_name};

/// What a request is for: it decides who goes first, and is counted by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Telling a quantity.
    Push,
    /// Reading back what was told.
    Verify,
    /// A person asked: the doctor, "sync now".
    Check,
    /// An order that a webhook only named.
    Hint,
    /// The list of orders.
    Poll,
    /// All listings, page by page.
    Bulk,
    /// Borrowing an access token.
    Token,
}

impl Purpose {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Verify => "verify",
            Self::Check => "check",
            Self::Hint => "hint",
            Self::Poll => "poll",
            Self::Bulk => "bulk",
            Self::Token => "token",
        }
    }

    /// How long one waits for those whose patience is shorter. Pushes have none; a poll that waits for ever would hide sales.
    pub const fn patience(self) -> Duration {
        match self {
            Self::Push | Self::Verify | Self::Token => Duration::ZERO,
            Self::Check => Duration::from_secs(2),
            Self::Hint => Duration::from_secs(5),
            Self::Poll => Duration::from_secs(10),
            Self::Bulk => Duration::from_secs(60),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// Requests of one account under way at the same time, whatever its adapter would allow.
    pub concurrency: usize,
    /// How long an account is left alone that asked for patience and named no time.
    pub penalty: Duration,
    /// What a marketplace has to answer in, where its adapter says nothing; never more than half a lease.
    pub timeout: Duration,
    /// Bytes of an answer to a push, and to a question.
    pub push_max_bytes: usize,
    pub read_max_bytes: usize,
    pub lease: Duration,
    /// No other process can hold this database: there is nobody to lease from.
    pub alone: bool,
}

/// All accounts' ways out. Cheap to clone.
#[derive(Clone)]
pub struct Callers(Arc<Inner>);

struct Inner {
    kit: Kit,
    db: Db,
    writer: Writer,
    outbound: Outbound,
    sealer: Sealer,
    limits: CallLimits,
    /// This process, by a name no other has.
    owner: String,
    all: Mutex<HashMap<MarketplaceId, Arc<Caller>>>,
    /// Rung when an account appears whose lease nobody has asked for yet.
    wanted: Notify,
    /// Work that still needs the leases, see [`Busy`].
    busy: AtomicUsize,
}

impl Callers {
    pub fn new(kit: Kit, db: Db, writer: Writer, outbound: Outbound, sealer: Sealer, limits: CallLimits) -> Self {
        let owner = kit.chance.id(kit.clock.now()).to_string();
        let (all, wanted, busy) = (Mutex::default(), Notify::new(), AtomicUsize::new(0));
        Self(Arc::new(Inner { kit, db, writer, outbound, sealer, limits, owner, all, wanted, busy }))
    }

    /// The way out of one account; the same one for everybody who asks.
    pub fn of(&self, id: MarketplaceId) -> Arc<Caller> {
        let mut all = self.0.all.lock().unwrap_or_else(PoisonError::into_inner);
        let made = all.entry(id).or_insert_with(|| {
            self.0.wanted.notify_one();
            Arc::new(Caller::new(self.clone(), id))
        });
        made.clone()
    }

    /// Those that were asked for so far.
    pub fn all(&self) -> Vec<Arc<Caller>> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The name of this process on leases.
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    pub fn is_alone(&self) -> bool {
        self.0.limits.alone
    }
}
