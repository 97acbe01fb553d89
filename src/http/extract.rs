//! Bodies and parameters, with errors that name what is wrong: 415 for another type, 400 for what is no JSON, 422 for the rest.
//! Who may not write here is told so before a byte of the body is read.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use super::auth::{self, Role};
use super::problem::{FieldError, Problem};
use crate::context::Context;

/// Reads a body whole: at most so many bytes, within so much time. Counted as it comes, so a chunked body is stopped too.
pub async fn read_body(request: &HttpRequest, payload: &mut Payload, max: usize, deadline: Duration) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body may have {max} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", "Too large", detail)
    };
    let declared =
        request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if declared.is_some_and(|length| length > max) {
        return Err(too_large());
    }
    let read = async {
        let mut body = BytesMut::with_capacity(declared.unwrap_or(1024).min(max));
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| {
                Problem::new(StatusCode::BAD_REQUEST, "broken-body", "Bad request", format!("the body broke off: {error}"))
            })?;
            if body.len() + chunk.len() > max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    tokio::time::timeout(deadline, read).await.unwrap_or_else(|_| {
        Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "request-timeout", "Too slow", "the body did not arrive in time"))
    })
}

/// A compressed body is refused: its signature would cover other bytes than those that are read, and a small one may be huge.
pub fn refuse_encoding(request: &HttpRequest) -> Result<(), Problem> {
    match request.headers().get(header::CONTENT_ENCODING) {
        None => Ok(()),
        Some(_) => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-encoding",
            "Not taken",
            "send the body as it is, without Content-Encoding",
        )),
    }
}

/// Who must be asking, for a body to be read at all.
pub trait Needs: 'static {
    /// `None`: anybody.
    const ROLE: Option<Role>;
    /// Whether it must be a person who is signed in, whatever their role.
    const SESSION: bool = false;
}

/// A person with a cookie.
pub struct SignedIn;

impl Needs for SignedIn {
    const ROLE: Option<Role> = None;
    const SESSION: bool = true;
}

macro_rules! needs {
    ($($name:ident = $role:expr, $why:literal;)*) => {
        $(
            #[doc = $why]
            pub struct $name;

            impl Needs for $name {
                const ROLE: Option<Role> = $role;
            }
        )*
    };
}

needs! {
    Anybody = None, "The body is read whoever sends it; what happens with it is for the handler to decide.";
    Storefront = Some(Role::Storefront), "Sells.";
    Operator = Some(Role::Operator), "Changes orders and stock.";
    Admin = Some(Role::Admin), "Changes who may what.";
}

/// A JSON body. The bytes stay at hand: an `Idempotency-Key` covers them.
pub struct Body<T, N = Anybody> {
    pub value: T,
    pub bytes: Bytes,
    pub(super) needed: PhantomData<N>,
}

/// Longest body of our own API; imports have their own door.
const BODY_MAX: usize = 256 * 1024;

/// A body as it came, for the doors that take tables too.
pub struct Raw<N = Anybody> {
    pub bytes: Bytes,
    kind: String,
    needed: PhantomData<N>,
}

/// Longest table of an import.
const RAW_MAX: usize = 4 * 1024 * 1024;

impl<N> Raw<N> {
    pub fn is(&self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }
}

impl<N: Needs> FromRequest for Raw<N> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            admit::<N>(&request).await?;
            refuse_encoding(&request)?;
            let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
            let kind = kind.split(';').next().unwrap_or("").trim().to_owned();
            let bytes = read_body(&request, &mut payload, RAW_MAX, deadline(&request)).await?;
            Ok(Self { bytes, kind, needed: PhantomData })
        })
    }
}

/// Who asks is looked at before what he sends is read.
async fn admit<N: Needs>(request: &HttpRequest) -> Result<(), Problem> {
    if N::ROLE.is_none() && !N::SESSION {
        return Ok(());
    }
    let ctx = request.app_data::<web::Data<Context>>();
    let ctx = ctx.ok_or_else(|| Problem::unavailable("starting", "the hub is starting"))?;
    if N::SESSION {
        auth::signed_in(request, ctx).await?;
    }
    let Some(role) = N::ROLE else { return Ok(()) };
    auth::require(request, ctx, role).await.map(|_| ())
}

