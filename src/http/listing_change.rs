//! Changing a listing: under which name it is told, its price, and whether it is told at all.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::auth::{Role, require};
use super::described::Written;
use super::extract::{Body, Operator, if_match};
use super::login::id;
use super::problem::{FieldError, Problem};
use super::shapes::{ListingShape, MoneyShape, refs, text};
use super::write::{Write, write};
use crate::context::Context;
use crate::db::listings::ListingView;
use crate::domain::ids::ListingId;
use crate::pipeline::listings::{ChangeListing, ListingError, UpdateListing};

/// What is left out stays; null takes away.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListingChange {
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>)]
    marketplace_sku: Option<Option<String>>,
    /// All of them: what is not named is gone.
    #[schema(value_type = Option<Object>)]
    refs: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<MoneyShape>)]
    price: Option<Option<MoneyShape>>,
    /// paused: nothing is pushed. ended: it is not ours any more.
    state: Option<ListingState>,
}

#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum ListingState {
    Active,
    Paused,
    Ended,
}

/// Told apart from absence: null is something said.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(deserializer).map(Some)
}

#[utoipa::path(patch, path = "/v1/admin/listings/{id}", tag = "listings", params(("id" = String, Path),
        ("If-Match" = Option<String>, Header, description = "the `version` that was seen")),
    request_body = ListingChange, security(("token" = []), ("session" = [])),
    responses((status = 200, body = ListingShape), (status = 404, description = "no such listing"),
        (status = 409, description = "it changed meanwhile"), Written))]
pub(super) async fn change(
    request: HttpRequest,
    listing: web::Path<String>,
    ctx: web::Data<Context>,
    body: Body<ListingChange, Operator>,
) -> Result<HttpResponse, Problem> {
    let caller = require(&request, &ctx, Role::Operator).await?;
    let id = ListingId::new(id(&listing)?);
    let shape = body.value;
    let mut errors: Vec<FieldError> = Vec::new();
    if let Some(Some(sku)) = &shape.marketplace_sku {
        errors.extend(text("/marketplace_sku", sku, 256).err());
    }
    errors.extend(shape.refs.as_ref().and_then(|names| refs("/refs", names).err()));
    let price = shape.price.map(|price| price.and_then(|price| price.parse("/price").map_err(|e| errors.push(e)).ok()));
    if !errors.is_empty() {
        return Err(Problem::invalid(errors));
    }
    let state = shape.state.map(|state| match state {
        ListingState::Active => "active",
        ListingState::Paused => "paused",
        ListingState::Ended => "ended",
    });
    let update = UpdateListing { marketplace_sku: shape.marketplace_sku, refs: shape.refs, price, state };
    let command = ChangeListing { id, update, expected_version: if_match(&request)?, actor: caller.actor.clone() };
    let show = |view: ListingView| (StatusCode::OK, json!(ListingShape::from(view)));
    let (caller, request, target, body) = (&caller, &request, Some(listing.into_inner()), &body.bytes[..]);
    write(&ctx, Write { caller, request, body, action: "listing.change", target, command, show }).await
}

impl From<ListingError> for Problem {
    fn from(error: ListingError) -> Self {
        match error {
            ListingError::Unknown => Self::not_found("unknown-listing", "there is no such listing"),
            ListingError::Stale(version) => Self {
                more: vec![("version", json!(version))],
                ..Self::conflict("stale-version", format!("it changed meanwhile: its version is {version}"))
            },
            ListingError::Database(error) => error.into(),
        }
    }
}
