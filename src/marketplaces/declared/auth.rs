//! How requests prove who we are: fixed headers, a user and password, a signature over each request, or a token that is lent out.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::file::AdapterFile;
use super::read::{self, In};
use super::request;
use super::template::{Place, Template, Writing, encoded};
use super::values::Values;
use crate::domain::time::Timestamp;
use crate::marketplaces::call::AccessToken;
use crate::marketplaces::wire::{Method, excerpt};
use crate::marketplaces::{Answer, Connection, Moment, Outcome, Request, Unreadable};
use crate::settings::Secret;

#[derive(Clone, Debug, Default)]
pub struct Auth {
    pub headers: Vec<(String, Template)>,
    pub kind: AuthKind,
}

#[derive(Clone, Debug, Default)]
pub enum AuthKind {
    /// The headers are all.
    #[default]
    Headers,
    Basic {
        username: Template,
        password: Template,
    },
    Hmac(HmacAuth),
    OAuth(OAuth),
}

/// A signature over the request: `{method}`, `{url}`, `{body}` and `{timestamp}` in the order the marketplace wants.
#[derive(Clone, Debug)]
pub struct HmacAuth {
    canonical: String,
    secret: Template,
    base64: bool,
    timestamp_header: String,
    signature_header: String,
}

/// Access tokens by client credentials, or by a refresh token.
#[derive(Clone, Debug)]
pub struct OAuth {
    token_url: Template,
    client_id: Template,
    client_secret: Template,
    refresh_token: Option<Template>,
    scope: Option<String>,
    /// Whether the client proves itself in the body instead of by Basic.
    in_body: bool,
    slack: Duration,
    scheme: String,
}

#[derive(Clone, Copy)]
enum Word {
    Headers,
    Basic,
    Hmac,
    Credentials,
    Refresh,
}

const KINDS: &[(&str, Word)] = &[
    ("headers", Word::Headers),
    ("basic", Word::Basic),
    ("hmac_request", Word::Hmac),
    ("oauth2_client_credentials", Word::Credentials),
    ("oauth2_refresh", Word::Refresh),
];

impl Auth {
    pub fn read(s: &mut In<'_, '_, '_>) -> Self {
        let headers = read::templates(s, "headers", Place::Auth);
        let kind = s.need_or("kind", Word::Headers, read::choice(KINDS));
        let secret = |s: &mut In<'_, '_, '_>, key| s.need_or(key, Template::default(), read::template(Place::Auth));
        let kind = match kind {
            Word::Headers => AuthKind::Headers,
            Word::Basic => AuthKind::Basic { username: secret(s, "username"), password: secret(s, "password") },
            Word::Hmac => AuthKind::Hmac(HmacAuth {
                canonical: s.need_or("canonical", String::new(), canonical),
                secret: s.opt("secret", read::template(Place::Auth)).unwrap_or_else(|| {
                    Template::parse("{{secret.secret_key}}", Place::Auth).unwrap_or_else(|_| Template::default())
                }),
                base64: s.opt("encoding", read::choice(&[("hex", false), ("base64", true)])).unwrap_or(false),
                timestamp_header: s.need_or("timestamp_header", String::new(), read::text),
                signature_header: s.need_or("signature_header", String::new(), read::text),
            }),
            Word::Credentials | Word::Refresh => AuthKind::OAuth(OAuth::read(s, matches!(kind, Word::Refresh))),
        };
        Self { headers, kind }
    }

    pub fn templates(&self) -> Vec<&Template> {
        let mut all: Vec<&Template> = self.headers.iter().map(|(_, template)| template).collect();
        match &self.kind {
            AuthKind::Headers => {}
            AuthKind::Basic { username, password } => all.extend([username, password]),
            AuthKind::Hmac(hmac) => all.push(&hmac.secret),
            AuthKind::OAuth(oauth) => {
                all.extend([&oauth.client_id, &oauth.client_secret]);
                all.extend(&oauth.refresh_token);
            }
        }
        all
    }

