//! The section `[mail]`: the server our alerts are sent by.

use super::choice::{MailTls, choice};
use super::duration::durations;
use super::parse::{text, whole};
use super::secret::Secret;
use super::section::Section;

#[derive(Clone, Debug)]
pub struct MailSettings {
    /// Empty = no mail.
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    /// Empty = the server wants no account.
    pub username: String,
    pub password: Option<Secret>,
    pub from: String,
    pub timeout_ms: u64,
}

durations!(MailSettings { timeout = from_millis(timeout_ms) });

impl MailSettings {
    pub(super) fn read(s: &mut Section<'_, '_, '_>) -> Self {
        let read = Self {
            host: s.need("host", text),
            port: s.need("port", whole(1..=65_535)),
            tls: s.need_or("tls", MailTls::StartTls, choice),
            username: s.need("username", text),
            password: s.secret("password"),
            from: s.need("from", text),
            timeout_ms: s.need("timeout_ms", whole(100..=600_000)),
        };
        let at = s.at.clone();
        if read.is_on() && !read.from.contains('@') {
            s.fault("from", &at, "must be an address, like \"stockhub@example.com\", when mail.host is set");
        }
        if !read.username.is_empty() && read.password.is_none() {
            s.fault("password", &at, "is needed with mail.username");
        }
        read
    }

    pub fn is_on(&self) -> bool {
        !self.host.is_empty()
    }
}
