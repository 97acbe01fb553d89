//! Where the database is. The scheme chooses the driver; the password never reaches a log.

use std::fmt;
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// The file's path.
    Sqlite(String),
    Postgres(PostgresUrl),
}

#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(String);

#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    #[error("database.url must begin with sqlite:// or postgres://")]
    Scheme,
    #[error("database.url names no file after sqlite://")]
    NoFile,
    #[error("database.url cannot be read: {0}")]
    Postgres(String),
}

impl DatabaseUrl {
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if let Some(path) = text.strip_prefix("sqlite://").or_else(|| text.strip_prefix("sqlite:")) {
            // In memory nothing would survive, and readers would see another database.
            if path.is_empty() || path.starts_with(":memory:") || path.starts_with('?') {
                return Err(UrlError::NoFile);
            }
            return Ok(Self::Sqlite(path.to_owned()));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            PgConnectOptions::from_str(text).map_err(|error| UrlError::Postgres(error.to_string()))?;
            return Ok(Self::Postgres(PostgresUrl(text.to_owned())));
        }
        Err(UrlError::Scheme)
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self, Self::Sqlite(_))
    }
}

impl PostgresUrl {
    pub(super) fn options(&self) -> PgConnectOptions {
        // Parsed once already, at construction.
        PgConnectOptions::from_str(&self.0).unwrap_or_else(|_| PgConnectOptions::new())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{path}"),
            Self::Postgres(PostgresUrl(text)) => match (text.find("://"), text.rfind('@')) {
                (Some(scheme), Some(at)) => write!(f, "{}***{}", &text[..scheme + 3], &text[at..]),
                _ => f.write_str(text),
            },
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_the_password_and_names_the_driver() {
        let shown = DatabaseUrl::parse("postgres://hub:secret@localhost:5432/stock").map(|u| u.to_string());
        assert_eq!(shown.ok().as_deref(), Some("postgres://***@localhost:5432/stock"));
        assert!(DatabaseUrl::parse("sqlite://stockhub.db").is_ok_and(|u| u.is_sqlite()));
        for bad in ["sqlite://", "sqlite::memory:", "mysql://x", "stockhub.db", ""] {
            assert!(DatabaseUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
