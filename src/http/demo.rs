//! What only the demo has: a shopper who buys without paying. Elsewhere this address is not there.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::extract::Body;
use super::problem::Problem;
use crate::context::Context;
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::marketplaces::connection::STORE;
use crate::pipeline::orders::{OrderItem, PlaceOrder};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Purchase {
    sku: String,
}

pub(super) async fn buy(_: HttpRequest, ctx: web::Data<Context>, body: Body<Purchase>) -> Result<HttpResponse, Problem> {
    let nothing = || Problem::not_found("not-found", "there is nothing at this address");
    if !ctx.demo {
        return Err(nothing());
    }
    let sku = Sku::parse(&body.value.sku).map_err(|error| Problem::field("/sku", error.to_string()))?;
    let one = Quantity::parse_positive(1).map_err(|error| Problem::field("/quantity", error.to_string()))?;
    let order = PlaceOrder {
        connection: ctx.kit.registry.by_code(STORE).ok_or_else(nothing)?,
        external_id: None,
        items: vec![OrderItem { sku, quantity: one }],
        customer_name: None,
        customer_phone: None,
        actor: "demo shopper".into(),
        force: false,
        source: "store",
        reservation_id: None,
    };
    ctx.writer.run(order).await?;
    Ok(HttpResponse::Created().json(serde_json::json!({"bought": 1})))
}
