//! What is asked of the hub with the large catalogue: every list as the dashboard asks for it, the filters that look for something
//! rare, the pages of one product, and the stock read of a storefront. One connection, one request at a time.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::figures::Spread;
use super::hub::TOKEN;
use crate::clock::Clock;
use crate::simulator::http_client::{Answer, Client};

pub(super) const HEADINGS: &str = "  requests     p50 ms     p99 ms     max ms      bytes  route";
/// Pages that are turned before a list counts as deep.
const PAGES: usize = 10;
/// A number without a factor in common with the number of products: it visits them all, far apart.
const STRIDE: i64 = 7_919;

/// Addresses; `{sku}` becomes another product with every request, `{day}` and `{month}` are spans of days.
const ROUTES: &[&str] = &[
    "/v1/admin/products?limit=100",
    "/v1/admin/products?limit=50&include=listings",
    "/v1/admin/products?stock=low&limit=100",
    "/v1/admin/products?stock=out&limit=100",
    "/v1/admin/products?q=kettle&limit=50",
    "/v1/admin/products?q={sku}&limit=50",
    "/v1/admin/products?q=nothing-has-this&limit=50",
    "/v1/admin/products/{sku}",
    "/v1/admin/products/{sku}/explain",
    "/v1/admin/products/{sku}/timeline",
    "/v1/admin/listings?limit=100",
    "/v1/admin/listings?marketplace=m1&limit=100",
    "/v1/admin/listings?state=blocked&limit=100",
    "/v1/admin/listings?state=unknown&limit=100",
    "/v1/admin/listings?sku={sku}",
    "/v1/admin/movements?limit=100",
    "/v1/admin/movements?sku={sku}",
    "/v1/admin/movements?marketplace=m1",
    "/v1/admin/movements?type=opening",
    "/v1/admin/movements?type=reconciliation",
    "/v1/admin/orders?limit=50",
    "/v1/admin/orders?marketplace=m1",
    "/v1/admin/orders?status=cancelled",
    "/v1/admin/orders?sku={sku}",
    "/v1/admin/orders?external_id=O-999",
    "/v1/admin/webhooks?limit=50",
    "/v1/admin/webhooks?marketplace=m1",
    "/v1/admin/webhooks?status=failed",
    "/v1/admin/webhooks?status=retry",
    "/v1/admin/webhooks?q=nothing-has-this",
    "/v1/admin/pushes?limit=200",
    "/v1/admin/pushes?marketplace=m1",
    "/v1/admin/pushes?outcome=auth",
    "/v1/admin/pushes?sku={sku}",
    "/v1/admin/events?limit=50",
    "/v1/admin/events?sku={sku}",
    "/v1/admin/analytics?group_by=marketplace{day}",
    "/v1/admin/analytics?group_by=day,marketplace{month}",
    "/v1/admin/analytics?group_by=sku&top=20{month}",
    "/v1/admin/alerts",
    "/v1/admin/oversells",
    "/v1/admin/unmapped",
    "/v1/admin/dead-letters",
    "/v1/admin/sync-logs",
    "/v1/admin/reconciliations",
    "/v1/admin/audit",
    "/v1/admin/tasks",
    "/v1/admin/locations",
    "/v1/admin/rules",
    "/v1/admin/marketplaces",
    "/v1/admin/marketplaces/m1",
    "/metrics",
    "/",
];
/// Lists whose later pages are read too.
const DEEP: &[&str] = &[
    "/v1/admin/products?limit=100",
    "/v1/admin/listings?limit=100",
    "/v1/admin/movements?limit=100",
    "/v1/admin/orders?limit=100",
];

/// How long one kind of request took.
#[derive(Serialize)]
pub(super) struct Timed {
    route: String,
    #[serde(flatten)]
    spread: Spread,
    max_us: u128,
    /// Of the largest answer.
    bytes: usize,
    /// Answers other than 200: their times say nothing.
    not_ok: usize,
}

