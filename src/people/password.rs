//! Passwords: argon2id, hashed on threads made for it, so many at a time. The stored text is the common
//! `$argon2id$v=19$m=…,t=…,p=…$salt$hash`, so that other programs can read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use crate::chance::secret_bytes;
use crate::settings::AuthSettings;
use crate::workers::Workers;

/// Longest password taken: longer ones only cost time.
pub const MAX_CHARS: usize = 128;
const SALT: usize = 16;
const HASH: usize = 32;
/// A stored hash may ask for so much memory at most (KiB): the column is not trusted with more.
const STORED_MEMORY_MAX: u32 = 1 << 20;
const STORED_PASSES_MAX: u32 = 64;

#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("too many passwords are being checked")]
    Busy,
    #[error("the system gives no random bytes, or no memory to hash with")]
    Failed,
}

#[derive(Clone)]
pub struct Passwords(Arc<Inner>);

struct Inner {
    memory_kib: u32,
    passes: u32,
    slots: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Passwords {
    pub fn new(auth: &AuthSettings) -> Self {
        Self(Arc::new(Inner {
            memory_kib: auth.password_memory_kib,
            passes: auth.password_passes,
            slots: Semaphore::new(auth.password_hashing_max),
            waiting: AtomicUsize::new(0),
            waiting_max: auth.password_waiting_max + auth.password_hashing_max,
        }))
    }

    /// The text to store.
    pub async fn hash(&self, workers: &Workers, password: String) -> Result<String, PasswordError> {
        let (memory, passes) = (self.0.memory_kib, self.0.passes);
        self.one(workers, move || write(&password, memory, passes)).await?
    }

    /// Whether a password is the stored one. With `None` it takes as long and is not: nobody learns who is known here.
    pub async fn verify(&self, workers: &Workers, password: String, stored: Option<String>) -> Result<bool, PasswordError> {
        let (memory, passes) = (self.0.memory_kib, self.0.passes);
        self.one(workers, move || match stored {
            Some(stored) => check(&password, &stored),
            None => write(&password, memory, passes).map(|_| false),
        })
        .await?
    }

    async fn one<T: Send + 'static>(
        &self,
        workers: &Workers,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _place = Place::take(&self.0).ok_or(PasswordError::Busy)?;
        let _slot = self.0.slots.acquire().await.map_err(|_| PasswordError::Failed)?;
        workers.blocking(work).await.ok_or(PasswordError::Failed)
    }
}

/// A place among those who wait; given back even when the asker goes away.
struct Place<'a>(&'a Inner);

impl<'a> Place<'a> {
    fn take(inner: &'a Inner) -> Option<Self> {
        let place = Self(inner);
        // Given back by `drop` if there was no room.
        (inner.waiting.fetch_add(1, Ordering::SeqCst) < inner.waiting_max).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

fn compute(password: &str, salt: &[u8], memory: u32, passes: u32, lanes: u32) -> Option<[u8; HASH]> {
    let params = Params::new(memory, passes, lanes, Some(HASH)).ok()?;
    let mut out = [0_u8; HASH];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(password.as_bytes(), salt, &mut out).ok()?;
    Some(out)
}

fn write(password: &str, memory: u32, passes: u32) -> Result<String, PasswordError> {
    let salt = secret_bytes::<SALT>().map_err(|_| PasswordError::Failed)?;
    let hash = compute(password, &salt, memory, passes, 1).ok_or(PasswordError::Failed)?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    Ok(format!("$argon2id$v=19$m={memory},t={passes},p=1${salt}${hash}"))
}

struct Stored {
    memory: u32,
    passes: u32,
    lanes: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

fn read(stored: &str) -> Option<Stored> {
    let mut parts = stored.strip_prefix("$argon2id$v=19$")?.split('$');
    let (params, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let mut numbers = params.split(',').zip(["m=", "t=", "p="]).map(|(part, name)| part.strip_prefix(name)?.parse::<u32>().ok());
    let (memory, passes, lanes) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let sane = memory <= STORED_MEMORY_MAX && passes <= STORED_PASSES_MAX && lanes <= 16 && parts.next().is_none();
    let (salt, hash) = (STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(hash).ok()?);
    sane.then_some(Stored { memory, passes, lanes, salt, hash })
}

fn check(password: &str, stored: &str) -> Result<bool, PasswordError> {
    let stored = read(stored).ok_or(PasswordError::Failed)?;
    let hash = compute(password, &stored.salt, stored.memory, stored.passes, stored.lanes).ok_or(PasswordError::Failed)?;
    Ok(bool::from(hash[..].ct_eq(&stored.hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_its_password_and_never_the_same_twice() -> Result<(), PasswordError> {
        let stored = write("correct horse battery", 8_192, 1)?;
        assert!(stored.starts_with("$argon2id$v=19$m=8192,t=1,p=1$"), "{stored}");
        assert!(check("correct horse battery", &stored)?);
        assert!(!check("correct horse batterz", &stored)?);
        assert_ne!(stored, write("correct horse battery", 8_192, 1)?);
        Ok(())
    }

    /// From the reference implementation's own tests (argon2id, version 19, 2 passes over 64 MiB).
    #[test]
    fn what_the_reference_wrote_is_read() -> Result<(), PasswordError> {
        let stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert!(check("password", stored)?);
        assert!(!check("Password", stored)?);
        Ok(())
    }

    #[test]
    fn what_was_stored_by_nobody_of_us_is_refused() {
        for stored in
            ["", "x", "$argon2i$v=19$m=8192,t=1,p=1$c29tZXNhbHQ$AAAA", "$argon2id$v=19$m=99999999,t=1,p=1$c29tZXNhbHQ$AAAA"]
        {
            assert!(check("password", stored).is_err(), "{stored}");
        }
    }
}
