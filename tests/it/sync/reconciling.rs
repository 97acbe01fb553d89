//! What marketplaces show beside what is believed: found, explained, decided by policy, and never by half a list.

use std::time::Duration;

use serde_json::{Value, json};
use stockhub::marketplaces::Abilities;

use super::adapter::everything;
use super::stand::{Set, Stand};

const MANY: [(&str, i64); 20] = [
    ("P-00", 50),
    ("P-01", 50),
    ("P-02", 50),
    ("P-03", 50),
    ("P-04", 50),
    ("P-05", 50),
    ("P-06", 50),
    ("P-07", 50),
    ("P-08", 50),
    ("P-09", 50),
    ("P-10", 50),
    ("P-11", 50),
    ("P-12", 50),
    ("P-13", 50),
    ("P-14", 50),
    ("P-15", 50),
    ("P-16", 50),
    ("P-17", 50),
    ("P-18", 50),
    ("P-19", 50),
];

async fn stand(policy: &'static str) -> Stand {
    let stand = Stand::new(Set { products: MANY.to_vec(), policy, ..Set::default() }).await;
    stand.drained().await;
    stand
}

fn item<'a>(run: &'a Value, sku: &str) -> &'a Value {
    run["items"].as_array().unwrap().iter().find(|item| item["sku"] == sku).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_by_hand_is_found_twice_and_told_again() {
    let stand = stand("").await;
    stand.shelf.set("L-P-03", 500);
    stand.shelf.set("L-P-04", 49);
    let run = stand.reconciled(false).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let counts = &run["counts"];
    assert_eq!((&counts["checked"], &counts["equal"], &counts["discrepancies"]), (&json!(20), &json!(18), &json!(2)), "{run}");
    assert_eq!(counts["matched"], json!(20), "what is looked at twice is one listing: {run}");
    assert_eq!(run["accuracy"], json!(0.9));
    let high = item(&run, "P-03");
    assert_eq!(
        (&high["local"], &high["expected"], &high["remote"], &high["difference"], &high["cause"], &high["decision"]),
        (&json!(50), &json!(50), &json!(500), &json!(450), &json!("manual_change"), &json!("hub_wins"))
    );
    assert_eq!(item(&run, "P-04")["cause"], "missed_sale");
    stand.hub.until("both are told again", async || stand.shelf.shows("L-P-03") == 50 && stand.shelf.shows("L-P-04") == 50).await;
    assert_eq!(stand.on_hand("P-04").await, 50, "hub wins: nothing is posted");
    assert_eq!(stand.metric("reconciliation_drift_rate{marketplace=\"shelf\"}").await, 0.1);
    assert_eq!(stand.alerts("drift-rate").await.len(), 1);
    let events = stand.hub.get("/v1/admin/events?type=listing-drift").await;
    let payloads = events["items"].as_array().unwrap();
    assert_eq!(payloads.len(), 2, "{events}");
    // As a table.
    let path = format!("/v1/admin/reconciliations/{}", run["id"].as_str().unwrap());
    let token = format!("Bearer {}", crate::support::hub::ADMIN_TOKEN);
    let table = stand.hub.http.send("GET", &path, &[("authorization", &token), ("accept", "text/csv")], None).await.text();
    assert!(table.contains("P-03,L-P-03,,50,50,500,450,manual_change,hub_wins,"), "{table}");
    // It is right again: the next run finds nothing, and the alert is over.
    stand.told().await;
    let run = stand.reconciled(false).await;
    assert_eq!((&run["counts"]["equal"], &run["items"]), (&json!(20), &json!([])), "{run}");
    assert!(stand.alerts("drift-rate").await.is_empty());
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_was_answered_well_and_lost_is_found() {
    let stand = stand("").await;
    stand.shelf.state().forgets = true;
    let body = json!({"delta": -7, "reason": "damaged"});
    assert_eq!(stand.hub.admin("PATCH", "/v1/products/P-05/inventory", Some(body)).await.status, 200);
    stand.told().await;
    stand.shelf.state().forgets = false;
    assert_eq!(stand.shelf.shows("L-P-05"), 50);
    let run = stand.reconciled(false).await;
    let found = item(&run, "P-05");
    assert_eq!(
        (&found["expected"], &found["remote"], &found["cause"], &found["decision"]),
        (&json!(43), &json!(50), &json!("lost_push"), &json!("hub_wins"))
    );
    stand.hub.until("it is told again", async || stand.shelf.shows("L-P-05") == 43).await;
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_that_nobody_told_comes_in_by_the_poll_and_is_no_difference() {
    let stand = stand("").await;
    // The hub has not read the orders since: the list shows fewer, the poll after it tells why.
    stand.shelf.sells("O-1", "L-P-06", 2, stand.now());
    let run = stand.reconciled(false).await;
    assert_eq!(run["counts"]["discrepancies"], json!(0), "{run}");
    assert_eq!(stand.on_hand("P-06").await, 48);
    assert_eq!(stand.shelf.shows("L-P-06"), 48);
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_that_races_with_sales_changes_nothing() {
    let stand = stand("").await;
    {
        let mut state = stand.shelf.state();
        state.page = 5;
        let clock = stand.clock.clone();
        let mut sold = 0;
        // While the pages are read, things on pages before and after are sold.
        state.hook = Some(Box::new(move |path, state| {
            if path.starts_with("/listings?") {
                sold += 1;
                for id in ["L-P-00", "L-P-09", "L-P-19"] {
                    state.sells(&format!("R-{sold}-{id}"), id, 1, clock.now().micros());
                }
            }
        }));
    }
    let run = stand.reconciled(false).await;
    assert_eq!((&run["counts"]["discrepancies"], &run["counts"]["acted"]), (&json!(0), &Value::Null), "{run}");
    stand.shelf.state().hook = None;
    stand.drained().await;
    stand.told().await;
    for sku in ["P-00", "P-09", "P-19"] {
        let (here, there) = (stand.on_hand(sku).await, stand.shelf.shows(&format!("L-{sku}")));
        assert_eq!(here, there, "{sku}");
        assert!(here < 50);
    }
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_difference_that_goes_away_by_itself_is_not_acted_on() {
    let stand = stand("").await;
    stand.shelf.set("L-P-07", 44);
    stand.shelf.state().hook = Some(Box::new(|path, state| {
        // The second look asks for it by name; by then it shows the right number.
        if path.starts_with("/listing?") {
            state.listings.get_mut("L-P-07").unwrap().quantity = Some(50);
        }
    }));
    let pushes = stand.shelf.count("POST /stock");
    let run = stand.reconciled(false).await;
    assert_eq!((&run["counts"]["equal"], &item(&run, "P-07")["decision"]), (&json!(20), &json!("settled")), "{run}");
    assert_eq!(stand.shelf.count("POST /stock"), pushes);
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_that_shows_all_zero_or_half_its_rows_stops_the_run_untouched() {
    let stand = stand("drift_policy = \"marketplace_wins\"").await;
    for (sku, _) in MANY {
        stand.shelf.set(&format!("L-{sku}"), 0);
    }
    let pushes = stand.shelf.count("POST /stock");
    let run = stand.reconciled(false).await;
    assert_eq!(run["status"], "failed", "{run}");
    assert!(run["error"].as_str().unwrap().contains("20 of 20 listings newly show 0"), "{run}");
    assert_eq!(item(&run, "P-00")["decision"], "stopped");
    assert_eq!(stand.alerts("sync-failed").await.len(), 1);
    // Half the rows.
    for (n, (sku, stock)) in MANY.into_iter().enumerate() {
        let id = format!("L-{sku}");
        stand.shelf.set(&id, stock);
        stand.shelf.state().listings.get_mut(&id).unwrap().hidden = n % 2 == 0;
    }
    let run = stand.reconciled(false).await;
    assert!(run["error"].as_str().unwrap().contains("10 of 20 listings are missing"), "{run}");
    // Half of them are other numbers.
    for (n, (sku, stock)) in MANY.into_iter().enumerate() {
        let id = format!("L-{sku}");
        stand.shelf.state().listings.get_mut(&id).unwrap().hidden = false;
        stand.shelf.set(&id, if n % 2 == 0 { stock + 5 } else { stock });
    }
    let run = stand.reconciled(false).await;
    assert!(run["error"].as_str().unwrap().contains("10 of 20 listings differ"), "{run}");
    for (sku, stock) in MANY {
        assert_eq!(stand.on_hand(sku).await, stock);
    }
    assert_eq!(stand.shelf.count("POST /stock"), pushes, "nothing was told, nothing was posted");
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_rows_are_unknown() {
    let stand = stand("drift_policy = \"marketplace_wins\"").await;
    for sku in ["P-01", "P-02"] {
        stand.shelf.state().listings.get_mut(&format!("L-{sku}")).unwrap().hidden = true;
    }
    let run = stand.reconciled(false).await;
    assert_eq!(
        (&run["status"], &run["counts"]["absent"], &run["counts"]["discrepancies"]),
        (&json!("partial"), &json!(2), &json!(0))
    );
    assert_eq!((stand.on_hand("P-01").await, stand.on_hand("P-02").await), (50, 50));
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let stand = stand("drift_policy = \"marketplace_wins\"").await;
    stand.shelf.set("L-P-08", 45);
    let pushes = stand.shelf.count("POST /stock");
    let run = stand.reconciled(true).await;
    let found = item(&run, "P-08");
    assert_eq!(
        (&run["dry_run"], &found["decision"], &found["difference"]),
        (&json!(true), &json!("marketplace_wins"), &json!(-5))
    );
    assert!(found["reason"].as_str().unwrap().contains("dry run"));
    assert_eq!((stand.on_hand("P-08").await, stand.shelf.count("POST /stock")), (50, pushes));
    assert_eq!(stand.hub.listing("P-08", "shelf").await["observed"], json!(50), "not even seen");
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_marketplace_wins_the_difference_is_posted() {
    let stand = stand("drift_policy = \"marketplace_wins\"").await;
    stand.shelf.set("L-P-08", 45);
    stand.shelf.set("L-P-09", 53);
    let run = stand.reconciled(false).await;
    assert_eq!(
        (&item(&run, "P-08")["decision"], &item(&run, "P-09")["decision"]),
        (&json!("marketplace_wins"), &json!("marketplace_wins"))
    );
    assert_eq!((stand.on_hand("P-08").await, stand.on_hand("P-09").await), (45, 53));
    let movement = &stand.hub.get("/v1/admin/movements?sku=P-08").await["items"][0];
    assert_eq!(
        (&movement["movement_type"], &movement["quantity_change"], &movement["reference_id"]),
        (&json!("reconciliation"), &json!(-5), &run["id"])
    );
    let listing = stand.hub.listing("P-08", "shelf").await;
    assert_eq!((&listing["expected"], &listing["wanted"], &listing["state"]), (&json!(45), &json!(45), &json!("synced")));
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smaller_number_wins_where_that_is_the_policy() {
    let stand = stand("drift_policy = \"min_wins\"").await;
    stand.shelf.set("L-P-08", 45);
    stand.shelf.set("L-P-09", 53);
    let run = stand.reconciled(false).await;
    assert_eq!(
        (&item(&run, "P-08")["decision"], &item(&run, "P-09")["decision"]),
        (&json!("marketplace_wins"), &json!("hub_wins"))
    );
    stand.hub.until("the larger one is told again", async || stand.shelf.shows("L-P-09") == 50).await;
    assert_eq!((stand.on_hand("P-08").await, stand.on_hand("P-09").await), (45, 50));
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_is_asked_and_decides() {
    let stand = stand("drift_policy = \"ask\"").await;
    stand.shelf.set("L-P-08", 45);
    stand.shelf.set("L-P-09", 53);
    stand.shelf.set("L-P-10", 51);
    let run = stand.reconciled(false).await;
    assert_eq!(item(&run, "P-08")["decision"], "ask");
    assert_eq!(stand.alerts("listing-drift").await.len(), 3);
    assert_eq!((stand.on_hand("P-08").await, stand.shelf.shows("L-P-09")), (50, 53), "nothing happens before");
    let path = format!("/v1/admin/reconciliations/{}/approve", run["id"].as_str().unwrap());
    let approve = async |body: Value| stand.hub.admin("POST", &path, Some(body)).await;
    let bad = approve(json!({"decision": "whatever"})).await;
    assert_eq!(bad.fields(), ["/decision"], "{}", bad.text());
    let posted = approve(json!({"decision": "marketplace_wins", "skus": ["P-08"]})).await;
    assert_eq!(
        posted.json()["items"],
        json!([{"sku": "P-08", "external_id": "L-P-08", "decision": "marketplace_wins", "reason": null}])
    );
    assert_eq!(stand.on_hand("P-08").await, 45);
    // One moved since: what was seen does not hold any more.
    let body = json!({"delta": 1, "reason": "received"});
    assert_eq!(stand.hub.admin("PATCH", "/v1/products/P-10/inventory", Some(body)).await.status, 200);
    let rest = approve(json!({})).await.json();
    let of = |sku: &str| rest["items"].as_array().unwrap().iter().find(|one| one["sku"] == sku).unwrap()["decision"].clone();
    assert_eq!((of("P-09"), of("P-10")), (json!("hub_wins"), json!("skipped")), "{rest}");
    stand.hub.until("it is told again", async || stand.shelf.shows("L-P-09") == 50).await;
    assert_eq!(approve(json!({})).await.problem(), "nothing-waits");
    assert!(stand.alerts("listing-drift").await.is_empty());
    stand.hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reconciliations_come_by_the_clock_and_once() {
    let sync = "reconcile = [\"0 2 * * *\", \"0 */6 * * *\"]";
    let abilities = Abilities { orders: None, order: false, ..everything() };
    let stand = Stand::new(Set { abilities, sync, ..Set::default() }).await;
    let runs = async || {
        let runs = stand.hub.get("/v1/admin/reconciliations").await;
        runs["items"].as_array().unwrap().iter().map(|run| run["trigger_type"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(runs().await.len(), 0, "10:00 is no hour of theirs");
    for (hours, wanted) in [(2_u64, 1_usize), (6, 2), (6, 3), (2, 4)] {
        stand.clock.advance(Duration::from_secs(hours * 3_600 + 60));
        stand.hub.until("it is due", async || runs().await.len() == wanted).await;
    }
    assert!(runs().await.iter().all(|trigger| trigger == "scheduled"));
    stand.hub.stop().await;
}