impl Timed {
    pub(super) fn line(&self) -> String {
        let millis = |micros: u128| micros as f64 / 1_000.0;
        format!(
            "{:>10} {:>10.2} {:>10.2} {:>10.2} {:>10}  {}{}",
            self.spread.count,
            millis(self.spread.p50_us.into()),
            millis(self.spread.p99_us.into()),
            millis(self.max_us),
            self.bytes,
            self.route,
            if self.not_ok > 0 { format!("  ({} were not answered 200)", self.not_ok) } else { String::new() }
        )
    }
}

/// Asks every route so often; each is shown as soon as it is measured.
pub(super) async fn measure(
    client: &mut Client,
    clock: &Clock,
    products: i64,
    requests: u32,
    show: &mut impl FnMut(&Timed),
) -> anyhow::Result<Vec<Timed>> {
    let mut all = Vec::new();
    let mut done = |timed: Timed| {
        show(&timed);
        all.push(timed);
    };
    let stock = (0..requests * 10).map(|n| filled("/v1/stock/{sku}", clock, products, n)).collect::<Vec<_>>();
    done(ask(client, clock, "/v1/stock/{sku}", &stock).await?);
    for route in ROUTES {
        let list = (0..requests).map(|n| filled(route, clock, products, n)).collect::<Vec<_>>();
        done(ask(client, clock, route, &list).await?);
    }
    for route in DEEP {
        let mut list = Vec::new();
        let mut next = (*route).to_owned();
        for _ in 0..PAGES {
            list.push(next.clone());
            let page: Value = serde_json::from_slice(&get(client, &next).await?.body)?;
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            next = format!("{route}&cursor={cursor}");
        }
        let list: Vec<String> = list.iter().cycle().take(requests as usize).cloned().collect();
        done(ask(client, clock, &format!("{route}, page after page"), &list).await?);
    }
    Ok(all)
}

fn filled(route: &str, clock: &Clock, products: i64, n: u32) -> String {
    let number = (i64::from(n) * STRIDE) % products;
    let span = |days: u64| {
        let now = clock.now();
        format!("&from={}&to={}", now.minus(Duration::from_secs(days * 86_400)).day(), now.day())
    };
    let route = route.replace("{sku}", &format!("SKU-{}", 1_000_000 + number));
    route.replace("{day}", &span(0)).replace("{month}", &span(29))
}

async fn get(client: &mut Client, path: &str) -> anyhow::Result<Answer> {
    let token = format!("Bearer {TOKEN}");
    Ok(client.send("GET", path, &[("authorization", &token)], b"").await?)
}

async fn ask(client: &mut Client, clock: &Clock, name: &str, list: &[String]) -> anyhow::Result<Timed> {
    let (mut times, mut bytes, mut not_ok) = (Vec::with_capacity(list.len()), 0, 0);
    // Statements prepared, the first pages read: what happens once is not what is measured.
    if let Some(first) = list.first() {
        get(client, first).await?;
    }
    for path in list {
        let begun = clock.elapsed();
        let answer = get(client, path).await?;
        times.push(clock.elapsed().saturating_sub(begun));
        bytes = bytes.max(answer.body.len());
        not_ok += usize::from(answer.status != 200);
    }
    let max_us = times.iter().max().map_or(0, Duration::as_micros);
    Ok(Timed { route: name.to_owned(), spread: Spread::of(times), max_us, bytes, not_ok })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_of_another_product_and_days_are_whole() {
        let clock = Clock::system();
        let asked: std::collections::BTreeSet<String> = (0..1_000).map(|n| filled("/{sku}", &clock, 1_000, n)).collect();
        assert_eq!(asked.len(), 1_000);
        let month = filled("/a?x=1{month}", &clock, 100, 0);
        assert_eq!(month.len(), "/a?x=1&from=2026-01-01&to=2026-01-30".len(), "{month}");
    }
}
