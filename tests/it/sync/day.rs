//! A day in a minute: what reading and telling costs, beside what polling every listing each hour would have cost.

use std::time::Duration;

use serde_json::json;
use stockhub::simulator::webhooks::Signer;

use super::shelf::order_json;
use super::stand::{Set, Stand};
use crate::support::hub::SECRET;

/// Listings of the account.
const LISTINGS: usize = 300;
/// Steps of a quarter of an hour.
const STEPS: usize = 96;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_costs_a_twentieth_of_hourly_polling_at_most() {
    let sync = "reconcile = [\"0 2 * * *\", \"0 */6 * * *\"]";
    let names: Vec<&'static str> = (0..LISTINGS).map(|n| &*format!("SKU-{n:03}").leak()).collect();
    let products = names.iter().map(|name| (*name, 50)).collect();
    let stand = Stand::new(Set { webhooks: true, products, sync, ..Set::default() }).await;
    stand.drained().await;
    let (before, begun) = (stand.shelf.state().calls.len(), stand.clock.now());
    let (mut sold_here, mut sold_there) = (0, 0);
    for step in 0..STEPS {
        stand.lasts(Duration::from_secs(15 * 60)).await;
        // Every hour two sales of other channels that the marketplace must be told of, and one of its own, by webhook.
        if step % 4 == 0 {
            for n in [step, step + 7] {
                stand.hub.store_sells(names[n % LISTINGS], 1).await;
                sold_here += 1;
            }
            let id = format!("L-{}", names[(step + 3) % LISTINGS]);
            stand.shelf.sells(&format!("O-{step}"), &id, 1, stand.now());
            let order = order_json(stand.shelf.state().orders.last().unwrap()).to_string().into_bytes();
            let signature = Signer::new(SECRET).sign(&order);
            let headers = [("x-webhook-signature", signature.as_str()), ("content-type", "application/json")];
            assert_eq!(stand.hub.http.send_bytes("POST", "/webhooks/shelf", &headers, &order).await.status, 200);
            sold_there += 1;
        }
        stand.told().await;
    }
    stand
        .hub
        .until("the last reconciliation is over", async || {
            let runs = stand.hub.get("/v1/admin/reconciliations").await;
            let runs = runs["items"].as_array().unwrap();
            runs.len() >= 5 && runs.iter().all(|run| !run["finished_at"].is_null())
        })
        .await;
    let calls = stand.shelf.state().calls[before..].to_vec();
    let count = |start: &str| calls.iter().filter(|call| call.starts_with(start)).count();
    let (pushes, pages, polls) = (count("POST /stock"), count("GET /listing"), count("GET /orders"));
    let (stock, hourly) = (pushes + pages, 24 * LISTINGS);
    let hours = stand.clock.now().since(begun).as_secs_f64() / 3_600.0;
    println!("a day of one account with {LISTINGS} listings ({hours:.1} h, {sold_here} sales elsewhere, {sold_there} its own)");
    println!("  told its number           {pushes:>6} calls");
    println!("  read in bulk              {pages:>6} calls");
    println!("  stock calls together      {stock:>6}");
    println!("  hourly, listing by listing {hourly:>5}");
    println!("  saved                     {:>6.1} %", 100.0 * (1.0 - stock as f64 / hourly as f64));
    println!("  polls of orders, apart    {polls:>6}");
    assert!(pages <= 5 * LISTINGS.div_ceil(50) + 10, "{pages} pages");
    assert!(stock * 20 <= hourly, "{stock} of {hourly}");
    assert!(polls <= 150, "with webhooks the poll is a net: {polls}");
    let figures = stand.hub.get("/v1/admin/analytics?from=2026-01-01&to=2026-12-31").await;
    assert_eq!(figures["reconciliation"]["accuracy"], json!(1.0), "{}", figures["reconciliation"]);
    assert!(figures["reads"]["orders"].as_i64().unwrap() as usize >= polls.saturating_sub(2), "{}", figures["reads"]);
    stand.hub.stop().await;
}
