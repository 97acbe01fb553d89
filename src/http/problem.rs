//! Every error on its way out: RFC 9457 problem documents. The one place that knows which failure has which code and status; inner
//! words go to the log, never to the body.

use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde_json::{Value, json};

use crate::db::DbError;
use crate::pipeline::catalogue::CatalogueError;
use crate::pipeline::counts::CountError;
use crate::pipeline::dead_letters::DeadLetterError;
use crate::pipeline::intake::IntakeError;
use crate::pipeline::order_changes::ChangeError;
use crate::pipeline::orders::OrderError;
use crate::pipeline::oversells::ResolveError;
use crate::pipeline::push::tasks::TaskError;
use crate::pipeline::rules::RuleError;
use crate::pipeline::unmapped::MapError;
use crate::pipeline::verify::Rejection;
use crate::pipeline::writer::WriteError;

#[derive(Clone, Debug)]
pub struct Problem {
    pub slug: &'static str,
    pub title: &'static str,
    pub status: StatusCode,
    pub detail: String,
    pub errors: Vec<FieldError>,
    pub retry_after: Option<Duration>,
    pub allow: Option<&'static str>,
    /// Members of the document that only this kind has.
    pub more: Vec<(&'static str, Value)>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, serde::Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer in the body, or the parameter's name.
    pub field: String,
    pub message: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.slug, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    /// The body is written by [`finish`], which knows the request's id.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::new(self.status);
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl Problem {
    pub fn new(status: StatusCode, slug: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { slug, title, status, detail: detail.into(), errors: Vec::new(), retry_after: None, allow: None, more: Vec::new() }
    }

    /// A request that says what cannot be: 422, naming each field.
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect::<Vec<_>>().join("; ");
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", "The request cannot be used as it is", detail)
        }
    }

    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(field, message)])
    }

    pub fn not_found(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, slug, "Not found", detail)
    }

    pub fn conflict(slug: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, slug, "Conflict", detail)
    }

    pub fn unauthorized() -> Self {
        Self::nobody("send Authorization: Bearer with a valid token")
    }

    /// The same to a shop's own server.
    pub fn no_storefront_key() -> Self {
        Self::nobody(
            "send X-Storefront-Key with a storefront key of this hub, or Authorization: Bearer with a token of an operator",
        )
    }

    fn nobody(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Who are you?", detail)
    }

    pub fn forbidden(needed: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", format!("this needs the role {needed}"))
    }

    pub fn unavailable(slug: &'static str, detail: impl Into<String>) -> Self {
        let retry_after = Some(Duration::from_secs(1));
        Self { retry_after, ..Self::new(StatusCode::SERVICE_UNAVAILABLE, slug, "Try again shortly", detail) }
    }

    pub fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("this address takes {allow}");
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
        }
    }

    fn internal(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a request failed through our own fault");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Our fault", "the hub failed; its log says why")
    }

    /// A bare status of the framework's own (404, 405, 400 while routing), as a problem.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found("not-found", "there is nothing at this address"),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(status, "method-not-allowed", "Method not allowed", "another method is needed")
            }
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(status, "payload-too-large", "Too large", "the body is too large"),
            status if status.is_client_error() => Self::new(status, "bad-request", "Bad request", "the request cannot be read"),
            status => Self::new(status, "internal", "Our fault", "the hub failed; its log says why"),
        }
    }

    pub fn document(&self, request_id: Option<&str>) -> Value {
        let mut document = json!({
            "type": format!("urn:stockhub:problem:{}", self.slug),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(id) = request_id {
            document["request_id"] = id.into();
        }
        if !self.errors.is_empty() {
            document["errors"] = json!(self.errors);
        }
        for (name, value) in &self.more {
            document[name] = value.clone();
        }
        document
    }

    /// The whole answer. Without an id only where nobody gave the request one.
    pub fn respond(&self, request_id: Option<&str>) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.status);
        response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
        if let Some(after) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, after.as_secs().max(1).to_string()));
        }
        if let Some(allow) = self.allow {
            response.insert_header((header::ALLOW, allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        response.body(self.document(request_id).to_string())
    }
}

/// Writes the body of an error, and of one the framework made without.
pub fn finish(response: ServiceResponse<BoxBody>, request_id: &str) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let problem = response.response().extensions().get::<Problem>().cloned();
    let bare = || {
        let body = response.response().body();
        let written = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
        let plain = response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
        let error = status.is_client_error() || status.is_server_error();
        let empty = matches!(body.size(), actix_web::body::BodySize::None | actix_web::body::BodySize::Sized(0));
        (error && !written && (empty || plain)).then(|| Problem::of_status(status))
    };
    let Some(problem) = problem.or_else(bare) else { return response };
    let (request, old) = response.into_parts();
    let mut new = problem.respond(Some(request_id));
    for (name, value) in old.headers() {
        if !new.headers().contains_key(name) && name != header::CONTENT_LENGTH {
            new.headers_mut().append(name.clone(), value.clone());
        }
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        new.headers_mut().insert(header::HeaderName::from_static("x-request-id"), id);
    }
    ServiceResponse::new(request, new)
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        match &error {
            DbError::Unavailable { .. } | DbError::Conflict { .. } => {
                tracing::warn!(%error, "the database is not available");
                Self::unavailable("storage-unavailable", "the database cannot take this now")
            }
            DbError::Exists { .. } => Self::conflict("already-exists", "it is there already"),
            DbError::Inconsistent { .. } | DbError::RowCount { .. } | DbError::Bug { .. } => Self::internal(&error),
        }
    }
}