fn deadline(request: &HttpRequest) -> Duration {
    request
        .app_data::<web::Data<Context>>()
        .map_or(Duration::from_secs(10), |ctx| Duration::from_millis(ctx.settings.ingest.body_deadline_ms))
}

impl<T: DeserializeOwned + 'static, N: Needs> FromRequest for Body<T, N> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            admit::<N>(&request).await?;
            refuse_encoding(&request)?;
            if !request.headers().get(header::CONTENT_TYPE).is_some_and(is_json) {
                let detail = "send Content-Type: application/json";
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Not taken", detail));
            }
            let bytes = read_body(&request, &mut payload, BODY_MAX, deadline(&request)).await?;
            let value = parse(&bytes)?;
            Ok(Self { value, bytes, needed: PhantomData })
        })
    }
}

/// A JSON body that may be left out.
pub struct MaybeBody<T, N = Anybody> {
    pub value: T,
    pub bytes: Bytes,
    needed: PhantomData<N>,
}

impl<T: DeserializeOwned + Default + 'static, N: Needs> FromRequest for MaybeBody<T, N> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let headers = request.headers();
        let empty = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
        if empty && !headers.contains_key(header::TRANSFER_ENCODING) && !headers.contains_key(header::CONTENT_TYPE) {
            // Who asks is looked at by the handler: without a body there is nothing to read first.
            return Box::pin(std::future::ready(Ok(Self { value: T::default(), bytes: Bytes::new(), needed: PhantomData })));
        }
        let body = Body::<T, N>::from_request(request, payload);
        Box::pin(async move { body.await.map(|Body { value, bytes, .. }| Self { value, bytes, needed: PhantomData }) })
    }
}

fn is_json(kind: &header::HeaderValue) -> bool {
    let essence = kind.to_str().unwrap_or("").split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Reads JSON; what is wrong is named by JSON pointer.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.inner());
        if inner.is_data() {
            let message = words(&inner.to_string());
            Problem::field(missing(&pointer(&path), &message), message)
        } else {
            not_json(inner)
        }
    })?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

fn not_json(error: &serde_json::Error) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid-json", "Not JSON", error.to_string())
}

/// `items[0].sku` as `/items/0/sku`.
fn pointer(path: &str) -> String {
    if path == "." {
        return "/".into();
    }
    let flat = path.replace('[', ".").replace(']', "");
    format!("/{}", flat.split('.').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"))
}

/// A field that is not there is named itself, not the object it is missing from.
fn missing(parent: &str, message: &str) -> String {
    let name = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    name.map_or_else(|| parent.to_owned(), |name| format!("{}/{name}", parent.trim_end_matches('/')))
}

/// Without the position in the text, which the pointer says better, and without names of ours: `expected struct OrderShape with 3
/// elements` is an object to whoever sends it.
fn words(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    if message.contains("expected struct ") { "must be an object".into() } else { message.to_owned() }
}

/// The version somebody has seen, where they say so.
pub fn if_match(request: &HttpRequest) -> Result<Option<i64>, Problem> {
    let Some(value) = request.headers().get(header::IF_MATCH) else { return Ok(None) };
    let read = value.to_str().ok().and_then(|text| text.trim().trim_matches('"').parse::<i64>().ok());
    read.map(Some).ok_or_else(|| Problem::field("If-Match", "must be a version that was shown"))
}

/// For addresses that take no query parameters: one that is given was meant for something.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoParams {}

/// Query parameters. Unknown, doubled or ill-formed ones are named.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Params<T> {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(
            request.query_string().as_bytes(),
        )));
        std::future::ready(read.map(Params).map_err(|error| {
            let field = error.path().to_string();
            let message = error.inner().to_string();
            let field = if field == "." { message.split('`').nth(1).unwrap_or("query").to_owned() } else { field };
            Problem::invalid(vec![FieldError::new(field, message)])
        }))
    }
}
