//! The shapes of our own API, as outside tools rely on them. Requests refuse unknown fields; answers name what they hold.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::problem::{FieldError, Problem};
use crate::db::listings::ListingView;
use crate::db::orders::{LineView, OrderView};
use crate::db::products::ProductRow;
use crate::domain::money::{Currency, Money};
use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;
use crate::domain::time::Timestamp;

/// `{"amount":"129.90","currency":"USD"}`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoneyShape {
    /// Plain decimal text.
    #[schema(example = "129.90")]
    pub amount: String,
    /// ISO 4217, three capitals.
    #[schema(example = "USD")]
    pub currency: String,
}

impl MoneyShape {
    pub fn parse(&self, field: &str) -> Result<Money, FieldError> {
        let money = Currency::parse(&self.currency).and_then(|currency| Money::parse(&self.amount, currency));
        let money = money.map_err(|error| FieldError::new(field, error.to_string()))?;
        if money.minor < 0 { Err(FieldError::new(field, "must not be negative")) } else { Ok(money) }
    }

    fn of(minor: Option<i64>, currency: Option<&str>) -> Option<Self> {
        let currency = Currency::parse(currency?).ok()?;
        Some(Self { amount: Money { minor: minor?, currency }.amount(), currency: currency.to_string() })
    }
}

