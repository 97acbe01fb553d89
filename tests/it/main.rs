//! The integration tests: one binary, its modules mirror `src`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod realtime;
