//! What must hold of every order, through the writer and a database: a fact applied twice is applied once, the order in which the
//! facts arrive does not show, and the movements form a chain.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use stockhub::db::orders::{self, LineRow};
use stockhub::domain::time::Timestamp;

use super::core::Core;

/// One fact of an order of two lines.
#[derive(Clone, Debug)]
struct Told {
    event: &'static str,
    restock: bool,
    /// Quantity per line; `None` leaves the line out.
    quantities: [Option<i64>; 2],
    second: u64,
}

fn told() -> impl Strategy<Value = Told> {
    let event = prop_oneof![3 => Just("order.created"), 2 => Just("order.cancelled"), 2 => Just("order.returned")];
    (event, any::<bool>(), [proptest::option::of(1_i64..6), proptest::option::of(1_i64..6)], 0_u64..5)
        .prop_map(|(event, restock, quantities, second)| Told { event, restock, quantities, second })
}

/// Facts, two orders to deliver them in, and which come twice.
fn story() -> impl Strategy<Value = (Vec<Told>, Vec<usize>, Vec<usize>)> {
    proptest::collection::vec(told(), 1..6).prop_flat_map(|facts| {
        let twice: Vec<usize> = (0..facts.len()).chain(0..facts.len()).collect();
        let once: Vec<usize> = (0..facts.len()).collect();
        (Just(facts), Just(once).prop_shuffle(), Just(twice).prop_shuffle())
    })
}

impl Told {
    fn body(&self, began: Timestamp, order: &str, skus: [&str; 2]) -> Value {
        let at = began.minus(Duration::from_secs(10)).plus(Duration::from_secs(self.second));
        let mut body = json!({"event": self.event, "order_id": order, "timestamp": at.to_string(), "restock": self.restock});
        let items: Vec<Value> = (0..2)
            .filter_map(|n| self.quantities[n].map(|q| json!({"order_item_id": n, "sku": skus[n], "quantity": q})))
            .collect();
        // A cancel that names no line cancels the whole order; the others need lines.
        match (items.is_empty(), self.event) {
            (true, "order.cancelled") => {}
            (true, _) => body["items"] = json!([{"order_item_id": 0, "sku": skus[0], "quantity": 1}]),
            _ => body["items"] = items.into(),
        }
        body
    }
}

/// What is known of the order, and what it did to the stock, without ids.
async fn outcome(core: &Core, order: &str, skus: [&str; 2], before: [i64; 2]) -> (String, Vec<String>, [i64; 2], Vec<i64>) {
    let mut reader = core.reader().await;
    let row = orders::lock(&mut reader.conn(), &[(core.connection("uzum").id, order)]).await.unwrap().remove(0);
    let mut lines: Vec<LineRow> = orders::lines(&mut reader.conn(), [row.id]).await.unwrap();
    drop(reader);
    lines.sort_by(|a, b| a.line_key.cmp(&b.line_key));
    let said = |l: &LineRow| {
        format!(
            "{} ordered {:?} stated {:?} {:?} cancelled {} returned {} {} posted {} {}",
            l.line_key,
            l.ordered,
            l.stated_total,
            l.stated_at,
            l.cancelled,
            l.returned,
            l.returned_unsellable,
            l.posted_on_hand,
            l.posted_unsellable
        )
    };
    let mut moved = [0; 2];
    let mut unsellable = Vec::new();
    for n in 0..2 {
        let level = core.level(skus[n]).await;
        moved[n] = level.on_hand - before[n];
        unsellable.push(lines.iter().filter(|l| l.line_key == n.to_string()).map(|l| l.posted_unsellable).sum());
    }
    let status = format!("{} {} {:?}", row.status, row.cancel_all, row.source_updated_at);
    (status, lines.iter().map(said).collect(), moved, unsellable)
}

async fn assert_chain(core: &Core, sku: &str) {
    let (mut version, mut stands) = (0, 0);
    for m in core.movements(sku).await {
        version += 1;
        assert_eq!((m.level_version, m.quantity_before), (version, stands), "{sku}");
        stands = m.quantity_after;
    }
    assert_eq!((core.level(sku).await.version, core.level(sku).await.available()), (version, stands));
}

const FIRST: [&str; 2] = ["A-1", "A-2"];
const SECOND: [&str; 2] = ["B-1", "B-2"];

async fn compare(core: &Core, case: u64, facts: &[Told], once: &[usize], twice: &[usize]) -> Result<(), TestCaseError> {
    let (mut found, began) = (Vec::new(), core.now());
    for (name, skus, sequence, ids) in [("once", FIRST, once, false), ("twice", SECOND, twice, case.is_multiple_of(2))] {
        let before = [core.level(skus[0]).await.on_hand, core.level(skus[1]).await.on_hand];
        let order = format!("{name}-{case}");
        for (delivery, index) in sequence.iter().enumerate() {
            core.advance(0.001);
            // Under new ids the log takes a repeat for news, and the line must know better.
            let id = ids.then(|| format!("{order}-{delivery}"));
            core.send("uzum", id.as_deref(), &facts[*index].body(began, &order, skus)).await;
        }
        found.push(outcome(core, &order, skus, before).await);
    }
    prop_assert_eq!(&found[0], &found[1]);
    Ok(())
}

#[test]
fn repeats_and_order_of_arrival_do_not_show() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let core = runtime.block_on(async {
        let core = Core::new(&["uzum", "ozon"], "orders", "min_gap_ms = 0\n").await;
        for sku in FIRST.into_iter().chain(SECOND) {
            core.product(sku, 100).await;
            core.listing("uzum", sku, &format!("U-{sku}")).await;
            core.listing("ozon", sku, &format!("O-{sku}")).await;
        }
        core
    });
    let case = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let ran = runner.run(&story(), |(facts, once, twice)| {
        case.set(case.get() + 1);
        runtime.block_on(compare(&core, case.get(), &facts, &once, &twice))
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
    runtime.block_on(async {
        for sku in FIRST.into_iter().chain(SECOND) {
            assert_chain(&core, sku).await;
        }
        core.assert_verified().await;
        core.close().await;
    });
}

#[tokio::test]
async fn a_tombstone_is_no_unmapped_line_and_an_unknown_thing_is_one() {
    let core = Core::new(&["uzum"], "orders", "min_gap_ms = 0\n").await;
    core.product("P", 10).await;
    let at = core.now().to_string();
    let cancel =
        json!({"event": "order.cancelled", "order_id": 1, "timestamp": at, "items": [{"order_item_id": 1, "quantity": 1}]});
    core.send("uzum", None, &cancel).await;
    assert_eq!(
        (core.logged("processed").await, core.logged("unmapped").await),
        (1, 0),
        "it waits for its create, not for a mapping"
    );
    let item = json!([{"order_item_id": 1, "sku": "NOT-KNOWN", "marketplace_product_id": "U-1", "quantity": 3}]);
    core.send("uzum", None, &json!({"event": "order.created", "order_id": 1, "timestamp": at, "items": item})).await;
    assert_eq!(core.logged("unmapped").await, 1, "what it is called is known now, and nothing of that name is");
    core.listing("uzum", "P", "U-1").await;
    core.apply_due().await;
    assert_eq!(
        (core.logged("unmapped").await, core.level("P").await.on_hand),
        (0, 8),
        "three sold, one of them cancelled before"
    );
    core.assert_verified().await;
    core.close().await;
}