#[derive(Serialize, ToSchema)]
pub struct ReceiptView {
    pub received: bool,
    pub id: String,
    pub duplicate: bool,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProduct {
    /// 1 to 128 characters, taken exactly as written.
    pub sku: String,
    pub name: String,
    pub price: Option<MoneyShape>,
    pub cost_price: Option<MoneyShape>,
    #[schema(minimum = 0)]
    pub low_stock_threshold: Option<i64>,
    pub oversell_policy: Option<OversellPolicy>,
    /// Opening stock at `main`.
    #[schema(minimum = 0, maximum = 1_000_000_000)]
    pub initial_stock: Option<i64>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OversellPolicy {
    Block,
    Allow,
    Preorder,
}

impl OversellPolicy {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Allow => "allow",
            Self::Preorder => "preorder",
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct ProductView {
    #[schema(value_type = String)]
    pub sku: Sku,
    pub name: String,
    pub price: Option<MoneyShape>,
    pub cost_price: Option<MoneyShape>,
    pub low_stock_threshold: i64,
    pub oversell_policy: String,
    pub on_hand: i64,
    pub committed: i64,
    pub reserved: i64,
    pub unsellable: i64,
    pub incoming: i64,
    pub available: i64,
    /// Of the stock at `main`, or the sum over locations: what `expected_version` is held against.
    pub version: i64,
    /// Of the product's own fields: what `If-Match` of a change of them is held against.
    pub product_version: i64,
    pub is_available: bool,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listings: Option<Vec<ListingShape>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locations: Option<Vec<LevelShape>>,
}

#[derive(Serialize, ToSchema)]
pub struct LevelShape {
    pub location: String,
    pub on_hand: i64,
    pub committed: i64,
    pub reserved: i64,
    pub unsellable: i64,
    pub incoming: i64,
    pub available: i64,
    pub version: i64,
}

impl ProductView {
    pub fn new(row: ProductRow, levels: &[crate::db::inventory::LevelRow]) -> Self {
        let sum = |pick: fn(&crate::db::inventory::LevelRow) -> i64| levels.iter().map(pick).sum::<i64>();
        Self {
            price: MoneyShape::of(row.price_minor, row.currency.as_deref()),
            cost_price: MoneyShape::of(row.cost_price_minor, row.currency.as_deref()),
            sku: row.sku,
            name: row.name,
            low_stock_threshold: row.low_stock_threshold,
            oversell_policy: row.oversell_policy,
            on_hand: sum(|l| l.on_hand),
            committed: sum(|l| l.committed),
            reserved: sum(|l| l.reserved),
            unsellable: sum(|l| l.unsellable),
            incoming: sum(|l| l.incoming),
            available: sum(crate::db::inventory::LevelRow::available),
            version: sum(|l| l.version),
            product_version: row.version,
            is_available: row.is_available,
            created_at: row.created_at,
            updated_at: row.updated_at,
            listings: None,
            locations: None,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub struct ListingShape {
    pub id: String,
    pub marketplace: String,
    pub marketplace_product_id: String,
    pub marketplace_sku: Option<String>,
    pub market: String,
    #[schema(value_type = Object)]
    pub refs: serde_json::Value,
    /// What we want it to show.
    pub wanted: i64,
    pub sent: Option<i64>,
    pub acknowledged: Option<i64>,
    /// What we believe it shows; null: not known, a push is due.
    pub expected: Option<i64>,
    /// What it last said of itself.
    pub observed: Option<i64>,
    pub state: String,
    pub wanted_version: i64,
    pub acknowledged_version: i64,
    /// For `If-Match`; grows with every new number too.
    pub version: i64,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_synced_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

impl From<ListingView> for ListingShape {
    fn from(l: ListingView) -> Self {
        Self {
            id: l.id.to_string(),
            marketplace: l.marketplace,
            marketplace_product_id: l.marketplace_product_id,
            marketplace_sku: l.marketplace_sku,
            market: l.market,
            refs: serde_json::from_str(&l.refs).unwrap_or_default(),
            wanted: l.listed_stock,
            sent: l.sent_quantity,
            acknowledged: l.acked_quantity,
            expected: l.expected,
            observed: l.last_api_quantity.or(l.marketplace_stock),
            state: if l.state == "active" { l.push_state } else { l.state },
            wanted_version: l.wanted_version,
            acknowledged_version: l.acked_version,
            version: l.version,
            last_synced_at: l.last_synced_at,
            last_error: l.last_error,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewListingShape {
    pub marketplace: String,
    /// Either this or `components`.
    pub sku: Option<String>,
    /// With `sku`: pieces of the product in one unit of the listing; default 1.
    #[schema(minimum = 1)]
    pub units: Option<i64>,
    /// A bundle: what one unit of the listing is made of. It needs a `marketplace_product_id` or a `marketplace_sku`.
    pub components: Option<Vec<ComponentShape>>,
    /// The marketplace's own id; default its SKU, or ours.
    pub marketplace_product_id: Option<String>,
    pub marketplace_sku: Option<String>,
    pub market: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub refs: Option<serde_json::Map<String, serde_json::Value>>,
    pub price: Option<MoneyShape>,
    #[schema(value_type = Option<Object>)]
    pub rule: Option<crate::domain::rule::Rule>,
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ComponentShape {
    pub sku: String,
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub units: i64,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderItemShape {
    pub sku: String,
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    pub quantity: i64,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreOrder {
    /// The store's own name of the order: sent again it is the same order.
    pub external_id: Option<String>,
    pub items: Vec<OrderItemShape>,
    /// Takes from this hold first, the rest from what is free.
    pub reservation_id: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManualOrder {
    pub marketplace: String,
    pub external_id: Option<String>,
    pub customer_name: Option<String>,
    pub customer_phone: Option<String>,
    pub items: Vec<OrderItemShape>,
    /// Sells although it is not there.
    #[serde(default)]
    pub force: bool,
}

#[derive(Serialize, ToSchema)]
pub struct OrderShape {
    pub id: String,
    pub marketplace: String,
    pub external_id: String,
    pub source: String,
    pub status: String,
    pub lines: Vec<OrderLineShape>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub placed_at: Option<Timestamp>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

#[derive(Serialize, ToSchema)]
pub struct OrderLineShape {
    pub line: String,
    /// Null while the line is not mapped to a product.
    pub sku: Option<String>,
    pub external_sku: Option<String>,
    pub quantity: i64,
    pub cancelled: i64,
    pub shipped: i64,
    pub returned: i64,
    pub price: Option<MoneyShape>,
}

impl OrderShape {
    pub fn new(order: OrderView, lines: impl IntoIterator<Item = LineView>) -> Self {
        let lines = lines.into_iter().map(|l| OrderLineShape {
            price: MoneyShape::of(l.price_minor, l.currency.as_deref()),
            line: l.line_key,
            sku: l.sku,
            external_sku: l.external_sku,
            quantity: l.ordered.unwrap_or(0),
            cancelled: l.cancelled.min(l.ordered.unwrap_or(0).max(0)),
            shipped: l.shipped,
            returned: l.returned + l.returned_unsellable,
        });
        Self {
            id: order.id.to_string(),
            marketplace: order.marketplace,
            external_id: order.external_id,
            source: order.source,
            status: order.status,
            lines: lines.collect(),
            placed_at: order.placed_at,
            created_at: order.created_at,
        }
    }
}

/// Checks a request's items: known form, positive, each SKU once.
pub fn items(shapes: &[OrderItemShape]) -> Result<Vec<(Sku, Quantity)>, Problem> {
    let mut errors = Vec::new();
    let mut items: Vec<(Sku, Quantity)> = Vec::new();
    if shapes.is_empty() || shapes.len() > 500 {
        errors.push(FieldError::new("/items", "must hold 1 to 500 items"));
    }
    for (n, shape) in shapes.iter().enumerate().take(500) {
        let sku = Sku::parse(&shape.sku).map_err(|e| errors.push(FieldError::new(format!("/items/{n}/sku"), e.to_string())));
        let quantity = Quantity::parse_positive(shape.quantity)
            .map_err(|e| errors.push(FieldError::new(format!("/items/{n}/quantity"), e.to_string())));
        if let (Ok(sku), Ok(quantity)) = (sku, quantity) {
            if items.iter().any(|(known, _)| *known == sku) {
                errors.push(FieldError::new(format!("/items/{n}/sku"), format!("{sku} stands twice")));
            }
            items.push((sku, quantity));
        }
    }
    if errors.is_empty() { Ok(items) } else { Err(Problem::invalid(errors)) }
}

/// A text a person or a shop may write into a field: of some length, without control characters.
pub fn text(field: &str, value: &str, max: usize) -> Result<(), FieldError> {
    let count = value.chars().count();
    if count == 0 || count > max || value.chars().any(char::is_control) {
        return Err(FieldError::new(field, format!("must have 1 to {max} characters, none of them control characters")));
    }
    Ok(())
}

/// Names that a marketplace gives a listing, at most.
const REFS_MAX: usize = 50;

/// What a marketplace calls a listing: texts that orders are looked up by, in an index, which takes no endless ones.
pub fn refs(field: &str, refs: &Map<String, Value>) -> Result<(), FieldError> {
    fn good(value: &Value) -> bool {
        match value {
            Value::String(said) => said.is_empty() || text("", said, 256).is_ok(),
            Value::Array(items) => items.iter().all(good),
            Value::Object(members) => members.iter().all(|(name, value)| text("", name, 64).is_ok() && good(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => true,
        }
    }
    if refs.len() <= REFS_MAX && refs.iter().all(|(name, value)| text("", name, 64).is_ok() && good(value)) {
        return Ok(());
    }
    let why = "must be at most 50 names of up to 64 characters, with texts of up to 256, none of them control characters";
    Err(FieldError::new(field, why))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StockChange {
    /// Adds, or takes away when negative; not 0. Either this or `count`.
    pub delta: Option<i64>,
    /// What was counted.
    #[schema(minimum = 0)]
    pub count: Option<i64>,
    /// With `count`: the stock's version it was counted against.
    pub expected_version: Option<i64>,
    pub reason: String,
    pub note: Option<String>,
    /// Default `main`.
    pub location: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TopUp {
    #[schema(minimum = 1)]
    pub quantity: i64,
    pub marketplace: Option<String>,
    pub reference: Option<String>,
    pub location: Option<String>,
}
