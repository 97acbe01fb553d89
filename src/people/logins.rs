//! Failed sign-ins, counted by account and by client address: guessing must not pay. A try counts as failed until it is known to
//! have succeeded, so that a thousand at once are no way around.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::time::Timestamp;

#[derive(Clone, Copy, Debug)]
pub struct LoginLimits {
    pub per_account: u32,
    pub per_client: u32,
    pub window: Duration,
}

/// Accounts and addresses remembered at most; those of longest ago are forgotten first.
const REMEMBERED_MAX: usize = 50_000;

#[derive(Clone)]
pub struct Logins {
    limits: LoginLimits,
    tries: Arc<Mutex<Tries>>,
}

#[derive(Default)]
struct Tries {
    accounts: HashMap<String, Count>,
    clients: HashMap<u128, Count>,
}

#[derive(Clone, Copy)]
struct Count {
    since: Timestamp,
    tries: u32,
}

impl Logins {
    pub fn new(limits: LoginLimits) -> Self {
        Self { limits, tries: Arc::default() }
    }

    /// Takes note of a try; the error is how long to wait instead.
    pub fn begin(&self, account: &str, client: Option<IpAddr>, now: Timestamp) -> Result<(), Duration> {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let window = self.limits.window;
        let client = client.map(counted);
        let wait = [
            left(tries.accounts.get(account), self.limits.per_account, window, now),
            client.and_then(|client| left(tries.clients.get(&client), self.limits.per_client, window, now)),
        ];
        if let Some(wait) = wait.into_iter().flatten().max() {
            return Err(wait);
        }
        add(&mut tries.accounts, account.to_owned(), window, now);
        if let Some(client) = client {
            add(&mut tries.clients, client, window, now);
        }
        Ok(())
    }

    /// The try was a good one: the account begins anew, and the address did not fail.
    pub fn succeeded(&self, account: &str, client: Option<IpAddr>) {
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        tries.accounts.remove(account);
        if let Some(count) = client.map(counted).and_then(|client| tries.clients.get_mut(&client)) {
            count.tries = count.tries.saturating_sub(1);
        }
    }
}

fn left(count: Option<&Count>, max: u32, window: Duration, now: Timestamp) -> Option<Duration> {
    let end = count.filter(|count| count.tries >= max).map(|count| count.since.plus(window))?;
    (now < end).then(|| end.since(now))
}

fn add<K: Hash + Eq>(counts: &mut HashMap<K, Count>, key: K, window: Duration, now: Timestamp) {
    if counts.len() >= REMEMBERED_MAX && !counts.contains_key(&key) {
        counts.retain(|_, count| now < count.since.plus(window));
        if counts.len() >= REMEMBERED_MAX {
            let mut times: Vec<Timestamp> = counts.values().map(|count| count.since).collect();
            let (_, middle, _) = times.select_nth_unstable(REMEMBERED_MAX / 2);
            let middle = *middle;
            counts.retain(|_, count| count.since > middle);
        }
    }
    let count = counts.entry(key).or_insert(Count { since: now, tries: 0 });
    if now >= count.since.plus(window) {
        *count = Count { since: now, tries: 0 };
    }
    count.tries = count.tries.saturating_add(1);
}

/// An IPv6 customer owns a /64, so single addresses would be no limit.
fn counted(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6) >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logins() -> Logins {
        Logins::new(LoginLimits { per_account: 2, per_client: 3, window: Duration::from_secs(60) })
    }

    #[test]
    fn an_account_and_an_address_have_their_own_limits_and_the_window_frees_them() {
        let logins = logins();
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        let at = |s: i64| Timestamp::from_millis(s * 1_000);
        assert!(logins.begin("a", ip("192.0.2.1"), at(0)).is_ok());
        assert!(logins.begin("a", ip("192.0.2.2"), at(10)).is_ok());
        // The account is full whoever asks; another account is not.
        assert_eq!(logins.begin("a", ip("192.0.2.3"), at(20)), Err(Duration::from_secs(40)));
        assert!(logins.begin("b", ip("192.0.2.1"), at(20)).is_ok());
        assert!(logins.begin("c", ip("192.0.2.1"), at(21)).is_ok());
        assert_eq!(logins.begin("d", ip("192.0.2.1"), at(22)), Err(Duration::from_secs(38)));
        assert!(logins.begin("d", ip("2001:db8::1"), at(22)).is_ok());
        assert!(logins.begin("a", ip("192.0.2.1"), at(60)).is_ok());
    }

    #[test]
    fn who_came_in_has_not_failed() {
        let logins = logins();
        let ip: Option<IpAddr> = "192.0.2.1".parse().ok();
        for n in 0..20 {
            assert!(logins.begin("a", ip, Timestamp::from_millis(n)).is_ok());
            logins.succeeded("a", ip);
        }
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let logins = logins();
        for n in 0..(REMEMBERED_MAX as i64 + 10) {
            let _ = logins.begin(&format!("{n}@example.com"), None, Timestamp::from_millis(n));
        }
        let tries = logins.tries.lock().unwrap();
        assert!(tries.accounts.len() <= REMEMBERED_MAX);
        assert!(tries.accounts.contains_key(&format!("{}@example.com", REMEMBERED_MAX + 9)), "the newest are kept");
    }
}