impl<E: Into<Problem>> From<WriteError<E>> for Problem {
    fn from(error: WriteError<E>) -> Self {
        match error {
            WriteError::Overloaded => Self::unavailable("overloaded", "too much is waiting to be written"),
            WriteError::Stopping => Self::unavailable("shutting-down", "the hub is stopping"),
            WriteError::Unavailable => Self::unavailable("storage-unavailable", "it could not be written; nothing was changed"),
            WriteError::CommitUnknown => {
                Self::unavailable("commit-unknown", "it may have been written; ask again under the same key")
            }
            WriteError::Refused(error) => error.into(),
        }
    }
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Rejected(Rejection::NoSecret) => Self::unavailable(
                "webhook-not-configured",
                "no secret is configured for this marketplace, so nothing can be believed",
            ),
            IntakeError::Rejected(Rejection::NotConfigured(name)) => Self::unavailable(
                "webhook-not-configured",
                format!("the account's {name} is not configured for this marketplace, so nothing can be believed"),
            ),
            // One answer for all: a forger is not told how close he was.
            IntakeError::Rejected(_) => {
                let detail = "the signature is missing, malformed, wrong, or of another time";
                Self::new(StatusCode::UNAUTHORIZED, "invalid-signature", "Not authentic", detail)
            }
            IntakeError::NotWritten(error) => error.into(),
        }
    }
}

impl From<CatalogueError> for Problem {
    fn from(error: CatalogueError) -> Self {
        match error {
            CatalogueError::SkuTaken => Self {
                errors: vec![FieldError::new("/sku", "a product with this SKU exists")],
                ..Self::conflict("sku-taken", "a product with this SKU exists")
            },
            CatalogueError::ListingTaken => {
                Self::conflict("listing-taken", "the marketplace has a listing with this id and market")
            }
            CatalogueError::MissingRef(name) => Self::field(
                format!("/refs/{name}"),
                "is missing: the marketplace's adapter cannot name the listing without it; it may also stand in the account",
            ),
            CatalogueError::UnknownSku => Self::field("/sku", "there is no product with this SKU"),
            CatalogueError::UnknownLocation => Self::field("/location", "there is no such location"),
            CatalogueError::UnknownComponent(n) => {
                Self::field(format!("/components/{n}/sku"), "there is no product with this SKU")
            }
            CatalogueError::UnknownPlace(field) => Self::field(field, "there is no such location"),
            CatalogueError::LocationTaken => Self {
                errors: vec![FieldError::new("/code", "a location with this code exists")],
                ..Self::conflict("location-taken", "a location with this code exists")
            },
            CatalogueError::NotThere { available, wanted } => Self {
                more: vec![("available", json!(available))],
                ..Self::conflict("insufficient-stock", format!("{wanted} asked for, {available} are available there"))
            },
            CatalogueError::StaleProduct(now) => Self {
                more: vec![("version", json!(now))],
                ..Self::conflict("stale-version", format!("the product changed meanwhile: its version is {now}"))
            },
            CatalogueError::StillInStock => {
                Self::conflict("still-in-stock", "count it to 0 and end its orders and holds before it is archived")
            }
            CatalogueError::TwoCurrencies => Self::field("/cost_price/currency", "must be the currency of the price"),
            CatalogueError::StaleVersion(now) => Self {
                more: vec![("version", json!(now))],
                ..Self::conflict("stale-version", format!("the stock changed meanwhile: its version is {now}"))
            },
            CatalogueError::NotPostable(why) => Self::field("/delta", why),
            CatalogueError::Database(error) => error.into(),
        }
    }
}

impl From<DeadLetterError> for Problem {
    fn from(error: DeadLetterError) -> Self {
        match error {
            DeadLetterError::Unknown => Self::not_found("unknown-dead-letter", "there is no such dead letter"),
            DeadLetterError::NotDiscardable => Self::conflict(
                "not-discardable",
                "a blocked push is a number the marketplace must still be told; it goes away when it is taken",
            ),
            DeadLetterError::Database(error) => error.into(),
        }
    }
}

