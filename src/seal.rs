//! Secrets and customers' data at rest: XChaCha20-Poly1305 under the hub's master key. Without one the hub makes a key file that
//! only its own user can read, and says so.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305};

use crate::chance::secret_bytes;

#[derive(Clone)]
pub struct Sealer(Arc<XChaCha20Poly1305>);

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("cannot use the key file {path}: {source}")]
    KeyFile { path: PathBuf, source: std::io::Error },
    #[error("the key file {path} does not hold 64 hexadecimal digits")]
    BadKey { path: PathBuf },
    #[error("the operating system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    #[error("a sealed value cannot be opened: another master key, or it was changed")]
    Opened,
}

/// Format, nonce, ciphertext with tag.
const VERSION: u8 = 1;
const NONCE: usize = 24;

impl Sealer {
    pub fn new(key: &[u8; 32]) -> Self {
        Self(Arc::new(XChaCha20Poly1305::new(&(*key).into())))
    }

    /// The key in a file, which is made when it is not there.
    pub fn of_file(path: &Path) -> Result<Self, SealError> {
        let failed = |source| SealError::KeyFile { path: path.into(), source };
        match fs::read_to_string(path) {
            Ok(text) => {
                let bytes = hex::decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
                Ok(Self::new(&bytes.ok_or_else(|| SealError::BadKey { path: path.into() })?))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = secret_bytes::<32>()?;
                write_private(path, &hex::encode(key)).map_err(failed)?;
                tracing::info!(path = %path.display(), "made a key file for secrets at rest; keep it with your backups, or set security.master_key");
                Ok(Self::new(&key))
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub fn seal(&self, text: &str) -> Result<Vec<u8>, SealError> {
        let nonce = secret_bytes::<NONCE>()?;
        let sealed = self.0.encrypt(&nonce.into(), text.as_bytes()).map_err(|_| SealError::Opened)?;
        Ok([&[VERSION][..], &nonce, &sealed].concat())
    }

    pub fn open(&self, sealed: &[u8]) -> Result<String, SealError> {
        let (head, rest) = sealed.split_first_chunk::<{ NONCE + 1 }>().ok_or(SealError::Opened)?;
        let nonce: [u8; NONCE] = head[1..].try_into().map_err(|_| SealError::Opened)?;
        if head[0] != VERSION {
            return Err(SealError::Opened);
        }
        let opened = self.0.decrypt(&nonce.into(), rest).map_err(|_| SealError::Opened)?;
        String::from_utf8(opened).map_err(|_| SealError::Opened)
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_whole_and_under_its_key() -> Result<(), SealError> {
        let sealer = Sealer::new(&[7; 32]);
        let sealed = sealer.seal("+998 90 123 45 67")?;
        assert_eq!(sealer.open(&sealed)?, "+998 90 123 45 67");
        assert_ne!(sealed, sealer.seal("+998 90 123 45 67")?);
        assert!(Sealer::new(&[8; 32]).open(&sealed).is_err());
        for byte in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[byte] ^= 1;
            assert!(sealer.open(&changed).is_err(), "byte {byte}");
        }
        assert!(sealer.open(&sealed[..10]).is_err());
        Ok(())
    }

    #[test]
    fn the_key_file_is_private_and_read_again() -> Result<(), Box<dyn std::error::Error>> {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("hub.key");
        let sealed = Sealer::of_file(&path)?.seal("x")?;
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        assert_eq!(Sealer::of_file(&path)?.open(&sealed)?, "x");
        fs::write(&path, "short")?;
        assert!(Sealer::of_file(&path).is_err());
        Ok(())
    }
}
