//! Which listing a row of a marketplace's list is. By the marketplace's own names, the surest first; a SKU only where no name is
//! known; where several would fit, nobody guesses.

use std::collections::HashMap;

use serde_json::Value;

use crate::db::observations::ListingName;
use crate::marketplaces::call::StockRow;
use crate::marketplaces::wire::PushItem;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    One(usize),
    Nobody,
    /// Several listings are called so: which one is meant cannot be told.
    Several,
}

/// All listings of one account, by all they are called.
pub struct Names {
    pub rows: Vec<ListingName>,
    by_ref: HashMap<(String, String), Vec<usize>>,
    by_id: HashMap<String, Vec<usize>>,
    by_sku: HashMap<String, Vec<usize>>,
}

impl Names {
    pub fn new(rows: Vec<ListingName>) -> Self {
        let mut names = Self { rows: Vec::new(), by_ref: HashMap::new(), by_id: HashMap::new(), by_sku: HashMap::new() };
        for (n, row) in rows.iter().enumerate() {
            for (name, value) in refs(row) {
                let text = match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                names.by_ref.entry((name, text)).or_default().push(n);
            }
            names.by_id.entry(row.marketplace_product_id.clone()).or_default().push(n);
            let sku = row.marketplace_sku.as_deref().unwrap_or(&row.sku);
            names.by_sku.entry(sku.to_owned()).or_default().push(n);
        }
        names.rows = rows;
        names
    }

    pub fn find(&self, row: &StockRow) -> Found {
        for (n, (name, value)) in row.names.iter().enumerate() {
            let by_ref = self.by_ref.get(&(name.clone(), value.clone()));
            // The surest name is also what a listing without refs is called.
            let found = by_ref.or_else(|| if n == 0 { self.by_id.get(value) } else { None });
            if let Some(found) = found {
                return self.judge(found, row, n + 1);
            }
        }
        match row.sku.as_ref().and_then(|sku| self.by_sku.get(sku).or_else(|| self.by_id.get(sku))) {
            Some(found) => self.judge(found, row, row.names.len()),
            None => Found::Nobody,
        }
    }

    /// Of several with the same name the market decides, then the further names.
    fn judge(&self, found: &[usize], row: &StockRow, further: usize) -> Found {
        let of_market =
            |market: &str| -> Vec<usize> { found.iter().copied().filter(|n| self.rows[*n].market == market).collect() };
        let mut left = match row.market.as_deref() {
            Some(market) => Some(of_market(market)).filter(|left| !left.is_empty()).unwrap_or_else(|| of_market("")),
            None => found.to_vec(),
        };
        for (name, value) in row.names.iter().skip(further) {
            if left.len() < 2 {
                break;
            }
            let bears = |n: &usize| self.by_ref.get(&(name.clone(), value.clone())).is_some_and(|others| others.contains(n));
            let narrowed: Vec<usize> = left.iter().copied().filter(bears).collect();
            if !narrowed.is_empty() {
                left = narrowed;
            }
        }
        if left.len() > 1 && row.market.is_none() {
            let plain = of_market("");
            left = if plain.len() == 1 { plain } else { left };
        }
        match left[..] {
            [one] => Found::One(one),
            [] => Found::Nobody,
            _ => Found::Several,
        }
    }

    /// Those that the listing does not bear yet, or bears otherwise.
    pub fn other_refs(&self, n: usize, told: Vec<(String, String)>) -> Vec<(String, String)> {
        let bears = |(name, value): &(String, String)| {
            self.by_ref.get(&(name.clone(), value.clone())).is_some_and(|listings| listings.contains(&n))
        };
        told.into_iter().filter(|told| !bears(told)).collect()
    }

    /// A listing as a question about it names it.
    pub fn item(&self, n: usize) -> PushItem {
        let row = &self.rows[n];
        PushItem {
            listing_id: row.id,
            version: row.wanted_version,
            quantity: row.listed_stock,
            marketplace_product_id: row.marketplace_product_id.clone(),
            sku: row.marketplace_sku.clone().unwrap_or_else(|| row.sku.clone()),
            refs: refs(row),
            expected: row.expected,
            changed_at: row.wanted_at,
        }
    }
}

fn refs(row: &ListingName) -> serde_json::Map<String, Value> {
    serde_json::from_str(&row.refs).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::ListingId;
    use crate::domain::time::Timestamp;

    fn listing(id: &str, market: &str, refs: &str, sku: &str) -> ListingName {
        ListingName {
            id: ListingId::new(uuid::Uuid::nil()),
            marketplace_product_id: id.into(),
            market: market.into(),
            marketplace_sku: None,
            refs: refs.into(),
            listed_stock: 0,
            wanted_version: 0,
            acked_version: 0,
            expected: None,
            wanted_at: Timestamp::default(),
            sku: sku.into(),
        }
    }

    fn row(names: &[(&str, &str)], market: Option<&str>, sku: Option<&str>) -> StockRow {
        StockRow {
            names: names.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            market: market.map(str::to_owned),
            sku: sku.map(str::to_owned),
            ..StockRow::default()
        }
    }

    #[test]
    fn the_marketplaces_own_names_come_first() {
        let names = Names::new(vec![
            listing("L-1", "", r#"{"chrt_id": 77, "warehouse_id": 1}"#, "A"),
            listing("L-2", "", r#"{"chrt_id": 77, "warehouse_id": 2}"#, "A"),
            listing("L-3", "de", "{}", "B"),
            listing("L-3", "fr", "{}", "B"),
            listing("L-4", "", "{}", "C"),
        ]);
        let find = |names_: &[(&str, &str)], market, sku| names.find(&row(names_, market, sku));
        assert_eq!(find(&[("chrt_id", "77"), ("warehouse_id", "2")], None, None), Found::One(1), "numbers are names too");
        assert_eq!(find(&[("chrt_id", "77")], None, None), Found::Several);
        assert_eq!(find(&[("listing_id", "L-3")], Some("fr"), None), Found::One(3));
        assert_eq!(find(&[("listing_id", "L-3")], None, None), Found::Several);
        assert_eq!(find(&[("listing_id", "L-9")], None, Some("C")), Found::One(4), "by SKU where no name is known");
        assert_eq!(find(&[("listing_id", "L-9")], None, Some("A")), Found::Several);
        assert_eq!(find(&[("listing_id", "L-9")], None, Some("Z")), Found::Nobody);
        assert_eq!(find(&[("listing_id", "L-4")], Some("de"), None), Found::One(4), "a listing of all markets");
    }
}