impl From<TaskError> for Problem {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::UnknownListing => Self::not_found("unknown-listing", "there is no such listing"),
            TaskError::NotByHand => Self::conflict("not-by-hand", "this marketplace is told by the hub itself"),
            TaskError::Database(error) => error.into(),
        }
    }
}

impl From<RuleError> for Problem {
    fn from(error: RuleError) -> Self {
        match error {
            RuleError::Unknown("product") => Self::not_found("unknown-sku", "there is no product with this SKU"),
            RuleError::Unknown(what) => Self::not_found("unknown-listing", format!("there is no such {what}")),
            RuleError::Database(error) => error.into(),
        }
    }
}

impl From<CountError> for Problem {
    fn from(error: CountError) -> Self {
        match error {
            CountError::Faults(faults) => Self::invalid(
                faults.into_iter().map(|f| FieldError::new(format!("/counts/{}/{}", f.index, f.field), f.message)).collect(),
            ),
            CountError::Stale { index, version } => Self {
                more: vec![("version", json!(version)), ("index", json!(index))],
                ..Self::conflict("stale-version", format!("count {index}: the stock changed meanwhile, its version is {version}"))
            },
            CountError::NotPostable(why) => Self::field("/counts", why),
            CountError::Database(error) => error.into(),
        }
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::UnknownSku(unknown) => Self::invalid(
                unknown
                    .into_iter()
                    .map(|(n, sku)| FieldError::new(format!("/items/{n}/sku"), format!("there is no product {sku}")))
                    .collect(),
            ),
            OrderError::Insufficient(short) => {
                let lines: Vec<Value> = short
                    .iter()
                    .map(|s| json!({"index": s.index, "sku": s.sku, "requested": s.requested, "available": s.available}))
                    .collect();
                let detail = short
                    .iter()
                    .map(|s| format!("{}: {} asked for, {} left", s.sku, s.requested, s.available))
                    .collect::<Vec<_>>();
                Self { more: vec![("lines", json!(lines))], ..Self::conflict("insufficient-stock", detail.join("; ")) }
            }
            OrderError::OtherItems => Self::conflict("order-differs", "an order with this external_id has other items"),
            OrderError::OtherHoldItems => Self::conflict("reservation-differs", "a hold with this external_id has other items"),
            OrderError::UnknownReservation => Self::not_found("unknown-reservation", "there is no such hold"),
            OrderError::ReservationEnded(state) => Self {
                more: vec![("state", json!(state))],
                ..Self::conflict("reservation-ended", format!("the hold is {state}"))
            },
            OrderError::NotHeld(short) => Self::invalid(
                short
                    .iter()
                    .map(|s| {
                        FieldError::new(format!("/items/{}/quantity", s.index), format!("the hold has {} left", s.available))
                    })
                    .collect(),
            ),
            OrderError::NotPostable(why) => Self::field("/items", why),
            OrderError::Database(error) => error.into(),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::UnknownOrder => Self::not_found("unknown-order", "there is no such order"),
            ChangeError::UnknownLine(n) => Self::field(format!("/lines/{n}/line"), "the order has no such line"),
            ChangeError::TooMany { index, most } => {
                Self::field(format!("/lines/{index}/quantity"), format!("must be at most {most}: it is the total so far"))
            }
            ChangeError::Shipped => Self::conflict("order-shipped", "all of it is shipped: it can only come back as a return"),
            ChangeError::NotPostable(why) => Self::conflict("not-postable", why),
            ChangeError::Database(error) => error.into(),
        }
    }
}

impl From<MapError> for Problem {
    fn from(error: MapError) -> Self {
        match error {
            MapError::Unknown => {
                Self::not_found("unknown-unmapped", "nothing of that id waits, or was recorded without moving stock")
            }
            MapError::NoSku => Self::field("/sku", "say which product it is"),
            MapError::Nameless => Self::conflict(
                "nameless",
                "it names neither a product nor a SKU: make the listing by hand, it then applies by itself",
            ),
            MapError::NotDeclared => Self::conflict("marketplace-not-declared", "its marketplace is not declared any more"),
            // It is mapped to one product, which stands on top of what was sent.
            MapError::Catalogue(CatalogueError::UnknownComponent(_)) => CatalogueError::UnknownSku.into(),
            MapError::Catalogue(error) => error.into(),
            MapError::Change(error) => error.into(),
            MapError::Database(error) => error.into(),
        }
    }
}

impl From<ResolveError> for Problem {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Unknown => Self::not_found("unknown-oversell", "there is no such oversell case"),
            ResolveError::Resolved => Self::conflict("already-resolved", "the case is resolved"),
            ResolveError::Database(error) => error.into(),
        }
    }
}
