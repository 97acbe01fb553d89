//! How the senders of a file's webhooks prove themselves: a named scheme, or one written out. Either way it becomes a row like those
//! in `schemes`; the texts it holds are kept for ever, as the built-in ones are.

use super::intern::{intern, intern_all, keep};
use super::pointer::Where;
use super::read::{self, In};
use super::template::{Place, Template, Var};
use crate::marketplaces::scheme::{
    Ack, Algorithm, Challenge, Encoding, Format, IdSource, KeyForm, Part, Ping, Require, Scheme, Stamp, Trust, Unit,
};
use crate::marketplaces::schemes;
use crate::settings::Cidr;
use crate::settings::finding::nearest;
use crate::settings::parse::{list, whole};
use crate::settings::tree::Node;

/// What the scheme cannot check by itself, because it is not a plain value of the account.
pub type Further = Vec<(Where, Template)>;

#[derive(Clone, Copy)]
enum Kind {
    Unsigned,
    Token,
    Hmac,
    Standard,
}

const KINDS: &[(&str, Kind)] =
    &[("none", Kind::Unsigned), ("shared_header", Kind::Token), ("hmac", Kind::Hmac), ("standard", Kind::Standard)];
const ALGORITHMS: &[(&str, Algorithm)] =
    &[("sha256", Algorithm::HmacSha256), ("sha512", Algorithm::HmacSha512), ("sha1", Algorithm::HmacSha1)];
const ENCODINGS: &[(&str, Encoding)] =
    &[("hex", Encoding::Hex), ("base64", Encoding::Base64), ("base64url", Encoding::Base64Url)];
const UNITS: &[(&str, Unit)] =
    &[("s", Unit::Seconds), ("ms", Unit::Millis), ("rfc3339", Unit::Rfc3339), ("by_size", Unit::ByMagnitude)];
const SECRET: &str = "webhook_secret";

/// Reads `verify`, `ack`, `ping` and `challenge` of `[webhook]`.
pub fn read(s: &mut In<'_, '_, '_>) -> (Vec<Scheme>, Further) {
    let at = s.at.clone();
    let verified = s.table("verify", verify).flatten();
    if verified.is_none() {
        s.fault("verify", &at, "is missing: how a sender proves itself ({ scheme = … } or { kind = … })");
    }
    let ack = ack(s);
    let ping = s.table("ping", ping).flatten();
    let challenge = s.table("challenge", challenge).flatten();
    let Some((mut schemes, further)) = verified else { return (Vec::new(), Vec::new()) };
    for scheme in &mut schemes {
        scheme.ack = ack.unwrap_or(scheme.ack);
        if let Some((ping, pong)) = ping {
            (scheme.ping, scheme.pong) = (Some(ping), pong);
        }
        scheme.challenge = challenge.or(scheme.challenge);
    }
    (schemes, further)
}

fn verify(s: &mut In<'_, '_, '_>) -> Option<(Vec<Scheme>, Further)> {
    let at = s.at.clone();
    let named = s.opt("scheme", scheme_named);
    let secret = s.opt("secret", secret_name);
    let path_secret = s.opt("path_secret", secret_name);
    let ips = s.opt("ip_allow", list(|text| Cidr::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())));
    let trust = s.opt("trust", read::choice(&[("full", Trust::Full), ("hint", Trust::Hint)]));
    let (require, further) = require(s);
    let tolerance_s = s.opt("tolerance_s", whole::<u32>(1..=86_400));
    let mut schemes = match named {
        Some(list) => list.to_vec(),
        None => {
            let Some(kind) = s.opt("kind", read::choice(KINDS)) else {
                s.fault("kind", &at, "is missing: none, shared_header, hmac or standard (or scheme = \"…\")");
                return None;
            };
            vec![written_out(s, kind)]
        }
    };
    if tolerance_s.is_some() && schemes.iter().all(|scheme| scheme.timestamp.is_none()) {
        s.fault("tolerance_s", &at, "has nothing to bound: no time is signed along");
    }
    for scheme in &mut schemes {
        scheme.tolerance_s = tolerance_s.filter(|_| scheme.timestamp.is_some());
        if let Some(secret) = secret {
            scheme.secret = secret;
        }
        if let Some(path) = path_secret {
            scheme.path_secret = path;
        }
        if let Some(ips) = &ips {
            scheme.ips = intern_all(ips);
        }
        if !require.is_empty() {
            scheme.require = keep(require.clone());
        }
        scheme.trust = trust.unwrap_or(scheme.trust);
    }
    Some((schemes, further))
}

fn scheme_named(node: &Node) -> Result<&'static [Scheme], String> {
    let name = read::text(node)?;
    schemes::named(&name).ok_or_else(|| match nearest(&name, schemes::names()) {
        Some(meant) => format!("there is no scheme {name:?}; did you mean {meant}?"),
        None => format!("there is no scheme {name:?}; there are {}", schemes::names().collect::<Vec<_>>().join(", ")),
    })
}