    pub const fn lends_tokens(&self) -> bool {
        matches!(self.kind, AuthKind::OAuth(_))
    }

    /// Adds the proof; the last thing done to a request.
    pub fn sign(&self, request: &mut Request, moment: &Moment, values: &Values<'_>) -> Result<(), Unreadable> {
        for (name, template) in &self.headers {
            request.headers.extend(template.text(values, Writing::Plain)?.map(|value| (name.to_ascii_lowercase(), value)));
        }
        match &self.kind {
            AuthKind::Headers => {}
            AuthKind::Basic { username, password } => {
                request.headers.push(("authorization".to_owned(), basic(username, password, values)?));
            }
            AuthKind::Hmac(hmac) => hmac.sign(request, moment.now, values)?,
            AuthKind::OAuth(oauth) => {
                let token = moment.access_token.as_ref();
                let token = token.ok_or_else(|| Unreadable::new("no-token", "no access token was given yet"))?;
                request.headers.push(("authorization".to_owned(), format!("{} {}", oauth.scheme, token.expose())));
            }
        }
        Ok(())
    }

    pub fn token_request(
        &self,
        file: &AdapterFile,
        connection: &Connection,
        moment: &Moment,
    ) -> Option<Result<Request, Unreadable>> {
        match &self.kind {
            AuthKind::OAuth(oauth) => Some(oauth.request(file, connection, moment)),
            AuthKind::Headers | AuthKind::Basic { .. } | AuthKind::Hmac(_) => None,
        }
    }

    pub fn read_token(&self, answer: &Answer) -> Result<AccessToken, Outcome> {
        let slack = if let AuthKind::OAuth(oauth) = &self.kind { oauth.slack } else { Duration::ZERO };
        match answer {
            Answer::Response { status: 200..=299, body, .. } => token(body, slack),
            // Refused credentials are answered 400 by the standard.
            Answer::Response { status: 400 | 401 | 403, body, .. } => Err(Outcome::Auth { message: excerpt(body) }),
            other => Err(Outcome::of_status(other)),
        }
    }
}

fn canonical(node: &crate::settings::tree::Node) -> Result<String, String> {
    let text = read::text(node)?;
    let mut rest = text.as_str();
    while let Some((_, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or("{ is never closed")?;
        if !["method", "url", "body", "timestamp"].contains(&name) {
            return Err(format!("there is no {{{name}}}; there are {{method}}, {{url}}, {{body}}, {{timestamp}}"));
        }
        rest = after;
    }
    Ok(text)
}

fn basic(username: &Template, password: &Template, values: &Values<'_>) -> Result<String, Unreadable> {
    let text = |template: &Template| template.text(values, Writing::Plain).map(Option::unwrap_or_default);
    Ok(format!("Basic {}", STANDARD.encode(format!("{}:{}", text(username)?, text(password)?))))
}

impl HmacAuth {
    fn sign(&self, request: &mut Request, now: Timestamp, values: &Values<'_>) -> Result<(), Unreadable> {
        let secret = self.secret.text(values, Writing::Plain)?.unwrap_or_default();
        let stamp = now.seconds().to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
            .map_err(|_| Unreadable::new("invalid-secret", "the secret cannot be a key"))?;
        let mut rest = self.canonical.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            mac.update(before.as_bytes());
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            match name {
                "method" => mac.update(Auth::method(request.method).as_bytes()),
                "url" => mac.update(request.url.as_bytes()),
                "body" => mac.update(request.body.as_deref().unwrap_or_default()),
                _ => mac.update(stamp.as_bytes()),
            }
            rest = after;
        }
        mac.update(rest.as_bytes());
        let tag = mac.finalize().into_bytes();
        let tag = if self.base64 { STANDARD.encode(tag) } else { hex::encode(tag) };
        request.headers.push((self.timestamp_header.to_ascii_lowercase(), stamp));
        request.headers.push((self.signature_header.to_ascii_lowercase(), tag));
        Ok(())
    }
}

