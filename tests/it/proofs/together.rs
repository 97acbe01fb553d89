//! Claims and answers that reach the writer at the same time share their statements; what comes of them is what would come of each
//! alone.

use stockhub::marketplaces::Outcome;

use super::core::{Core, Sent};

async fn core_with(codes: &[&str]) -> Core {
    let core = Core::new(codes, "orders", "").await;
    for (n, code) in (1_i64..).zip(codes) {
        let sku = format!("P-{code}");
        core.product(&sku, n * 10).await;
        core.listing(code, &sku, &format!("L-{code}")).await;
    }
    core
}

fn told(sent: &[Sent]) -> Vec<(&str, i64)> {
    sent.iter().map(|sent| (sent.row.marketplace_product_id.as_str(), sent.row.listed_stock)).collect()
}

#[tokio::test]
async fn claims_made_at_once_take_each_its_own_and_nothing_twice() {
    let core = core_with(&["shop-a", "shop-b", "shop-c"]).await;
    let (a, b, c, again) = tokio::join!(core.claim("shop-a"), core.claim("shop-b"), core.claim("shop-c"), core.claim("shop-a"));
    assert_eq!((told(&a), told(&b), told(&c)), (vec![("L-shop-a", 10)], vec![("L-shop-b", 20)], vec![("L-shop-c", 30)]));
    assert_eq!(told(&again), [], "what one claim took is not there for another");
    let [a, b, c] = [a, b, c].map(|mut sent| sent.remove(0));
    let refused = Outcome::Retry { after: None, throttled: false, code: None, message: "refused".into() };
    let unknown = Outcome::Unknown { message: "no answer".into() };
    tokio::join!(
        core.settle("shop-a", a, Outcome::Applied),
        core.settle("shop-b", b, refused),
        core.settle("shop-c", c, unknown)
    );
    let mut states = Vec::new();
    for listing in ["L-shop-a", "L-shop-b", "L-shop-c"] {
        let shown = core.shown(listing).await;
        states.push((shown.push_state, shown.expected));
    }
    let state = |name: &str, expected| (name.to_owned(), expected);
    assert_eq!(states, [state("synced", Some(10)), state("dirty", None), state("unknown", None)], "each has its own end");
    core.assert_verified().await;
    core.close().await;
}

/// The late answer of a process that is gone, and that of the one that took its place.
#[tokio::test]
async fn two_answers_for_one_listing_at_once_count_one_after_the_other() {
    let mut ends = Vec::new();
    for at_once in [false, true] {
        let core = core_with(&["shop-a"]).await;
        let old = core.claim("shop-a").await.remove(0);
        let new = core.claim_as("shop-a", true).await.remove(0);
        assert!(new.row.wanted_version > old.row.wanted_version);
        if at_once {
            tokio::join!(core.settle("shop-a", old, Outcome::Applied), core.settle("shop-a", new, Outcome::Applied));
        } else {
            core.settle("shop-a", old, Outcome::Applied).await;
            core.settle("shop-a", new, Outcome::Applied).await;
        }
        let shown = core.shown("L-shop-a").await;
        ends.push((shown.push_state, shown.expected, shown.wanted_version, shown.acked_version));
        core.close().await;
    }
    assert_eq!(ends[0], ends[1]);
    assert_eq!(ends[0].0, "dirty", "what a late answer may have undone is told again");
}