/// `webhook_secret`, or `{{secret.webhook_secret}}`.
fn secret_name(node: &Node) -> Result<&'static str, String> {
    let text = read::text(node)?;
    if !text.contains("{{") {
        return Ok(intern(&text));
    }
    let template = Template::parse(&text, Place::Auth)?;
    let mut holes = template.holes();
    match (holes.next().map(|hole| &hole.var), holes.next(), template.is_single()) {
        (Some(Var::Secret(name)), None, true) => Ok(intern(name)),
        _ => Err("must be the name of a secret, like {{secret.webhook_secret}}".to_owned()),
    }
}

fn written_out(s: &mut In<'_, '_, '_>, kind: Kind) -> Scheme {
    let at = s.at.clone();
    let base = match kind {
        Kind::Unsigned => {
            return Scheme {
                name: "declared-unsigned",
                header: "",
                algorithm: Algorithm::Unsigned,
                encoding: Encoding::Text,
                format: Format::Single { prefix: "" },
                content: &[],
                trust: Trust::Hint,
                ..schemes::plain(Scheme::PATH_SECRET)
            };
        }
        Kind::Standard => return schemes::standard(SECRET),
        Kind::Token => Scheme { name: "declared-token", ..schemes::token(SECRET) },
        Kind::Hmac => Scheme { name: "declared-hmac", ..schemes::plain(SECRET) },
    };
    let header = s.opt("header", |node| read::text(node).map(|name| intern(&name.to_ascii_lowercase())));
    if header.is_none() {
        s.fault("header", &at, "is missing: which header holds the signature");
    }
    let header = header.unwrap_or("x-missing");
    if matches!(kind, Kind::Token) {
        return Scheme { header, ..base };
    }
    let prefix = s.opt("prefix", read::kept).unwrap_or("");
    let version = s.opt("version", read::kept);
    let timestamp = s.table("timestamp", stamp).flatten();
    let content = s.opt("signed", |node| signed(&read::text(node)?)).unwrap_or(&[Part::Body]);
    if content.contains(&Part::Timestamp) && timestamp.is_none() {
        s.fault("timestamp", &at, "is missing: signed speaks of it");
    }
    const KEYS: &[(&str, KeyForm)] = &[
        ("utf8", KeyForm::Utf8),
        ("base64", KeyForm::Base64 { prefix: "" }),
        ("hex", KeyForm::Hex),
        ("html", KeyForm::HtmlDecoded),
    ];
    Scheme {
        header,
        algorithm: s.opt("algorithm", read::choice(ALGORITHMS)).unwrap_or(Algorithm::HmacSha256),
        encoding: s.opt("encoding", read::choice(ENCODINGS)).unwrap_or(Encoding::Hex),
        format: version.map_or(Format::Single { prefix }, |version| Format::KeyValues { version }),
        key: s.opt("key", read::choice(KEYS)).unwrap_or(KeyForm::Utf8),
        content,
        timestamp,
        id: s.table("id", id).flatten(),
        ..base
    }
}

/// `{timestamp}.{body}`.
fn signed(text: &str) -> Result<&'static [Part], String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("{ is never closed")?;
        if !before.is_empty() {
            parts.push(Part::Text(intern(before)));
        }
        parts.push(match name.split_once(':') {
            Some(("header", name)) => Part::Header(intern(&name.to_ascii_lowercase())),
            Some(("query", name)) => Part::Query(intern(name)),
            Some(("json", pointer)) => Part::Json(intern(pointer)),
            Some(("account", name)) => Part::Account(intern(name)),
            _ => match name {
                "body" => Part::Body,
                "timestamp" => Part::Timestamp,
                "id" => Part::Id,
                "url" => Part::Url,
                "method" => Part::Method,
                "path_query" => Part::PathQuery,
                "body_sha256" => Part::BodySha256Hex,
                other => return Err(format!("there is no {{{other}}}; there are body, timestamp, id, url, method, path_query, body_sha256, header:NAME, query:NAME, json:POINTER, account:NAME")),
            },
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(intern(rest)));
    }
    if parts.contains(&Part::Body) || parts.contains(&Part::BodySha256Hex) {
        Ok(keep(parts))
    } else {
        Err("must hold {body} or {body_sha256}: or anything could be put into the body".to_owned())
    }
}

fn header_or_pointer(s: &mut In<'_, '_, '_>) -> (Option<&'static str>, Option<&'static str>) {
    let header = s.opt("header", |node| read::text(node).map(|name| intern(&name.to_ascii_lowercase())));
    let pointer = s.opt("pointer", |node| read::pointer(node).and_then(|_| read::kept(node)));
    (header, pointer)
}

fn stamp(s: &mut In<'_, '_, '_>) -> Option<Stamp> {
    let unit = s.opt("unit", read::choice(UNITS)).unwrap_or(Unit::Seconds);
    let tag = s.opt("tag", read::kept);
    match (header_or_pointer(s), tag) {
        ((Some(header), None), None) => Some(Stamp::Header(header, unit)),
        ((None, Some(pointer)), None) => Some(Stamp::Json(pointer, unit)),
        ((None, None), Some(tag)) => Some(Stamp::Tag(tag, unit)),
        _ => {
            let at = s.at.clone();
            s.fault("", &at, "needs one of header, pointer, tag");
            None
        }
    }
}

