//! Sessions: what a sign-in makes and a sign-out ends. The cookie is 256 random bits; its hash is what is stored.

use std::time::Duration;

use uuid::Uuid;

use super::users::UserError;
use crate::chance::secret_bytes;
use crate::db::users::{self, NewSession, SessionRow, UserRow};
use crate::db::{DbError, hub};
use crate::domain::time::Timestamp;
use crate::pipeline::Tx;
use crate::pipeline::writer::Command;

/// Where the hash of the one-time set-up token is kept until it is used.
const SETUP_KEY: &str = "setup_token_sha256";

/// Bytes of a browser's name that are kept.
const AGENT_MAX: usize = 256;

/// A new cookie's value.
pub fn new_cookie() -> Result<String, getrandom::Error> {
    Ok(hex::encode(secret_bytes::<32>()?))
}

/// A new set-up token: shown once, at the first start.
pub fn new_setup_token() -> Result<String, getrandom::Error> {
    Ok(format!("setup_{}", hex::encode(secret_bytes::<24>()?)))
}

/// Whether a session still holds.
pub fn is_live(session: &SessionRow, idle: Duration, now: Timestamp) -> bool {
    now < session.expires_at && now < session.last_used_at.plus(idle)
}

/// A browser that signs in.
pub struct Browser {
    pub cookie_hash: [u8; 32],
    pub client: Option<String>,
    pub user_agent: Option<String>,
    pub lifetime: Duration,
}

impl Browser {
    async fn enter(&self, tx: &mut Tx<'_>, user: Uuid) -> Result<(), DbError> {
        let session = NewSession {
            id: tx.id(),
            user_id: user,
            hash: &self.cookie_hash,
            client: self.client.as_deref(),
            user_agent: self.user_agent.as_deref().map(|name| name.get(..AGENT_MAX).unwrap_or(name)),
            expires_at: tx.now.plus(self.lifetime),
        };
        users::insert_session(&mut tx.conn, &session, tx.now).await?;
        users::signed_in(&mut tx.conn, user, tx.now).await
    }
}

/// Signs somebody in whose password was right.
pub struct SignIn {
    /// As it was read when the password was checked: what changed since makes it void.
    pub user: UserRow,
    pub browser: Browser,
}

impl Command for SignIn {
    type Output = UserRow;
    type Error = UserError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<UserRow, UserError> {
        let now = users::lock(&mut tx.conn, self.user.id).await?;
        let same = now.filter(|user| user.disabled_at.is_none() && user.password_hash == self.user.password_hash);
        let user = same.ok_or(UserError::Unknown)?;
        self.browser.enter(tx, user.id).await?;
        Ok(user)
    }
}

/// Ends one session.
pub struct SignOut(pub Uuid);

impl Command for SignOut {
    type Output = ();
    type Error = UserError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), UserError> {
        if users::end_session(&mut tx.conn, self.0).await? { Ok(()) } else { Err(UserError::Unknown) }
    }
}

/// Makes the first person, an admin, and signs them in. What let them is either the one-time token or an admin's API token.
pub struct SetUp {
    /// `None`: an admin's token was shown instead.
    pub token_hash: Option<[u8; 32]>,
    pub email: String,
    pub password_hash: String,
    pub browser: Browser,
}

impl Command for SetUp {
    type Output = UserRow;
    type Error = UserError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<UserRow, UserError> {
        if users::count(&mut tx.conn).await? > 0 {
            return Err(UserError::AlreadySetUp);
        }
        if let Some(offered) = &self.token_hash {
            let kept = hub::get(&mut tx.conn, SETUP_KEY).await?;
            // Both are hashes of 192 random bits: how long comparing takes tells nothing of the token.
            if kept != Some(hex::encode(offered)) {
                return Err(UserError::WrongSetupToken);
            }
        }
        hub::remove(&mut tx.conn, SETUP_KEY).await?;
        let user = UserRow {
            id: tx.id(),
            email: self.email.clone(),
            name: self.email.clone(),
            password_hash: self.password_hash.clone(),
            role: "admin".into(),
            created_at: tx.now,
            last_login_at: None,
            disabled_at: None,
        };
        users::insert(&mut tx.conn, &user).await?;
        self.browser.enter(tx, user.id).await?;
        Ok(user)
    }
}

/// Keeps the hash of a set-up token where nobody was set up yet and none was kept before; whether it was.
pub struct OfferSetup(pub [u8; 32]);

impl Command for OfferSetup {
    type Output = bool;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<bool, DbError> {
        if users::count(&mut tx.conn).await? > 0 {
            return Ok(false);
        }
        hub::insert_once(&mut tx.conn, SETUP_KEY, &hex::encode(self.0)).await
    }
}

/// Forgets sessions that ran out.
pub struct PurgeSessions {
    pub idle: Duration,
}

impl Command for PurgeSessions {
    type Output = u64;
    type Error = DbError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<u64, DbError> {
        // What was used within the last minutes may not be written down yet.
        let unused_since = tx.now.minus(self.idle).minus(Duration::from_secs(300));
        users::purge_sessions(&mut tx.conn, tx.now, unused_since).await
    }
}
