//! The tables that come in and go out: products and listings. What goes out is what may come in.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::auth::{Role, require};
use super::csv;
use super::described::{Looked, Written};
use super::extract::{NoParams, Params};
use super::import::{self, Emptied, ImportDone, ImportParams, Question, Record, Table, Verdicts, take};
use super::problem::Problem;
use super::shapes::{self, text};
use super::table::line;
use crate::ask;
use crate::context::Context;
use crate::db::DbError;
use crate::db::inventory::{self, LevelRow};
use crate::db::listings::{self, ComponentRow, ExportRow};
use crate::db::products::{self, ProductRow};
use crate::domain::ids::{LocationId, ProductId};
use crate::domain::money::{Currency, Money};
use crate::domain::quantity::QUANTITY_MAX;
use crate::domain::sku::Sku;
use crate::marketplaces::connection::STORE;
use crate::pipeline::import::Kind;
use crate::pipeline::import::listings::{CompareListings, ListingCells};
use crate::pipeline::import::products::{Compare, FaultText, ProductCells};

/// Rows read per question while a table goes out.
const PAGE: i64 = 500;

struct Products;

impl Table for Products {
    type Cells = ProductCells;
    type Sum = Emptied;
    const KIND: Kind = Kind::Products;
    const COLUMNS: &'static [&'static str] =
        &["sku", "name", "price", "cost_price", "currency", "low_stock_threshold", "oversell_policy", "stock"];
    const NEEDED: &'static [&'static str] = &["sku"];
    const KEY: &'static str = "sku";

    fn read(record: &Record<'_>) -> Result<ProductCells, Vec<FaultText>> {
        let mut faults: Vec<FaultText> = Vec::new();
        let sku = record.get("sku").unwrap_or("");
        if let Err(error) = Sku::parse(sku) {
            faults.push(("sku", error.to_string()));
        }
        if let Some(Err(error)) = record.get("name").map(|name| text("name", name, 256)) {
            faults.push(("name", error.message));
        }
        let policy = record.owned("oversell_policy");
        if policy.as_deref().is_some_and(|policy| !["block", "allow", "preorder"].contains(&policy)) {
            faults.push(("oversell_policy", "must be block, allow or preorder".into()));
        }
        if let Some(Err(error)) = record.get("currency").map(Currency::parse) {
            faults.push(("currency", error.to_string()));
        }
        for column in ["price", "cost_price"] {
            // Which places its currency has is seen later; what is no amount in any is seen here.
            let amount = record.get(column).filter(|_| faults.is_empty());
            if amount.is_some_and(|amount| !amount.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')) {
                faults.push((column, "must be a plain decimal, like 129.90".into()));
            }
        }
        let mut whole = |column| record.whole(column, QUANTITY_MAX).map_err(|fault| faults.push(fault)).ok().flatten();
        let (low_stock_threshold, stock) = (whole("low_stock_threshold"), whole("stock"));
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(ProductCells {
            sku: sku.to_owned(),
            name: record.owned("name"),
            price: record.owned("price"),
            cost_price: record.owned("cost_price"),
            currency: record.owned("currency"),
            low_stock_threshold,
            oversell_policy: policy,
            stock,
        })
    }

    fn key(cells: &ProductCells) -> String {
        cells.sku.clone()
    }

    async fn compare(ctx: &Context, rows: Vec<ProductCells>, sum: &mut Emptied) -> Result<Verdicts, Problem> {
        let starting = || Problem::unavailable("starting", "the hub is starting");
        let store = ctx.kit.registry.by_code(STORE).ok_or_else(starting)?;
        let main = *store.locations.first().ok_or_else(starting)?;
        let low_stock_threshold = ctx.kit.limits.low_stock_threshold;
        let compared = ctx.ask(Compare { rows, main, low_stock_threshold }).await?;
        compared.emptied.iter().for_each(|sku| sum.add(sku));
        Ok(compared.verdicts)
    }

    async fn question(ctx: &Context, sum: Emptied, digest: &[u8; 32]) -> Result<Option<Question>, Problem> {
        import::empties(ctx, sum.count(), digest).await
    }
}

#[utoipa::path(post, path = "/v1/admin/products/import", tag = "products", params(ImportParams), security(("token" = []), ("session" = [])),
    request_body(content((String = "text/csv")), description = "a first line with columns (sku, name, price, cost_price, currency, \
        low_stock_threshold, oversell_policy, stock), then a line per product; an empty cell leaves things as they are"),
    responses((status = 200, description = "all of it is done, or what a dry run would do", body = ImportDone),
        (status = 409, description = "it would empty many products: look, and send it again with `confirm`"), Written))]
pub(super) async fn import_products(
    request: HttpRequest,
    params: Params<ImportParams>,
    body: web::Payload,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    take::<Products>(&request, &ctx, params.0, body).await
}

