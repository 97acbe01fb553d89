//! Who people are: passwords, sign-ins, sessions, and when a token or a session was last used. No HTTP here; the doors ask.

pub mod logins;
pub mod password;
pub mod sessions;
pub mod used;
pub mod users;

use std::sync::Arc;

use tokio::sync::watch;

use crate::settings::AuthSettings;
use logins::{LoginLimits, Logins};
use password::Passwords;
use used::Used;

/// What the doors need to know people.
#[derive(Clone)]
pub struct People {
    pub passwords: Passwords,
    pub logins: Logins,
    pub used: Used,
    revoked: Arc<watch::Sender<u64>>,
}

impl People {
    pub fn new(auth: &AuthSettings) -> Self {
        let limits = LoginLimits {
            per_account: auth.login_failures_max,
            per_client: auth.login_failures_per_ip_max,
            window: auth.login_window(),
        };
        Self {
            passwords: Passwords::new(auth),
            logins: Logins::new(limits),
            used: Used::default(),
            revoked: Arc::new(watch::Sender::new(0)),
        }
    }

    /// A token, a session or somebody lost a right: open sockets look again whether they still may.
    pub fn revoke(&self) {
        self.revoked.send_modify(|times| *times += 1);
    }

    /// Changes whenever somebody lost a right in this process.
    pub fn revocations(&self) -> watch::Receiver<u64> {
        self.revoked.subscribe()
    }
}
