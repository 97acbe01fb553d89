//! Who calls, and what they may. Tokens and cookies are kept as SHA-256 of 32 random bytes; comparing hashes tells nothing about
//! them. A header wins over a cookie: who names a token means it.

use std::sync::Arc;

use actix_web::{HttpMessage as _, HttpRequest};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::problem::Problem;
use super::same_site;
use crate::ask;
use crate::chance::secret_bytes;
use crate::context::Context;
use crate::db::tokens::{self, TokenRow};
use crate::db::users::{self, SessionRow};
use crate::domain::time::Timestamp;
use crate::people::sessions;
use crate::people::used::What;
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
    /// For the ledger and the audit log: `token:<name>`, `user:<e-mail>`.
    pub actor: String,
    pub role: Role,
    pub credential: Credential,
}

/// By what somebody was let in: what can be looked at again, to see whether it still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Credential {
    /// A token or key of the settings: it holds as long as the hub runs.
    Settings,
    Token(Uuid),
    Session {
        id: Uuid,
        user: Uuid,
    },
    /// A shopper of a Telegram Mini App.
    Shopper,
}

/// The name of the cookie that a sign-in sets.
pub const COOKIE: &str = "stockhub_session";

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
                found = Some(Caller { actor: format!("token:{name}"), role: *role, credential: Credential::Settings });
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
        Ok(shopper) => {
            Ok(Caller { actor: format!("telegram:{}", shopper.id), role: Role::Storefront, credential: Credential::Shopper })
        }
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
    let caller = known(request, ctx, needed).await?.ok_or_else(|| match needed {
        Role::Storefront => Problem::no_storefront_key(),
        _ => Problem::unauthorized(),
    })?;
    let fits = match needed {
        Role::Storefront => caller.role == Role::Storefront || caller.role >= Role::Operator,
        needed => caller.role >= needed,
    };
    if fits { Ok(caller) } else { Err(Problem::forbidden(needed.as_str())) }
}

/// The person who is signed in, with their session: for what only people do.
pub async fn signed_in(request: &HttpRequest, ctx: &Context) -> Result<(Caller, Uuid, Uuid), Problem> {
    let caller = known(request, ctx, Role::Viewer).await?.ok_or_else(Problem::unauthorized)?;
    let Credential::Session { id, user } = caller.credential else { return Err(Problem::unauthorized()) };
    Ok((caller, id, user))
}

/// Who this is, whatever they may; `None` where nobody says, or what they show does not hold.
pub async fn known(request: &HttpRequest, ctx: &Context, needed: Role) -> Result<Option<Caller>, Problem> {
    let Some(offered) = offered(request, needed) else { return Ok(None) };
    if matches!(offered, Offered::Cookie(_)) {
        same_site::refuse_foreign_write(request)?;
    }
    // A body asks before it is read, its handler asks again: the second time nothing is looked up.
    let known = request.extensions().get::<Known>().filter(|known| known.0 == offered).map(|known| known.1.clone());
    if known.is_some() {
        return Ok(known);
    }
    let found = match offered {
        Offered::Token(hash) => identify(ctx, hash).await?,
        Offered::Cookie(hash) => of_session(ctx, hash).await?,
    };
    if let Some(caller) = &found {
        request.extensions_mut().insert(Known(offered, caller.clone()));
    }
    Ok(found)
}

/// Looks again whether somebody who was let in would still be, and with which role.
pub async fn still(ctx: &Context, credential: Credential) -> Result<Option<Role>, Problem> {
    let now = ctx.kit.clock.now();
    Ok(match credential {
        Credential::Settings => Some(Role::Admin),
        Credential::Shopper => None,
        Credential::Token(id) => {
            let row = ask!(ctx, Option<TokenRow>, [id: Uuid = id] | conn | tokens::by_id(conn, id).await)?;
            row.filter(|row| is_live(row, now)).and_then(|row| Role::parse(&row.role))
        }
        Credential::Session { id, .. } => {
            let row = ask!(ctx, Option<SessionRow>, [id: Uuid = id] | conn | users::session_by_id(conn, id).await)?;
            // An open page is in use, whatever was written down of that.
            row.filter(|row| now < row.expires_at).and_then(|row| Role::parse(&row.role))
        }
    })
}

/// Who came with which token, for the rest of this request.
struct Known(Offered, Caller);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Offered {
    Token(Hash),
    Cookie(Hash),
}

fn offered(request: &HttpRequest, needed: Role) -> Option<Offered> {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    if needed == Role::Storefront
        && let Some(key) = text("x-storefront-key")
    {
        return Some(Offered::Token(hash(key)));
    }
    if request.headers().contains_key("authorization") {
        let (kind, token) = text("authorization")?.split_once(' ')?;
        return kind.eq_ignore_ascii_case("bearer").then(|| Offered::Token(hash(token.trim())));
    }
    cookie(request).map(|value| Offered::Cookie(hash(value)))
}

/// The value of our cookie. Two of that name are none: somebody else set one of them.
fn cookie(request: &HttpRequest) -> Option<&str> {
    let headers = request.headers().get_all("cookie").filter_map(|value| value.to_str().ok());
    let pairs = headers.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut ours = pairs.filter(|(name, _)| *name == COOKIE).map(|(_, value)| value);
    let value = ours.next()?;
    ours.next().is_none().then_some(value)
}

/// Whose token this is.
pub async fn of_token(ctx: &Context, token: &str) -> Result<Option<Caller>, Problem> {
    identify(ctx, hash(token)).await
}

async fn identify(ctx: &Context, offered: Hash) -> Result<Option<Caller>, Problem> {
    if let Some(caller) = ctx.tokens.find(&offered) {
        return Ok(Some(caller));
    }
    let row = ask!(ctx, Option<TokenRow>, [offered: Hash = offered] |conn| tokens::by_hash(conn, &offered).await)?;
    let now = ctx.kit.clock.now();
    let Some(row) = row.filter(|row| is_live(row, now)) else { return Ok(None) };
    ctx.people.used.note(What::Token(row.id), row.last_used_at, now);
    let Some(role) = Role::parse(&row.role) else { return Ok(None) };
    Ok(Some(Caller { actor: format!("token:{}", row.name), role, credential: Credential::Token(row.id) }))
}

async fn of_session(ctx: &Context, offered: Hash) -> Result<Option<Caller>, Problem> {
    let row = ask!(ctx, Option<SessionRow>, [offered: Hash = offered] |conn| users::session_by_hash(conn, &offered).await)?;
    let now = ctx.kit.clock.now();
    let idle = ctx.settings.auth.session_idle();
    let Some(row) = row.filter(|row| sessions::is_live(row, idle, now)) else { return Ok(None) };
    ctx.people.used.note(What::Session(row.id), Some(row.last_used_at), now);
    let Some(role) = Role::parse(&row.role) else { return Ok(None) };
    let credential = Credential::Session { id: row.id, user: row.user_id };
    Ok(Some(Caller { actor: format!("user:{}", row.email), role, credential }))
}

fn is_live(row: &TokenRow, now: Timestamp) -> bool {
    row.revoked_at.is_none() && row.expires_at.is_none_or(|end| now < end)
}