#[utoipa::path(get, path = "/v1/admin/products/export", tag = "products", security(("token" = []), ("session" = [])),
    responses((status = 200, description = "all products, as the import takes them", content_type = "text/csv"), Looked))]
pub(super) async fn export_products(
    request: HttpRequest,
    _: Params<NoParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    let store = ctx.kit.registry.by_code(STORE).ok_or_else(|| Problem::unavailable("starting", "the hub is starting"))?;
    let rows = ProductRows { main: store.locations.first().copied(), after: String::new() };
    Ok(csv::answer(&ctx, "products", Products::COLUMNS, rows))
}

struct ProductRows {
    /// Where their stock is counted.
    main: Option<LocationId>,
    after: String,
}

impl csv::Pieces for ProductRows {
    async fn next(&mut self, ctx: &Context) -> Result<Option<String>, DbError> {
        type Found = (Vec<ProductRow>, Vec<LevelRow>);
        let (rows, levels) = ask!(ctx, Found, [after: String = self.after.clone()] |conn| {
            let rows = products::page(conn, &after, PAGE).await?;
            let levels = inventory::list(conn, rows.iter().map(|row| row.id)).await?;
            Ok((rows, levels))
        })?;
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = last.sku.to_string();
        let at_main = levels.iter().filter(|level| Some(level.location_id) == self.main);
        let stock: HashMap<ProductId, i64> = at_main.map(|level| (level.product_id, level.on_hand)).collect();
        let lines = rows.iter().map(|row| line(Products::COLUMNS, &product(row, stock.get(&row.id).copied().unwrap_or(0))));
        Ok(Some(lines.collect()))
    }
}

fn amount(minor: Option<i64>, currency: Option<&str>) -> Option<String> {
    Some(Money { minor: minor?, currency: Currency::parse(currency?).ok()? }.amount())
}

fn product(row: &ProductRow, stock: i64) -> Value {
    let currency = row.currency.as_deref();
    json!({
        "sku": row.sku, "name": row.name,
        "price": amount(row.price_minor, currency), "cost_price": amount(row.cost_price_minor, currency), "currency": currency,
        "low_stock_threshold": row.low_stock_threshold, "oversell_policy": row.oversell_policy,
        // Less than nothing lies on no shelf: the cell says nothing, and nothing is changed by it.
        "stock": (stock >= 0).then_some(stock),
    })
}

struct Listings;

impl Table for Listings {
    type Cells = ListingCells;
    type Sum = ();
    const KIND: Kind = Kind::Listings;
    const COLUMNS: &'static [&'static str] = &[
        "marketplace",
        "marketplace_product_id",
        "market",
        "sku",
        "units",
        "components",
        "marketplace_sku",
        "refs",
        "price",
        "currency",
        "state",
    ];
    const NEEDED: &'static [&'static str] = &["marketplace"];
    const KEY: &'static str = "marketplace_product_id";

    fn read(record: &Record<'_>) -> Result<ListingCells, Vec<FaultText>> {
        let mut faults: Vec<FaultText> = Vec::new();
        for column in ["marketplace_product_id", "marketplace_sku", "market"] {
            if let Some(Err(error)) = record.get(column).map(|cell| text(column, cell, 256)) {
                faults.push((column, error.message));
            }
        }
        let components = components(record).map_err(|fault| faults.push(fault)).unwrap_or_default();
        let refs = match record.get("refs").map(serde_json::from_str::<Map<String, Value>>) {
            Some(Err(error)) => {
                faults.push(("refs", format!("must be a JSON object: {error}")));
                None
            }
            Some(Ok(names)) => {
                faults.extend(shapes::refs("refs", &names).err().map(|error| ("refs", error.message)));
                Some(names)
            }
            None => None,
        };
        let state = record.owned("state");
        if state.as_deref().is_some_and(|state| !["active", "paused", "ended"].contains(&state)) {
            faults.push(("state", "must be active, paused or ended".into()));
        }
        let only = components.first().map(|(sku, _)| sku.clone()).filter(|_| components.len() == 1);
        let external = record.owned("marketplace_product_id").or_else(|| record.owned("marketplace_sku")).or(only);
        if external.is_none() && faults.is_empty() {
            faults.push(("marketplace_product_id", "a bundle needs a name of its own on the marketplace".into()));
        }
        let (Some(marketplace_product_id), true) = (external, faults.is_empty()) else { return Err(faults) };
        Ok(ListingCells {
            marketplace: record.owned("marketplace").unwrap_or_default(),
            marketplace_product_id,
            market: record.owned("market").unwrap_or_default(),
            components,
            marketplace_sku: record.owned("marketplace_sku"),
            refs,
            price: record.owned("price"),
            currency: record.owned("currency"),
            state,
        })
    }

    fn key(cells: &ListingCells) -> String {
        cells.key()
    }

    async fn compare(ctx: &Context, rows: Vec<ListingCells>, (): &mut ()) -> Result<Verdicts, Problem> {
        Ok(ctx.ask(CompareListings { rows, kit: ctx.kit.clone() }).await?)
    }

    /// What is sold where leaves the stock as it is.
    async fn question(_: &Context, (): (), _: &[u8; 32]) -> Result<Option<Question>, Problem> {
        Ok(None)
    }
}

