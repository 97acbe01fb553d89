//! Who calls, and what they may. Tokens are kept as SHA-256 of 32 random bytes; comparing hashes tells nothing about a token.

use std::sync::Arc;

use actix_web::{HttpMessage as _, HttpRequest};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::problem::Problem;
use crate::ask;
use crate::chance::secret_bytes;
use crate::context::Context;
use crate::db::tokens::{self, TokenRow};
use crate::domain::time::Timestamp;
use crate::pipeline::verify::telegram;

/// In rising order of trust: each may what those before it may, but for the storefront, which only sells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Storefront,
    Viewer,
    Operator,
    Admin,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Storefront => "storefront",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Storefront, Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.as_str() == text)
    }
}

/// Who was let in.
#[derive(Clone, Debug)]
pub struct Caller {
    /// For the ledger and the audit log: `token:<name>`.
    pub actor: String,
    pub role: Role,
}

type Hash = [u8; 32];

/// The tokens of the settings, as hashes.
#[derive(Clone, Default)]
pub struct Tokens(Arc<Vec<(String, Role, Hash)>>);

impl Tokens {
    pub fn of_settings(auth: &crate::settings::AuthSettings) -> Self {
        let bootstrap = auth.bootstrap_admin_token.iter().map(|t| ("bootstrap".to_owned(), Role::Admin, hash(t.expose())));
        let keys = auth
            .storefront_keys
            .iter()
            .enumerate()
            .map(|(n, k)| (format!("storefront-{}", n + 1), Role::Storefront, hash(k.expose())));
        Self(Arc::new(bootstrap.chain(keys).collect()))
    }

    pub fn has_admin(&self) -> bool {
        self.0.iter().any(|(_, role, _)| *role == Role::Admin)
    }

    fn find(&self, offered: &Hash) -> Option<Caller> {
        let mut found = None;
        for (name, role, known) in self.0.iter() {
            if bool::from(known.ct_eq(offered)) {
                found = Some(Caller { actor: format!("token:{name}"), role: *role });
            }
        }
        found
    }
}

pub fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

/// A new token: shown once, kept as a hash.
pub fn new_token() -> Result<String, getrandom::Error> {
    Ok(format!("shk_{}", hex::encode(secret_bytes::<32>()?)))
}

/// A shopper of a Telegram Mini App, who may order and no more. `None`: this request does not come that way.
fn shopper(request: &HttpRequest, ctx: &Context) -> Option<Result<Caller, Problem>> {
    let (kind, init_data) = request.headers().get("authorization")?.to_str().ok()?.split_once(' ')?;
    kind.eq_ignore_ascii_case("tma").then_some(())?;
    let auth = &ctx.settings.auth;
    let now = ctx.kit.clock.now();
    Some(match telegram::shopper(init_data.trim(), &auth.telegram_bots, now, auth.telegram_max_age()) {
        Ok(shopper) => Ok(Caller { actor: format!("telegram:{}", shopper.id), role: Role::Storefront }),
        Err(reason) => {
            tracing::debug!(%reason, "an initData was refused");
            Err(Problem::unauthorized())
        }
    })
}

/// Lets in who has at least this role.
pub async fn require(request: &HttpRequest, ctx: &Context, needed: Role) -> Result<Caller, Problem> {
    if needed == Role::Storefront
        && let Some(shopper) = shopper(request, ctx)
    {
        return shopper;
    }
    let offered = hash(&offered(request, needed).ok_or_else(Problem::unauthorized)?);
    // A body asks before it is read, its handler asks again: the second time nothing is looked up.
    let known = request.extensions().get::<Known>().filter(|known| known.0 == offered).map(|known| known.1.clone());
    let caller = match known {
        Some(caller) => caller,
        None => {
            let caller = identify(ctx, offered).await?.ok_or_else(Problem::unauthorized)?;
            request.extensions_mut().insert(Known(offered, caller.clone()));
            caller
        }
    };
    let fits = match needed {
        Role::Storefront => caller.role == Role::Storefront || caller.role >= Role::Operator,
        needed => caller.role >= needed,
    };
    if fits { Ok(caller) } else { Err(Problem::forbidden(needed.as_str())) }
}

/// Who came with which token, for the rest of this request.
struct Known(Hash, Caller);

fn offered(request: &HttpRequest, needed: Role) -> Option<String> {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if needed == Role::Storefront
        && let Some(key) = text("x-storefront-key")
    {
        return Some(key.to_owned());
    }
    let (kind, token) = text("authorization")?.split_once(' ')?;
    kind.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

async fn identify(ctx: &Context, offered: Hash) -> Result<Option<Caller>, Problem> {
    if let Some(caller) = ctx.tokens.find(&offered) {
        return Ok(Some(caller));
    }
    let row = ask!(ctx, Option<TokenRow>, [offered: Hash = offered] |conn| tokens::by_hash(conn, &offered).await)?;
    let now = ctx.kit.clock.now();
    let live = row.filter(|row| is_live(row, now));
    Ok(live.and_then(|row| Some(Caller { actor: format!("token:{}", row.name), role: Role::parse(&row.role)? })))
}

fn is_live(row: &TokenRow, now: Timestamp) -> bool {
    row.revoked_at.is_none() && row.expires_at.is_none_or(|end| now < end)
}
