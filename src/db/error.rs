//! What can go wrong in the database room, as the rest of the house needs to know it.

#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Locked, full, read-only, restarting or unreachable: the same request may work later.
    #[error("the database cannot take this now ({statement}): {source}")]
    Unavailable { statement: &'static str, source: sqlx::Error },
    /// Two transactions stood in each other's way; the whole transaction may be tried again.
    #[error("the database asked for a retry ({statement}): {source}")]
    Conflict { statement: &'static str, source: sqlx::Error },
    /// A unique key is taken. The name of the key is not known on SQLite, so callers say what it means.
    #[error("already there ({statement})")]
    Exists { statement: &'static str },
    /// A stored value that our own rules do not allow.
    #[error("{table}.{column} holds {value:?}, which is not allowed")]
    Inconsistent { table: &'static str, column: &'static str, value: String },
    /// A statement changed another number of rows than it must.
    #[error("{statement} changed {changed} rows where {wanted} were meant")]
    RowCount { statement: &'static str, changed: u64, wanted: u64 },
    /// Anything else is a mistake of ours.
    #[error("{statement} failed: {source}")]
    Bug { statement: &'static str, source: sqlx::Error },
}

impl DbError {
    pub fn inconsistent(table: &'static str, column: &'static str, value: impl Into<String>) -> Self {
        Self::Inconsistent { table, column, value: value.into() }
    }

    /// Worth another try later, by the sender or by us.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Conflict { .. })
    }

    /// The same failure to hand on, where the first one stays with its asker.
    pub fn describe(&self) -> Self {
        let again = |source: &sqlx::Error| sqlx::Error::Protocol(source.to_string());
        match self {
            Self::Unavailable { statement, source } => Self::Unavailable { statement, source: again(source) },
            Self::Conflict { statement, source } => Self::Conflict { statement, source: again(source) },
            Self::Exists { statement } => Self::Exists { statement },
            Self::Inconsistent { table, column, value } => Self::Inconsistent { table, column, value: value.clone() },
            Self::RowCount { statement, changed, wanted } => Self::RowCount { statement, changed: *changed, wanted: *wanted },
            Self::Bug { statement, source } => Self::Bug { statement, source: again(source) },
        }
    }

    pub(super) fn from_sqlx(statement: &'static str, source: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let code = match &source {
            E::Database(error) if error.is_unique_violation() => return Self::Exists { statement },
            E::Database(error) => error.code().map(std::borrow::Cow::into_owned).unwrap_or_default(),
            E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed | E::Protocol(_) => {
                return Self::Unavailable { statement, source };
            }
            _ => return Self::Bug { statement, source },
        };
        if is_conflict(&code) {
            Self::Conflict { statement, source }
        } else if is_unavailable(&code) {
            Self::Unavailable { statement, source }
        } else {
            Self::Bug { statement, source }
        }
    }
}

/// Serialisation failure and deadlock of PostgreSQL.
fn is_conflict(code: &str) -> bool {
    matches!(code, "40001" | "40P01" | "55P03")
}

/// PostgreSQL: connection, resources, operator intervention, read-only. SQLite (primary code in the low byte): BUSY 5, LOCKED 6,
/// NOMEM 7, READONLY 8, IOERR 10, FULL 13, CANTOPEN 14.
fn is_unavailable(code: &str) -> bool {
    if code.len() == 5 {
        return ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || code == "25006";
    }
    code.parse::<i64>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 7 | 8 | 10 | 13 | 14))
}
