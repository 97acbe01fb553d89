//! One source that floods: it is told to come back, loses nothing, and delays nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::hub::{Hub, Plan};
use crate::support::webhook::{plain, sold};

const CONNECTIONS: usize = 48;
const EACH: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_turned_away_and_nobody_else_is() {
    let sections = "[ingest]\nper_connection_in_flight = 4\n".to_owned();
    let products = vec![("PHONE-001", 10_000), ("BUDS-010", 10_000)];
    let hub = Arc::new(Hub::with(Plan { shops: vec!["flood", "quiet"], sections, products, ..Plan::default() }).await);
    let refused = Arc::new(AtomicUsize::new(0));
    let flood: Vec<_> = (0..CONNECTIONS).map(|connection| tokio::spawn(pour(hub.clone(), connection, refused.clone()))).collect();
    let mut taken = 0;
    while !flood.iter().all(tokio::task::JoinHandle::is_finished) {
        let body =
            sold("QUIET-BUDS-010", 10_000 - taken, 1, &format!("2026-01-09T10:30:{:02}.{:03}Z", taken / 1_000, taken % 1_000));
        let answer = hub.deliver("quiet", &body).await;
        assert_eq!(answer.status, 200, "the quiet source is always taken: {}", answer.text());
        let person = hub.admin("GET", "/v1/admin/products/PHONE-001", None).await;
        assert_eq!(person.status, 200);
        taken += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for one in flood {
        one.await.expect("a sender does not panic");
    }
    let refused = refused.load(Ordering::Relaxed);
    println!("{refused} answers of 503 to the flood, {taken} webhooks of the quiet source, none refused");
    assert!(refused > 0, "it never was a flood: nothing was proved");
    assert!(taken > 0);
    let sold = i64::try_from(CONNECTIONS * EACH).expect("few");
    assert_eq!(hub.available("PHONE-001").await, 10_000 - sold, "every webhook of the flood came in once");
    assert_eq!(hub.available("BUDS-010").await, 10_000 - taken);
    assert_eq!(hub.sales("PHONE-001").await.len(), 500, "as many as a page shows");
    Arc::into_inner(hub).expect("nobody else has it").stop().await;
}

/// Sends the same bytes until they are taken, as marketplaces do.
async fn pour(hub: Arc<Hub>, connection: usize, refused: Arc<AtomicUsize>) {
    for n in 0..EACH {
        let at = format!("2026-01-09T{:02}:{:02}:00.{connection:03}Z", n / 60, n % 60);
        let body = sold("FLOOD-PHONE-001", 10_000, 1, &at);
        let tag = plain(&body);
        let mut tries = 0;
        loop {
            let answer = hub.http.send_bytes("POST", "/webhooks/flood", &[("x-webhook-signature", &tag)], &body).await;
            if answer.status == 200 {
                assert!(!answer.json()["duplicate"].as_bool().expect("a receipt"), "what was refused was not kept");
                break;
            }
            assert_eq!((answer.status, answer.problem().as_str()), (503, "overloaded"), "{}", answer.text());
            assert!(answer.header("retry-after").is_some());
            refused.fetch_add(1, Ordering::Relaxed);
            tries += 1;
            assert!(tries < 2_000, "it is never let in");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
