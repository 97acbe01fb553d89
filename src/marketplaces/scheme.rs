//! Signature schemes are data: which header, which algorithm, what is signed, how it is written. `pipeline/verify` does the rest,
//! the same for all.

/// How one kind of signature is made and written.
#[derive(Clone, Debug)]
pub struct Scheme {
    pub name: &'static str,
    /// The header that carries the signature; a scheme applies when it is present.
    pub header: &'static str,
    /// Headers of which at least one must be present too, for the scheme to apply; once it applies, all must be.
    pub with: &'static [&'static str],
    pub algorithm: Algorithm,
    pub encoding: Encoding,
    pub format: Format,
    pub content: &'static [Part],
    pub key: KeyForm,
    pub timestamp: Option<&'static str>,
    pub id: Option<&'static str>,
    /// The name of the secret in the connection's settings.
    pub secret: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    HmacSha256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Either case.
    Hex,
    Base64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The signature alone, after an optional prefix such as `sha256=`.
    Single { prefix: &'static str },
    /// Several, separated by spaces, each `version,signature`; those of this version count.
    SpaceList { version: &'static str },
}

/// A piece of what is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Id,
    Timestamp,
    Dot,
    Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// The secret's UTF-8 bytes.
    Utf8,
    /// Base64 after an optional prefix.
    Base64 { prefix: &'static str },
}

/// `id.timestamp.body`, as Standard Webhooks and the older shape with an id both sign.
pub const ID_TIMESTAMP_BODY: &[Part] = &[Part::Id, Part::Dot, Part::Timestamp, Part::Dot, Part::Body];

/// Standard Webhooks (HMAC).
pub const fn standard(secret: &'static str) -> Scheme {
    Scheme {
        name: "standard",
        header: "webhook-signature",
        with: &["webhook-id", "webhook-timestamp"],
        algorithm: Algorithm::HmacSha256,
        encoding: Encoding::Base64,
        format: Format::SpaceList { version: "v1" },
        content: ID_TIMESTAMP_BODY,
        key: KeyForm::Base64 { prefix: "whsec_" },
        timestamp: Some("webhook-timestamp"),
        id: Some("webhook-id"),
        secret,
    }
}

/// The older shape with an id and a time: both are signed.
pub const fn stamped(secret: &'static str) -> Scheme {
    Scheme {
        name: "stamped",
        header: "x-webhook-signature",
        with: &["x-webhook-id", "x-webhook-timestamp"],
        algorithm: Algorithm::HmacSha256,
        encoding: Encoding::Hex,
        format: Format::Single { prefix: "sha256=" },
        content: ID_TIMESTAMP_BODY,
        key: KeyForm::Utf8,
        timestamp: Some("x-webhook-timestamp"),
        id: Some("x-webhook-id"),
        secret,
    }
}

/// The older shape: the body alone is signed.
pub const fn plain(secret: &'static str) -> Scheme {
    Scheme { name: "plain", with: &[], content: &[Part::Body], timestamp: None, id: None, ..stamped(secret) }
}
