//! Whether the secrets are good enough for where the hub listens. Weak ones are warnings on loopback, where a demonstration
//! runs, and faults where strangers can knock.

use std::collections::BTreeMap;

use super::Settings;
use super::finding::Origin;
use super::section::{Context, SecretUse};
use super::sections::decode_key;
use super::tree::{Table, origin};

/// Characters of the bootstrap token at least.
const TOKEN_MIN: usize = 32;

/// Bytes of a secret that a stranger may try to guess at our door.
const SECRET_MIN_BYTES: usize = 24;

/// Secrets by which marketplaces prove themselves to us; we choose them. All others are made by the marketplace.
const INBOUND: &[&str] = &["webhook_secret", "hook_path"];

/// Words of which sample secrets are made.
const SAMPLES: &[&str] = &[
    "changeme",
    "change",
    "me",
    "please",
    "secret",
    "demo",
    "test",
    "testing",
    "example",
    "sample",
    "password",
    "passwd",
    "default",
    "admin",
    "token",
    "key",
    "api",
    "webhook",
    "stockhub",
    "your",
    "here",
    "my",
    "the",
    "a",
    "todo",
    "xxx",
    "foo",
    "bar",
    "insecure",
    "placeholder",
    "replace",
    "replaceme",
    "dev",
    "local",
    "letmein",
    "qwerty",
    "abc",
    "topsecret",
    "supersecret",
    "storefront",
    "store",
    "hook",
    "this",
    "not",
    "for",
    "production",
];

pub(super) fn check(settings: &Settings, tree: &Table, context: &mut Context<'_>) {
    let mut checker = Checker { settings, tree, context };
    checker.token();
    checker.master_key();
    checker.secrets();
    checker.shared_secrets();
    checker.exposure();
    checker.shares();
}

struct Checker<'s, 'c, 'e> {
    settings: &'s Settings,
    tree: &'s Table,
    context: &'c mut Context<'e>,
}

impl Checker<'_, '_, '_> {
    fn fault(&mut self, key: &str, message: impl Into<String>) {
        let fault = origin(self.tree, key).fault(key, message);
        self.context.faults.push(fault);
    }

    fn warn_if(&mut self, condition: bool, key: &str, message: impl Into<String>) {
        if condition {
            let warning = origin(self.tree, key).warning(key, message);
            self.context.warnings.push(warning);
        }
    }

    /// A fault where strangers can reach the hub, else a warning.
    fn weak(&mut self, at: &Origin, path: &str, message: &str) {
        if self.settings.server.is_loopback() {
            self.context.warnings.push(at.warning(path, message));
        } else {
            self.context.faults.push(at.fault(path, format!("{message}; refused because server.bind is not a loopback address")));
        }
    }

    fn token(&mut self) {
        let length = self.settings.auth.bootstrap_admin_token.as_ref().map(|token| token.expose().chars().count());
        if let Some(length) = length.filter(|length| *length < TOKEN_MIN) {
            self.fault("auth.bootstrap_admin_token", format!("must have at least {TOKEN_MIN} characters, has {length}"));
        }
    }

    fn master_key(&mut self) {
        let key = self.settings.security.master_key.as_ref();
        if key.is_some_and(|key| decode_key(key.expose()).is_none()) {
            self.fault("security.master_key", "must be 32 bytes, as 64 hexadecimal characters or base64");
        }
    }

    fn secrets(&mut self) {
        let uses = std::mem::take(&mut self.context.secrets);
        for used in &uses {
            if used.is_literal {
                self.weak(&used.at, &used.path, "is written in the file itself; use \"env:NAME\" or \"file:PATH\"");
            }
            let value = used.secret.expose();
            if is_sample(value) {
                self.weak(&used.at, &used.path, "is a sample secret, which anyone can guess");
            } else if must_be_long(used) && value.len() < SECRET_MIN_BYTES {
                self.weak(&used.at, &used.path, &format!("has {} bytes; at least {SECRET_MIN_BYTES} are needed", value.len()));
            }
        }
        self.context.secrets = uses;
    }

    /// One secret for two doors: whoever has one key has both.
    fn shared_secrets(&mut self) {
        let uses = std::mem::take(&mut self.context.secrets);
        let mut first: BTreeMap<&str, &SecretUse> = BTreeMap::new();
        for used in uses.iter().filter(|used| is_ours(used)) {
            match first.get(used.secret.expose()) {
                Some(other) if owner(&other.path) != owner(&used.path) => {
                    self.weak(&used.at, &used.path, &format!("is the same secret as {}", other.path));
                }
                Some(_) => {}
                None => drop(first.insert(used.secret.expose(), used)),
            }
        }
        self.context.secrets = uses;
    }

    fn exposure(&mut self) {
        let exposed = !self.settings.server.is_loopback();
        let proxies = &self.settings.server.trusted_proxies;
        let everything = proxies.iter().any(super::cidr::Cidr::is_everything);
        let none = proxies.is_empty();
        self.warn_if(
            exposed && none,
            "server.bind",
            "is not loopback and server.trusted_proxies is empty: without a TLS proxy in front, tokens travel in the clear",
        );
        self.warn_if(everything, "server.trusted_proxies", "trusts every address, so that any client can claim to be another");
        self.warn_if(
            exposed && self.settings.security.private_on_purpose,
            "security.allow_private_targets",
            "lets marketplace URLs reach the private network of a hub that is not bound to loopback",
        );
    }

    /// A share is no partition, so more than the whole is allowed; but few people mean it.
    fn shares(&mut self) {
        let shares: Vec<(String, u32)> = self
            .settings
            .marketplaces
            .iter()
            .filter_map(|m| m.policy.rule.share_percent.and_then(super::Bound::get).map(|share| (m.code.clone(), share)))
            .collect();
        let sum: u32 = shares.iter().map(|(_, share)| share).sum();
        let named = shares.iter().map(|(code, share)| format!("{code} {share}")).collect::<Vec<_>>().join(", ");
        self.warn_if(
            sum > 100 && shares.len() > 1,
            "marketplaces",
            format!("shares add up to {sum} percent ({named}): the same units are shown twice"),
        );
    }
}

