//! Signature schemes are data: which header, which algorithm, what is signed, how it is written, what is answered.
//! `pipeline/verify` does the rest, the same for all; nothing here can let a request through. The rows stand in `schemes`.

use std::time::Duration;

/// How one kind of sender proves itself.
#[derive(Clone, Copy, Debug)]
pub struct Scheme {
    pub name: &'static str,
    /// The header that carries the signature; the scheme applies when it is present. Unsigned senders have none.
    pub header: &'static str,
    /// Headers of which at least one must be present too, for the scheme to apply; once it applies, all that are signed must be.
    pub with: &'static [&'static str],
    pub algorithm: Algorithm,
    pub encoding: Encoding,
    pub format: Format,
    pub content: &'static [Part],
    pub key: KeyForm,
    pub timestamp: Option<Stamp>,
    /// Seconds its time may differ from ours; `None`: what the settings say for all.
    pub tolerance_s: Option<u32>,
    /// Where the event's id stands. Only places that the signature covers: a header outside it could be changed by whoever
    /// replays a captured request, and would make the same sale a second one.
    pub id: Option<IdSource>,
    /// The name of the secret in the connection's settings.
    pub secret: &'static str,
    pub challenge: Option<Challenge>,
    pub ping: Option<Ping>,
    /// What a ping is answered with, [`Scheme::NOW`] in it being the time; `None`: who we are, and what time it is.
    pub pong: Option<&'static str>,
    pub ack: Ack,
    pub trust: Trust,
    pub require: &'static [Require],
    /// The name of the secret that stands in the address, where there is one.
    pub path_secret: &'static str,
    /// Headers that say what the body is about, in lower case: they are kept with it.
    pub keeps: &'static [&'static str],
    /// Ranges it sends from, unless the account names others in `allowed_ips`. Empty: from anywhere.
    pub ips: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    HmacSha256,
    HmacSha512,
    /// Legacy: kept for senders that offer nothing better.
    HmacSha1,
    Ed25519,
    EcdsaP256Sha256,
    /// Legacy: the digest is weak, the curve is not.
    EcdsaP256Sha1,
    RsaSha256,
    /// The header holds the secret itself.
    StaticToken,
    /// Nothing is signed: a secret path, the sender's addresses and the account's own number stand in.
    Unsigned,
}

impl Algorithm {
    /// Whether whoever can verify can also sign.
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::HmacSha256 | Self::HmacSha512 | Self::HmacSha1)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Either case.
    Hex,
    /// With or without padding.
    Base64,
    /// The URL-safe alphabet, with or without padding.
    Base64Url,
    /// As it is written: static tokens.
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The signature alone, after an optional prefix such as `sha256=`.
    Single { prefix: &'static str },
    /// Several, separated by spaces, each `version,signature`; those of this version count.
    SpaceList { version: &'static str },
    /// `t=…,v1=…,v1=…`: those of this version count.
    KeyValues { version: &'static str },
    /// Base64 of a JSON object with these fields.
    Json { signature: &'static str, key_id: &'static str },
}

/// A piece of what is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Id,
    Timestamp,
    Body,
    Text(&'static str),
    /// The address the sender was given, as the account's `webhook_url` says it; we may be behind a proxy that changes it.
    Url,
    Method,
    PathQuery,
    BodySha256Hex,
    Header(&'static str),
    Query(&'static str),
    /// In lower case.
    QueryLower(&'static str),
    /// Of the body, by JSON pointer.
    Json(&'static str),
    /// A value of the account's settings, such as the application's key.
    Account(&'static str),
    /// The names in the header's `h` tag, then their values, each list closed with a dot.
    SignedHeaders,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// The secret's UTF-8 bytes.
    Utf8,
    /// Base64 after an optional prefix.
    Base64 {
        prefix: &'static str,
    },
    Hex,
    /// As WordPress keeps it: `&amp;` in the settings is `&` in the key.
    HtmlDecoded,
    /// The secret is a public key: DER or a bare key, in base64 after an optional prefix, or PEM.
    Public {
        prefix: &'static str,
    },
    /// A public key that the header names; asked for once at `path` and kept.
    Remote {
        path: &'static str,
        pointer: &'static str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Millis,
    Rfc3339,
    /// Seconds or milliseconds, told apart by their size.
    ByMagnitude,
}

/// Where the signed time stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    Header(&'static str, Unit),
    /// In the signature header itself.
    Tag(&'static str, Unit),
    /// In the body, by JSON pointer.
    Json(&'static str, Unit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdSource {
    Header(&'static str),
    /// In the body, by JSON pointer.
    Json(&'static str),
}

/// How a sender makes sure that we are who we say, by GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// `{field: hex(SHA-256(query + token + url))}`; the token is a secret of its own.
    Hashed { query: &'static str, token: &'static str, field: &'static str },
    /// `{field: "sha256=" + base64(HMAC(query))}` with the scheme's own secret.
    Signed { query: &'static str, field: &'static str },
}

/// What is no event: it is answered and forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ping {
    /// An unsigned form with this one field and a number in it.
    Form { field: &'static str },
    /// A body, authentic like any other, with this value at this pointer.
    Json { pointer: &'static str, value: &'static str },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Ours: id and whether it was known.
    Receipt,
    /// These very bytes, as JSON.
    Fixed(&'static str),
    /// Who we are and what time it is.
    NameVersionTime,
    NoContent,
}

/// How far an authentic body is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It is applied.
    Full,
    /// It only says where to look: the order is fetched by API.
    Hint,
}

/// A value of the body that must be the account's own: without a signature it is one more thing a stranger would have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Require {
    pub pointer: &'static str,
    pub account: &'static str,
}

impl Scheme {
    /// The usual name of the secret that must stand in the address, where a connection has one.
    pub const PATH_SECRET: &'static str = "path_secret";
    /// The name of the account's list of ranges it sends from.
    pub const ALLOWED_IPS: &'static str = "allowed_ips";
    /// The name of the account's own address for webhooks, as the sender knows it.
    pub const WEBHOOK_URL: &'static str = "webhook_url";
    /// The name of the account's public keys by their ids.
    pub const PUBLIC_KEYS: &'static str = "public_keys";
    /// What stands for the time in an answer to a ping.
    pub const NOW: &'static str = "{{now|rfc3339}}";

    /// How far its time may be from ours, where all may differ by so much.
    pub fn tolerance(&self, of_all: Duration) -> Duration {
        self.tolerance_s.map_or(of_all, |seconds| Duration::from_secs(u64::from(seconds)))
    }

    /// The version a list of signatures must name for this scheme to apply.
    pub const fn version(&self) -> Option<&'static str> {
        match self.format {
            Format::SpaceList { version } | Format::KeyValues { version } => Some(version),
            Format::Single { .. } | Format::Json { .. } => None,
        }
    }

    /// The values of an account that it looks at.
    pub fn account_names(&self) -> impl Iterator<Item = &'static str> {
        let of_content = self.content.iter().filter_map(|part| if let Part::Account(name) = part { Some(*name) } else { None });
        of_content.chain(self.require.iter().map(|require| require.account))
    }

    /// The secret without which nothing can be believed.
    pub const fn needed_secret(&self) -> &'static str {
        match self.algorithm {
            Algorithm::Unsigned => self.path_secret,
            _ => self.secret,
        }
    }
}
