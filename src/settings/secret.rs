//! Secrets: values that never reach a log, an error or an answer, and the references by which a configuration names them.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::source::Env;

/// Bytes of a secret file that are believed; a PEM key is far below.
const FILE_MAX_BYTES: u64 = 65_536;

/// A secret value. Prints as `***`; whoever needs the value says so with `expose`.
#[derive(Clone)]
pub struct Secret(Arc<str>);

/// How a configuration names a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// `env:NAME`
    Env(String),
    /// `file:PATH`, relative to the working directory.
    File(PathBuf),
    /// The value itself.
    Literal(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("is empty")]
    Empty,
    #[error("names no environment variable (\"env:NAME\")")]
    NoName,
    #[error("environment variable {0} is not set")]
    EnvMissing(String),
    #[error("environment variable {0} is empty")]
    EnvEmpty(String),
    #[error("environment variable {0} is not UTF-8")]
    EnvText(String),
    #[error("names no file (\"file:PATH\")")]
    NoPath,
    #[error("file {0} cannot be read: {1}")]
    FileUnreadable(String, std::io::ErrorKind),
    #[error("{0} is not a regular file")]
    FileKind(String),
    #[error("file {0} can be read by others (mode {1:03o}); run chmod 600 on it")]
    FileMode(String, u32),
    #[error("file {0} is empty")]
    FileEmpty(String),
    #[error("file {0} is larger than 65536 bytes")]
    FileLarge(String),
    #[error("file {0} is not UTF-8")]
    FileText(String),
}

impl Secret {
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(value.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Tells two secrets apart without telling either: the first 32 bits of its SHA-256.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.0.as_bytes());
        hex::encode(digest.get(..4).unwrap_or_default())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl SecretRef {
    pub fn parse(text: &str) -> Self {
        if let Some(name) = text.strip_prefix("env:") {
            Self::Env(name.to_owned())
        } else if let Some(path) = text.strip_prefix("file:") {
            Self::File(path.into())
        } else {
            Self::Literal(text.to_owned())
        }
    }

    /// The value behind the reference.
    pub fn resolve(&self, env: &Env) -> Result<Secret, SecretError> {
        match self {
            Self::Literal(value) if value.is_empty() => Err(SecretError::Empty),
            Self::Literal(value) => Ok(Secret::new(value.as_str())),
            Self::Env(name) if name.is_empty() => Err(SecretError::NoName),
            Self::Env(name) => match env.get(name) {
                Some("") => Err(SecretError::EnvEmpty(shown(name))),
                Some(value) => Ok(Secret::new(value)),
                None if env.is_unreadable(name) => Err(SecretError::EnvText(shown(name))),
                None => Err(SecretError::EnvMissing(shown(name))),
            },
            Self::File(path) => read_file(path),
        }
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{}", shown(name)),
            Self::File(path) => write!(f, "file:{}", shown(&path.to_string_lossy())),
            Self::Literal(_) => f.write_str("literal"),
        }
    }
}

/// A name as it may be printed: without line ends and terminal escapes.
fn shown(name: &str) -> String {
    name.escape_debug().to_string()
}

fn read_file(path: &Path) -> Result<Secret, SecretError> {
    let name = shown(&path.to_string_lossy());
    if path.as_os_str().is_empty() {
        return Err(SecretError::NoPath);
    }
    let unreadable = |error: std::io::Error| SecretError::FileUnreadable(name.clone(), error.kind());
    // Asked before opening: to open a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(SecretError::FileKind(name));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    refuse_shared(&file, &name)?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(SecretError::FileLarge(name));
    }
    let text = String::from_utf8(bytes).map_err(|_| SecretError::FileText(name.clone()))?;
    // Editors and `echo` end a file with a line end that is not part of the secret; nothing else is trimmed.
    let value = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if value.is_empty() { Err(SecretError::FileEmpty(name)) } else { Ok(Secret::new(value)) }
}