/// The account's own address for tokens, where it has another one: a sandbox, or tests.
pub const TOKEN_URL: &str = "token_url";

impl OAuth {
    fn read(s: &mut In<'_, '_, '_>, refreshes: bool) -> Self {
        let or = |s: &mut In<'_, '_, '_>, key: &'static str, text: &str| {
            let fallback = Template::parse(text, Place::Auth).unwrap_or_else(|_| Template::default());
            s.opt(key, read::template(Place::Auth)).unwrap_or(fallback)
        };
        Self {
            token_url: s.need_or("token_url", Template::default(), read::template(Place::Settings)),
            client_id: or(s, "client_id", "{{secret.client_id}}"),
            client_secret: or(s, "client_secret", "{{secret.client_secret}}"),
            refresh_token: refreshes.then(|| or(s, "refresh_token", "{{secret.refresh_token}}")),
            scope: s.opt("scope", read::text),
            in_body: s.opt("credentials", read::choice(&[("basic", false), ("body", true)])).unwrap_or(false),
            slack: Duration::from_secs(s.opt("expiry_slack_s", crate::settings::parse::whole(0..=3_600)).unwrap_or(30)),
            scheme: s.opt("scheme", read::text).unwrap_or_else(|| "Bearer".to_owned()),
        }
    }

    fn request(&self, file: &AdapterFile, connection: &Connection, moment: &Moment) -> Result<Request, Unreadable> {
        let values = Values::new(connection, moment.now);
        let text = |template: &Template| template.text(&values, Writing::Plain).map(Option::unwrap_or_default);
        let url = match connection.account.get(TOKEN_URL).and_then(serde_json::Value::as_str) {
            Some(own) => own.to_owned(),
            None => match text(&self.token_url)? {
                path if path.starts_with('/') => format!("{}{path}", request::base(file, connection, None, moment.now)?),
                whole => whole,
            },
        };
        let mut form: Vec<(&str, String)> = Vec::new();
        match &self.refresh_token {
            None => form.push(("grant_type", "client_credentials".into())),
            Some(configured) => {
                let token = match &moment.refresh_token {
                    Some(token) => token.expose().to_owned(),
                    None => text(configured)?,
                };
                form.extend([("grant_type", "refresh_token".into()), ("refresh_token", token)]);
            }
        }
        form.extend(self.scope.iter().map(|scope| ("scope", scope.clone())));
        let mut headers = vec![
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
            ("accept".to_owned(), "application/json".to_owned()),
        ];
        if self.in_body {
            form.extend([("client_id", text(&self.client_id)?), ("client_secret", text(&self.client_secret)?)]);
        } else {
            headers.push(("authorization".to_owned(), basic(&self.client_id, &self.client_secret, &values)?));
        }
        headers.extend(request::shared_headers(file, &values)?);
        let body = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&");
        Ok(Request { method: Method::Post, url, headers, body: Some(body.into_bytes()) })
    }
}

/// The answer of RFC 6749.
fn token(body: &[u8], slack: Duration) -> Result<AccessToken, Outcome> {
    #[derive(serde::Deserialize)]
    struct Lent {
        access_token: String,
        expires_in: Option<u64>,
        refresh_token: Option<String>,
    }
    let lent: Lent = serde_json::from_slice(body).map_err(|_| Outcome::Retry {
        after: None,
        throttled: false,
        code: Some("unreadable-answer".into()),
        message: "the answer to the request for a token holds no access_token".into(),
    })?;
    // Without a term it is asked for anew every five minutes.
    let valid_for = Duration::from_secs(lent.expires_in.unwrap_or(300)).saturating_sub(slack);
    Ok(AccessToken { token: Secret::new(lent.access_token), valid_for, refresh: lent.refresh_token.map(Secret::new) })
}
