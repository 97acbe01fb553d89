//! Access tokens that marketplaces lend out (OAuth 2). One request at a time gets one; it is used until shortly before it runs out;
//! and a refresh token that is good for one use is stored, sealed, before anything is done with what came with it.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::account::Caller;
use crate::db::accounts::{self, TokenRow};
use crate::db::{DbError, Reader};
use crate::domain::ids::MarketplaceId;
use crate::domain::time::Timestamp;
use crate::marketplaces::{Connection, Moment, Outcome};
use crate::pipeline::Tx;
use crate::pipeline::writer::Command;
use crate::settings::Secret;

/// How long before its end a token is no longer used, unless that is more than a tenth of its life.
const SLACK: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Tokens(tokio::sync::Mutex<Option<Held>>);

#[derive(Clone)]
struct Held {
    access: Secret,
    refresh: Option<Secret>,
    /// When it is no longer used.
    until: Timestamp,
    /// Digest of the secrets that were used for it.
    made_from: Vec<u8>,
    stored: bool,
    refused: bool,
}

impl Tokens {
    /// A good token, where this marketplace lends them. `not`: one that was just refused.
    pub async fn get(&self, caller: &Caller, connection: &Connection, not: Option<&Secret>) -> Result<Option<Secret>, Outcome> {
        let plain = Moment { now: caller.now(), access_token: None, refresh_token: None };
        if connection.adapter.token_request(connection, &plain).is_none() {
            return Ok(None);
        }
        let made_from = digest(connection);
        let mut held = self.0.lock().await;
        if held.is_none() {
            *held = caller.stored_token(&made_from).await?;
        }
        if held.as_ref().is_some_and(|known| known.made_from != made_from) {
            *held = None;
        }
        if let Some(known) = held.as_mut() {
            known.refused |= not.is_some_and(|refused| refused.expose() == known.access.expose());
            if !known.stored {
                caller.store_token(known).await?;
                known.stored = true;
            }
            if !known.refused && caller.now() < known.until {
                return Ok(Some(known.access.clone()));
            }
        }
        let refresh = held.as_ref().and_then(|known| known.refresh.clone());
        let mut fresh = match caller.borrow_token(connection, refresh.clone(), &made_from).await {
            // A refresh token that was used up elsewhere: the one of the settings may be newer.
            Err(Outcome::Auth { .. }) if refresh.is_some() => caller.borrow_token(connection, None, &made_from).await,
            borrowed => borrowed,
        }?;
        if fresh.refresh.is_none() {
            fresh.refresh = refresh;
        }
        // Kept before it is stored: a database that is away must not cost us a refresh token that is good for one use.
        *held = Some(fresh.clone());
        caller.store_token(&fresh).await?;
        if let Some(known) = held.as_mut() {
            known.stored = true;
        }
        Ok(Some(fresh.access))
    }
}

/// Of everything a token is made from: other secrets, another account or address make it worthless.
fn digest(connection: &Connection) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(connection.adapter.id());
    hash.update(connection.base_url.as_deref().unwrap_or_default());
    hash.update(serde_json::Value::Object(connection.account.clone()).to_string());
    for (name, secrets) in &connection.secrets {
        for secret in secrets {
            hash.update(format!("\n{name}\n{}", secret.expose()));
        }
    }
    hash.finalize().to_vec()
}

fn later(message: impl Into<String>) -> Outcome {
    Outcome::Retry { after: None, throttled: false, code: Some("no-token".into()), message: message.into() }
}

struct Store {
    marketplace: MarketplaceId,
    row: TokenRow,
}

impl Command for Store {
    type Output = ();
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), DbError> {
        accounts::set_token(&mut tx.conn, self.marketplace, &self.row, tx.now).await
    }
}

impl Caller {
    /// What an earlier owner borrowed, if it was made from the same secrets and can still be opened.
    async fn stored_token(&self, made_from: &[u8]) -> Result<Option<Held>, Outcome> {
        let unread = |error: DbError| later(format!("the stored access token could not be read: {error}"));
        let mut reader: Reader = self.shared().db.read().await.map_err(unread)?;
        let row = accounts::token(&mut reader.conn(), self.id()).await.map_err(unread)?;
        let Some(row) = row.filter(|row| row.made_from == made_from) else { return Ok(None) };
        let open = |sealed: &[u8]| self.shared().sealer.open(sealed).map(Secret::new);
        let (Ok(access), Ok(refresh)) = (open(&row.access), row.refresh.as_deref().map(open).transpose()) else {
            tracing::warn!(marketplace.id = %self.id(), "a stored access token cannot be opened: it is borrowed anew");
            return Ok(None);
        };
        Ok(Some(Held { access, refresh, until: row.expires_at, made_from: row.made_from, stored: true, refused: false }))
    }

    async fn store_token(&self, held: &Held) -> Result<(), Outcome> {
        let seal = |secret: &Secret| self.shared().sealer.seal(secret.expose());
        let sealed = seal(&held.access).and_then(|access| Ok((access, held.refresh.as_ref().map(seal).transpose()?)));
        let (access, refresh) = sealed.map_err(|error| later(format!("the access token could not be sealed: {error}")))?;
        let row = TokenRow { access, refresh, made_from: held.made_from.clone(), expires_at: held.until };
        let stored = self.shared().writer.run_patiently(Store { marketplace: self.id(), row }).await;
        stored.map_err(|error| later(format!("the access token could not be stored: {error}")))
    }

    async fn borrow_token(&self, connection: &Connection, refresh: Option<Secret>, made_from: &[u8]) -> Result<Held, Outcome> {
        let moment = Moment { now: self.now(), access_token: None, refresh_token: refresh };
        let request = match connection.adapter.token_request(connection, &moment) {
            Some(Ok(request)) => request,
            Some(Err(error)) => return Err(Outcome::Permanent { code: Some(error.code.into()), message: error.message }),
            None => return Err(later("this marketplace lends no tokens")),
        };
        let answer = self.send_token_request(connection, request).await;
        let lent = connection.adapter.read_token(&answer)?;
        let slack = SLACK.min(lent.valid_for / 10);
        Ok(Held {
            access: lent.token,
            refresh: lent.refresh,
            until: self.now().plus(lent.valid_for.saturating_sub(slack)),
            made_from: made_from.to_vec(),
            stored: false,
            refused: false,
        })
    }
}