#[derive(serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
struct Part {
    sku: String,
    units: i64,
}

/// Pieces of a product in one unit of a listing at most.
const UNITS_MAX: i64 = 1_000_000;

fn components(record: &Record<'_>) -> Result<Vec<(String, i64)>, FaultText> {
    let units = record.whole("units", UNITS_MAX)?;
    match (record.get("sku"), record.get("components")) {
        (Some(sku), None) => match units.unwrap_or(1) {
            0 => Err(("units", "must be at least 1".into())),
            units => Ok(vec![(sku.to_owned(), units)]),
        },
        (None, Some(text)) if units.is_none() => {
            let why = "must be a JSON list like [{\"sku\":\"A\",\"units\":2}], each SKU once";
            let parts: Vec<Part> = serde_json::from_str(text).map_err(|_| ("components", why.to_owned()))?;
            let good = (1..=50).contains(&parts.len())
                && parts.iter().all(|part| (1..=UNITS_MAX).contains(&part.units))
                && parts.iter().enumerate().all(|(n, part)| parts[..n].iter().all(|other| other.sku != part.sku));
            if good {
                Ok(parts.into_iter().map(|part| (part.sku, part.units)).collect())
            } else {
                Err(("components", why.into()))
            }
        }
        _ => Err(("sku", "needs either sku (and units) or components".into())),
    }
}

#[utoipa::path(post, path = "/v1/admin/listings/import", tag = "listings", params(ImportParams), security(("token" = []), ("session" = [])),
    request_body(content((String = "text/csv")), description = "a first line with columns (marketplace, marketplace_product_id, market, sku, \
        units, components, marketplace_sku, refs, price, currency, state), then a line per listing; what a listing is made of does not change"),
    responses((status = 200, description = "all of it is done, or what a dry run would do", body = ImportDone), Written))]
pub(super) async fn import_listings(
    request: HttpRequest,
    params: Params<ImportParams>,
    body: web::Payload,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    take::<Listings>(&request, &ctx, params.0, body).await
}

#[utoipa::path(get, path = "/v1/admin/listings/export", tag = "listings", security(("token" = []), ("session" = [])),
    responses((status = 200, description = "all listings, as the import takes them", content_type = "text/csv"), Looked))]
pub(super) async fn export_listings(
    request: HttpRequest,
    _: Params<NoParams>,
    ctx: web::Data<Context>,
) -> Result<HttpResponse, Problem> {
    require(&request, &ctx, Role::Viewer).await?;
    Ok(csv::answer(&ctx, "listings", Listings::COLUMNS, ListingRows { after: Uuid::nil() }))
}

struct ListingRows {
    after: Uuid,
}

impl csv::Pieces for ListingRows {
    async fn next(&mut self, ctx: &Context) -> Result<Option<String>, DbError> {
        type Found = (Vec<ExportRow>, Vec<ComponentRow>, Vec<ProductRow>);
        let (rows, parts, named) = ask!(ctx, Found, [after: Uuid = self.after] |conn| {
            let rows = listings::export(conn, after, PAGE).await?;
            let parts = listings::components(conn, rows.iter().map(|row| row.id)).await?;
            let named = products::list_by_id(conn, parts.iter().map(|part| part.product_id)).await?;
            Ok((rows, parts, named))
        })?;
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = last.id.uuid();
        let names: HashMap<ProductId, Sku> = named.into_iter().map(|row| (row.id, row.sku)).collect();
        Ok(Some(rows.iter().map(|row| line(Listings::COLUMNS, &listing(row, &parts, &names))).collect()))
    }
}

fn listing(row: &ExportRow, parts: &[ComponentRow], names: &HashMap<ProductId, Sku>) -> Value {
    let own = parts.iter().filter(|part| part.listing_id == row.id);
    let own: Vec<Part> = own
        .map(|part| Part { sku: names.get(&part.product_id).map_or(String::new(), Sku::to_string), units: part.units })
        .collect();
    let single = own.first().filter(|_| own.len() == 1);
    json!({
        "marketplace": row.marketplace, "marketplace_product_id": row.marketplace_product_id, "market": row.market,
        "sku": single.map(|part| &part.sku), "units": single.map(|part| part.units),
        "components": (own.len() > 1).then(|| json!(own).to_string()),
        "marketplace_sku": row.marketplace_sku,
        "refs": Some(&row.refs).filter(|refs| *refs != "{}"),
        "price": amount(row.marketplace_price, row.currency.as_deref()), "currency": row.currency, "state": row.state,
    })
}