fn id(s: &mut In<'_, '_, '_>) -> Option<IdSource> {
    match header_or_pointer(s) {
        (Some(header), None) => Some(IdSource::Header(header)),
        (None, Some(pointer)) => Some(IdSource::Json(pointer)),
        _ => {
            let at = s.at.clone();
            s.fault("", &at, "needs header or pointer");
            None
        }
    }
}

/// `require`: a value of the body that must be a value of the account goes into the scheme, anything else is looked at later.
fn require(s: &mut In<'_, '_, '_>) -> (Vec<Require>, Further) {
    let rows = s.tables("require", |s| {
        let place = s
            .opt("pointer", read::place)
            .or_else(|| s.opt("header", |node| read::text(node).map(|name| Where::Header(intern(&name.to_ascii_lowercase())))));
        let pointer = s.opt("pointer", read::kept);
        let equals = s.opt("equals", read::template(Place::Settings));
        let at = s.at.clone();
        if place.is_none() || equals.is_none() {
            s.fault("", &at, "needs pointer or header, and equals");
        }
        Some((place?, pointer, equals?))
    });
    let (mut require, mut further) = (Vec::new(), Vec::new());
    for (place, pointer, equals) in rows.into_iter().flatten() {
        let account = match equals.holes().next().map(|hole| &hole.var) {
            Some(Var::Account(name)) if equals.is_single() => Some(intern(name)),
            _ => None,
        };
        match (pointer, account) {
            (Some(pointer), Some(account)) => require.push(Require { pointer, account }),
            _ => further.push((place, equals)),
        }
    }
    (require, further)
}

/// `ack`: a word, or `{status, body}`.
fn ack(s: &mut In<'_, '_, '_>) -> Option<Ack> {
    const WORDS: &[(&str, Ack)] =
        &[("receipt", Ack::Receipt), ("name_version_time", Ack::NameVersionTime), ("no_content", Ack::NoContent)];
    if matches!(s.node("ack").map(|node| &node.value), Some(crate::settings::tree::Value::Text(_))) {
        return s.opt("ack", read::choice(WORDS));
    }
    s.table("ack", |s| {
        let status = s.opt("status", |node| match whole(200..=204)(node)? {
            status @ (200 | 204) => Ok(status),
            _ => Err("is 200 or 204".to_owned()),
        });
        let body = s.opt("body", read::kept);
        s.opt("content_type", read::choice(&[("application/json", ())]));
        match (status, body) {
            (Some(204), _) => Ack::NoContent,
            (_, Some(body)) if !body.is_empty() => Ack::Fixed(body),
            _ => Ack::Receipt,
        }
    })
}

/// `{pointer, equals}`, or `{body_prefix = "field="}`: an unsigned form. What it is answered with, where that is not name, version
/// and time, stands in `body`.
fn ping(s: &mut In<'_, '_, '_>) -> Option<(Ping, Option<&'static str>)> {
    let at = s.at.clone();
    let pointer = s.opt("pointer", |node| read::pointer(node).and_then(|_| read::kept(node)));
    let value = s.opt("equals", read::kept);
    let field = s.opt("body_prefix", |node| {
        let text = read::text(node)?;
        text.strip_suffix('=').map(intern).ok_or_else(|| "must be the name of a field and =, like \"webhook_id=\"".to_owned())
    });
    let pong = s.opt("body", pong);
    // The rest of what can be said of a ping follows from its kind: files may say it, but nothing else.
    let form = field.is_some();
    let content_type = if form { "application/x-www-form-urlencoded" } else { "application/json" };
    s.opt("content_type", |node| match read::text(node)? {
        said if said == content_type => Ok(()),
        _ => Err(format!("is {content_type} for such a ping")),
    });
    for (key, fixed) in [("unsigned", form), ("skip_require", true)] {
        s.opt(key, |node| match crate::settings::parse::boolean(node)? {
            said if said == fixed => Ok(()),
            _ => Err(format!("is {fixed} for such a ping")),
        });
    }
    match (pointer, value, field) {
        (Some(pointer), Some(value), None) => Some((Ping::Json { pointer, value }, pong)),
        (None, None, Some(field)) => Some((Ping::Form { field }, pong)),
        _ => {
            s.fault("", &at, "needs pointer and equals, or body_prefix");
            None
        }
    }
}

/// Text in which the time may stand, and nothing else that differs.
fn pong(node: &Node) -> Result<&'static str, String> {
    let text = read::text(node)?;
    if text.replace(Scheme::NOW, "").contains("{{") {
        return Err(format!("may name {} and nothing else", Scheme::NOW));
    }
    Ok(intern(&text))
}

fn challenge(s: &mut In<'_, '_, '_>) -> Option<Challenge> {
    let hashed = s.need_or("kind", true, read::choice(&[("hashed", true), ("signed", false)]));
    let (query, field) = (s.need_or("query", "", read::kept), s.need_or("field", "", read::kept));
    if hashed {
        let token = s.need_or("token", "", secret_name);
        return Some(Challenge::Hashed { query, token, field });
    }
    Some(Challenge::Signed { query, field })
}