#[cfg(unix)]
fn refuse_shared(file: &std::fs::File, name: &str) -> Result<(), SecretError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata().map_err(|error| SecretError::FileUnreadable(name.to_owned(), error.kind()))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(SecretError::FileMode(name.to_owned(), mode)) }
}

#[cfg(not(unix))]
fn refuse_shared(_: &std::fs::File, _: &str) -> Result<(), SecretError> {
    Ok(())
}

/// A connection URL that may hold a password: prints without it.
#[derive(Clone)]
pub struct ConnectionUrl(Arc<str>);

impl ConnectionUrl {
    pub fn new(url: impl Into<Arc<str>>) -> Self {
        Self(url.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn scheme(&self) -> &str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }
}

impl fmt::Debug for ConnectionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ConnectionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

/// `postgres://hub:pw@host/db?password=pw` → `postgres://***@host/db?***`. A query may hold a password under several names, and
/// NATS tokens stand where a user does, so both parts go entirely.
fn without_password(url: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, ""), |(address, _)| (address, "?***"));
    let Some((scheme, rest)) = address.split_once("://") else {
        return format!("{address}{query}");
    };
    // The last @, not the first: an unescaped password may hold one. The path of a database holds none.
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{query}"),
        None => format!("{scheme}://{rest}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        [("GOOD", "s3cr3t-value"), ("BLANK", "")].into_iter().collect()
    }

    #[test]
    fn never_prints_itself() {
        let secret = Secret::new("s3cr3t-value");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(format!("{:?}", SecretRef::parse("s3cr3t-value")), "literal");
        assert_eq!(secret.fingerprint().len(), 8);
        assert_ne!(secret.fingerprint(), Secret::new("other").fingerprint());
        for (url, shown) in [
            ("postgres://hub:pw@db:5432/hub", "postgres://***@db:5432/hub"),
            ("postgres://hub:p@w@db/hub?sslmode=require&password=pw", "postgres://***@db/hub?***"),
            ("nats://token@bus:4222", "nats://***@bus:4222"),
            ("sqlite://stockhub.db", "sqlite://stockhub.db"),
        ] {
            assert_eq!(format!("{:?}", ConnectionUrl::new(url)), shown);
        }
    }

    #[test]
    fn an_environment_variable_is_set_or_named_in_the_fault() {
        assert_eq!(SecretRef::parse("env:GOOD").resolve(&env()).unwrap().expose(), "s3cr3t-value");
        let fault = |text: &str| SecretRef::parse(text).resolve(&env()).unwrap_err();
        assert_eq!(fault("env:ABSENT"), SecretError::EnvMissing("ABSENT".into()));
        assert_eq!(fault("env:BLANK"), SecretError::EnvEmpty("BLANK".into()));
        assert_eq!(fault("env:"), SecretError::NoName);
        assert_eq!(fault(""), SecretError::Empty);
        assert_eq!(fault("file:"), SecretError::NoPath);
    }

    #[test]
    #[cfg(unix)]
    fn a_file_must_be_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let resolve = || SecretRef::File(path.clone()).resolve(&env());
        let write = |bytes: &[u8], mode: u32| {
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        assert!(matches!(resolve(), Err(SecretError::FileUnreadable(_, std::io::ErrorKind::NotFound))));
        write(b"s3cr3t \r\n", 0o600);
        assert_eq!(resolve().unwrap().expose(), "s3cr3t ");
        write(b"s3cr3t\n", 0o640);
        assert!(matches!(resolve(), Err(SecretError::FileMode(_, 0o640))));
        write(b"\n", 0o400);
        assert!(matches!(resolve(), Err(SecretError::FileEmpty(_))));
        std::fs::remove_file(&path).unwrap();
        write(&[0xff, 0xfe], 0o600);
        assert!(matches!(resolve(), Err(SecretError::FileText(_))));
        write(&vec![b'x'; 65_537], 0o600);
        assert!(matches!(resolve(), Err(SecretError::FileLarge(_))));
        assert!(matches!(SecretRef::File(folder.path().into()).resolve(&env()), Err(SecretError::FileKind(_))));
    }
}
