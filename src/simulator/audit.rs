//! The reckoning at the end of a run: what every shop shows, sold and was told, beside what the hub claims. Everything is
//! recomputed from the shops' own counts; the hub contributes only the number under trial.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::domain::quantity::Quantity;
use crate::domain::sku::Sku;

use super::shop::{Item, ShopState, Totals};

/// Product rows printed in the table. The JSON has all.
const ROWS_PRINTED: usize = 50;

/// The hub's side of one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFigure {
    pub sku: Sku,
    /// Before the run.
    pub opening: i64,
    /// What else happened to it, told by whoever did it: top-ups and counts above zero, the store's own orders below.
    pub other_change: i64,
    /// What the hub says is available now. Below zero where it was oversold.
    pub available: i64,
    /// What every shop should show, where a rule (a buffer, a quota) says so; else `available`, at least zero.
    pub shown: Option<i64>,
    /// The same per shop, by code, where each has a rule of its own; it goes before `shown`.
    pub wanted: BTreeMap<String, i64>,
}

impl HubFigure {
    pub fn new(sku: Sku, opening: i64, available: i64) -> Self {
        Self { sku, opening, other_change: 0, available, shown: None, wanted: BTreeMap::new() }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct ShopRow {
    pub code: String,
    pub products: usize,
    pub shown: i64,
    pub sold: i64,
    pub cancelled: i64,
    pub returned: i64,
    #[serde(flatten)]
    pub totals: Totals,
}

#[derive(Clone, Debug, Serialize)]
pub struct ProductRow {
    pub sku: Sku,
    pub opening: i64,
    pub other_change: i64,
    /// Sold less cancelled and returned, over all shops.
    pub sold: i64,
    /// What must be left.
    pub expected: i64,
    pub available: i64,
    pub shown: BTreeMap<String, i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    HubWrong {
        sku: Sku,
        expected: i64,
        available: i64,
    },
    ShopWrong {
        sku: Sku,
        shop: String,
        expected: i64,
        shown: i64,
    },
    /// A shop sold what the hub was not asked about.
    NotInHub {
        sku: Sku,
        shop: String,
        sold: i64,
    },
    /// One idempotency key with two bodies.
    KeyConflicts {
        shop: String,
        count: u64,
    },
    /// Still on their way: the picture was taken too early.
    WebhooksPending {
        shop: String,
        count: u64,
    },
    WebhooksGivenUp {
        shop: String,
        count: u64,
    },
}

/// Prints as a table; serialises to JSON.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub clean: bool,
    pub shops: Vec<ShopRow>,
    pub products: Vec<ProductRow>,
    pub findings: Vec<Finding>,
}

/// Checks, per product, `opening + other − Σ sold == hub` and `hub == shown everywhere`.
pub fn audit(shops: &[ShopState], hub: &[HubFigure]) -> Report {
    let mut findings = Vec::new();
    let mut listed: BTreeMap<&Sku, Vec<(&str, &Item)>> = BTreeMap::new();
    for (shop, item) in shops.iter().flat_map(|shop| shop.items.iter().map(move |item| (shop, item))) {
        listed.entry(&item.sku).or_default().push((&shop.code, item));
    }
    let products = hub.iter().map(|figure| {
        let listed = listed.remove(&figure.sku).unwrap_or_default();
        product_row(&listed, figure, &mut findings)
    });
    let products = products.collect();
    // What is left here belongs to no figure of the hub.
    for (shop, item) in listed.into_values().flatten().filter(|(_, item)| item.sold > 0) {
        findings.push(Finding::NotInHub { sku: item.sku.clone(), shop: shop.to_owned(), sold: item.sold });
    }
    for shop in shops {
        let (totals, code) = (&shop.totals, || shop.code.clone());
        let settled = totals.webhooks_answered + totals.webhooks_given_up;
        let pending = totals.webhooks_queued.saturating_sub(settled);
        if totals.key_conflicts > 0 {
            findings.push(Finding::KeyConflicts { shop: code(), count: totals.key_conflicts });
        }
        if pending > 0 {
            findings.push(Finding::WebhooksPending { shop: code(), count: pending });
        }
        if totals.webhooks_given_up > 0 {
            findings.push(Finding::WebhooksGivenUp { shop: code(), count: totals.webhooks_given_up });
        }
    }
    Report { clean: findings.is_empty(), shops: shops.iter().map(shop_row).collect(), products, findings }
}

fn product_row(listed: &[(&str, &Item)], figure: &HubFigure, findings: &mut Vec<Finding>) -> ProductRow {
    let sold = listed.iter().map(|(_, item)| item.sold - item.cancelled - item.returned).sum::<i64>();
    let expected = figure.opening + figure.other_change - sold;
    if figure.available != expected {
        findings.push(Finding::HubWrong { sku: figure.sku.clone(), expected, available: figure.available });
    }
    let everywhere = figure.shown.unwrap_or_else(|| Quantity::shown(figure.available).get());
    for (shop, item) in listed {
        let expected = figure.wanted.get(*shop).copied().unwrap_or(everywhere);
        if item.stock != expected {
            let (sku, shop) = (figure.sku.clone(), (*shop).to_owned());
            findings.push(Finding::ShopWrong { sku, shop, expected, shown: item.stock });
        }
    }
    ProductRow {
        sku: figure.sku.clone(),
        opening: figure.opening,
        other_change: figure.other_change,
        sold,
        expected,
        available: figure.available,
        shown: listed.iter().map(|(shop, item)| ((*shop).to_owned(), item.stock)).collect(),
    }
}

fn shop_row(shop: &ShopState) -> ShopRow {
    let sum = |part: fn(&Item) -> i64| shop.items.iter().map(part).sum();
    ShopRow {
        code: shop.code.clone(),
        products: shop.items.len(),
        shown: sum(|item| item.stock),
        sold: sum(|item| item.sold),
        cancelled: sum(|item| item.cancelled),
        returned: sum(|item| item.returned),
        totals: shop.totals,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = ["shop", "shown", "sold", "cancelled", "pushes", "applied", "duplicate", "webhooks", "answered", "lost"];
        let rows = self.shops.iter().map(|row| {
            let t = &row.totals;
            let sent = t.webhooks_queued + t.webhooks_lost;
            let counts = [t.pushes_received, t.pushes_applied, t.pushes_duplicate, sent, t.webhooks_answered, t.webhooks_lost];
            let mut cells = vec![row.code.clone()];
            cells.extend([row.shown, row.sold, row.cancelled].iter().map(i64::to_string));
            cells.extend(counts.iter().map(u64::to_string));
            cells
        });
        table(f, &heads, &rows.collect::<Vec<_>>())?;
        writeln!(f)?;
        let rows = self.products.iter().take(ROWS_PRINTED).map(|row| {
            let shown: Vec<_> = row.shown.iter().map(|(shop, stock)| format!("{shop} {stock}")).collect();
            let numbers = [row.opening, row.other_change, row.sold, row.expected, row.available];
            let mut cells = vec![row.sku.to_string()];
            cells.extend(numbers.iter().map(i64::to_string));
            cells.push(shown.join(", "));
            cells
        });
        table(f, &["product", "opening", "other", "sold", "expected", "hub", "shown"], &rows.collect::<Vec<_>>())?;
        if self.products.len() > ROWS_PRINTED {
            writeln!(f, "… and {} more products", self.products.len() - ROWS_PRINTED)?;
        }
        writeln!(f)?;
        for finding in &self.findings {
            writeln!(f, "WRONG  {finding}")?;
        }
        if self.clean { writeln!(f, "every number agrees") } else { writeln!(f, "{} findings", self.findings.len()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HubWrong { sku, expected, available } => write!(f, "{sku}: the hub has {available}, should have {expected}"),
            Self::ShopWrong { sku, shop, expected, shown } => write!(f, "{sku}: {shop} shows {shown}, should show {expected}"),
            Self::NotInHub { sku, shop, sold } => write!(f, "{sku}: {shop} sold {sold}, the hub was not asked about it"),
            Self::KeyConflicts { shop, count } => write!(f, "{shop}: {count} pushes reused a key with another body"),
            Self::WebhooksPending { shop, count } => write!(f, "{shop}: {count} webhooks are still on their way"),
            Self::WebhooksGivenUp { shop, count } => write!(f, "{shop}: {count} webhooks were given up"),
        }
    }
}

/// First column to the left, the others to the right, each as wide as it must be.
fn table(f: &mut fmt::Formatter<'_>, heads: &[&str], rows: &[Vec<String>]) -> fmt::Result {
    let wide = |cell: &str| cell.chars().count();
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(column, head)| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| wide(cell));
            cells.chain([wide(head)]).max().unwrap_or(0)
        })
        .collect();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    for row in std::iter::once(&heads).chain(rows) {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => write!(f, "{cell:<width$}")?,
                _ => write!(f, "  {cell:>width$}")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::kinds::Kind;
    use super::*;

    fn shop(code: &str, stock: i64, sold: i64, cancelled: i64) -> ShopState {
        let sku = Sku::parse("PHONE-001").unwrap();
        let product_id = format!("{code}-1");
        let (price, returned, pushes_applied, refs, open) = (None, 0, 0, serde_json::Map::new(), 0);
        let item = Item { sku, product_id, price, refs, opening: 50, stock, open, sold, cancelled, returned, pushes_applied };
        let (calls, breaches) = (BTreeMap::new(), BTreeMap::new());
        ShopState { code: code.into(), kind: Kind::Generic, items: vec![item], totals: Totals::default(), calls, breaches }
    }

    fn figure(available: i64) -> HubFigure {
        HubFigure { other_change: -1, ..HubFigure::new(Sku::parse("PHONE-001").unwrap(), 50, available) }
    }

    #[test]
    fn a_right_run_is_clean() {
        let report = audit(&[shop("uzum", 44, 4, 1), shop("ozon", 44, 2, 0)], &[figure(44)]);
        assert!(report.clean, "{report}");
        assert!(report.to_string().contains("every number agrees"));
        assert_eq!(serde_json::to_value(&report).unwrap()["products"][0]["shown"]["ozon"], 44);
    }

    #[test]
    fn an_oversell_shows_zero_everywhere() {
        assert!(audit(&[shop("uzum", 0, 30, 0), shop("ozon", 0, 22, 0)], &[figure(-3)]).clean);
    }

    #[test]
    fn each_shop_may_have_a_number_of_its_own() {
        let wanted = BTreeMap::from([("ozon".to_owned(), 40)]);
        let figures = [HubFigure { wanted, ..figure(44) }];
        assert!(audit(&[shop("uzum", 44, 5, 0), shop("ozon", 40, 0, 0)], &figures).clean);
        let report = audit(&[shop("uzum", 44, 5, 0), shop("ozon", 44, 0, 0)], &figures);
        assert!(report.to_string().contains("PHONE-001: ozon shows 44, should show 40"), "{report}");
    }

    #[test]
    fn wrong_numbers_are_found_and_named() {
        let mut ozon = shop("ozon", 45, 2, 0);
        ozon.totals = Totals { key_conflicts: 1, webhooks_queued: 3, webhooks_answered: 1, ..Totals::default() };
        let report = audit(&[shop("uzum", 46, 3, 0), ozon], &[figure(45)]);
        assert_eq!(report.findings.len(), 4, "{report}");
        assert!(report.to_string().contains("PHONE-001: the hub has 45, should have 44"));
        assert!(report.to_string().contains("PHONE-001: uzum shows 46, should show 45"));
        assert_eq!(audit(&[shop("uzum", 1, 2, 0)], &[]).findings.len(), 1);
    }
}