/// Why a value cannot be a marketplace's secret of that name, where it comes through the API. Strangers may try to guess it, so
/// there is no milder rule for loopback.
pub fn weak_secret(name: &str, value: &str) -> Option<String> {
    if is_sample(value) {
        return Some("is a sample secret, which anyone can guess".into());
    }
    let short = INBOUND.contains(&name) && value.len() < SECRET_MIN_BYTES;
    short.then(|| format!("has {} bytes; at least {SECRET_MIN_BYTES} are needed", value.len()))
}

/// The marketplace (or setting) a secret belongs to: `marketplaces.uzum` of `marketplaces.uzum.secrets.token[0]`.
fn owner(path: &str) -> &str {
    path.split_once(".secrets.").map_or_else(|| path.split_once('[').map_or(path, |(owner, _)| owner), |(owner, _)| owner)
}

fn is_inbound(path: &str) -> bool {
    let name = path.rsplit_once(".secrets.").map(|(_, name)| name.split_once('[').map_or(name, |(name, _)| name));
    name.is_some_and(|name| INBOUND.contains(&name))
}

/// Secrets that open a door of ours.
fn is_ours(used: &SecretUse) -> bool {
    is_inbound(&used.path) || used.path.starts_with("auth.")
}

fn must_be_long(used: &SecretUse) -> bool {
    // The bootstrap token has a longer minimum of its own.
    is_inbound(&used.path) || used.path.starts_with("auth.storefront_keys")
}

/// Whether a secret is made of sample words and digits only (`changeme-changeme-0001`), or of hardly any characters.
fn is_sample(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let lower = lower.strip_prefix("whsec_").unwrap_or(&lower);
    let mut characters: Vec<char> = lower.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    if characters.len() < 5 {
        return true;
    }
    // Digits alone are no proof of a sample (a random number is a fair secret), but they do not make a sample good.
    let mut words = lower.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty()).peekable();
    words.peek().is_some() && words.all(is_made_of_samples)
}

/// `changemesecret` = `changeme` + `secret`.
fn is_made_of_samples(word: &str) -> bool {
    // reachable[n]: the first n bytes are sample words.
    let mut reachable = vec![false; word.len() + 1];
    for end in 0..=word.len() {
        let hit = end == 0
            || SAMPLES.iter().any(|sample| {
                end.checked_sub(sample.len())
                    .is_some_and(|start| reachable.get(start).copied().unwrap_or(false) && word.get(start..end) == Some(*sample))
            });
        if let Some(slot) = reachable.get_mut(end) {
            *slot = hit;
        }
    }
    reachable.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::is_sample;

    #[test]
    fn knows_samples_from_secrets() {
        for sample in [
            "changeme",
            "CHANGE-ME",
            "secret",
            "demo",
            "changeme-changeme-changeme-0001",
            "my_webhook_secret_1234567890",
            "aaaaaaaaaaaaaaaaaaaaaaaa",
            "whsec_test",
            "",
        ] {
            assert!(is_sample(sample), "{sample:?}");
        }
        for good in [
            "b1946ac92492d2347c6235b4d2611184",
            "T9x!kd82LmQz-71bvWq0sYpR4",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "39275110482216573909128845510273",
        ] {
            assert!(!is_sample(good), "{good:?}");
        }
    }
}
