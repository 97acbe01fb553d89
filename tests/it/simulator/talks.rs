//! Adapters against the shops that pretend to be their marketplaces: each was written from the documents by itself, so what they
//! disagree about one of them has read wrong.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;

use stockhub::domain::fact::Fact;
use stockhub::marketplaces::call::{OrderRow, Page, StockRow, Window};
use stockhub::marketplaces::{Ask, Connection, Moment, Outcome, PushItem, PushStyle, Told, Verdict};
use stockhub::outbound::{Outbound, OutboundLimits};
use stockhub::simulator::kinds::Kind;
use stockhub::simulator::marketplace::Marketplace;

use crate::support::hub::{Hub, Plan};

const SKU: &str = "PHONE-001";

struct Talk<'h> {
    hub: &'h Hub,
    connection: &'h Connection,
    outbound: &'h Outbound,
}

impl Talk<'_> {
    fn moment(&self) -> Moment {
        Moment { now: self.hub.context.kit.clock.now(), access_token: None, refresh_token: None }
    }

    async fn tell(&self, item: &PushItem) -> Outcome {
        let (code, items) = (&self.connection.code, std::slice::from_ref(item));
        let call = self.connection.adapter.push(self.connection, &self.moment(), items);
        let call = call.unwrap_or_else(|error| panic!("{code}: {error:?}"));
        let answer = self.outbound.send(call.request).await;
        self.connection.adapter.read_push(items, &answer).each(1).remove(0)
    }

    /// Asks; waits as long as the shop wants where it is asked too often.
    async fn ask(&self, ask: &Ask) -> Told {
        let code = &self.connection.code;
        for _ in 0..20 {
            let call = self.connection.adapter.ask(self.connection, &self.moment(), ask);
            let call = call.unwrap_or_else(|error| panic!("{code}, {ask:?}: {error:?}"));
            let answer = self.outbound.send(call.request).await;
            match self.connection.adapter.told(self.connection, ask, &answer) {
                Ok(told) => return told,
                Err(Outcome::Retry { after, throttled: true, .. }) => {
                    tokio::time::sleep(after.unwrap_or(Duration::from_millis(500))).await;
                }
                Err(outcome) => panic!("{code}, {ask:?}: {outcome:?}\n{answer:?}"),
            }
        }
        panic!("{code}: never let in, {ask:?}")
    }

    async fn stock(&self) -> Vec<StockRow> {
        let (mut all, mut page) = (Vec::new(), Page::default());
        for _ in 0..20 {
            let Told::Stock { rows, next } = self.ask(&Ask::Stock { page: page.clone() }).await else {
                panic!("rows are asked for")
            };
            all.extend(rows);
            match next {
                Some(next) => page = next,
                None => return all,
            }
        }
        panic!("{}: the list does not end", self.connection.code)
    }

    async fn orders(&self) -> Vec<OrderRow> {
        let now = self.hub.context.kit.clock.now();
        let window = Window { from: now.minus(Duration::from_secs(3_600)), to: now.plus(Duration::from_secs(60)) };
        let mut all = Vec::new();
        for list in 0..self.connection.adapter.traits().abilities.orders.map_or(0, |feed| feed.lists) {
            let mut page = Page::default();
            for _ in 0..20 {
                let ask = Ask::Orders { list, window, page: page.clone() };
                let Told::Orders { orders, next } = self.ask(&ask).await else { panic!("orders are asked for") };
                all.extend(orders);
                match next {
                    Some(next) => page = next,
                    None => break,
                }
            }
        }
        // Lists may show one order twice.
        all.sort_by(|a, b| a.reading.natural_key.cmp(&b.reading.natural_key));
        all.dedup_by(|a, b| a.reading.natural_key == b.reading.natural_key);
        all
    }
}

fn is_it(row: &StockRow, item: &PushItem) -> bool {
    let own = |name: &str| match name {
        "id" => Some(item.marketplace_product_id.clone()),
        name => item.refs.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
    };
    row.names.iter().any(|(name, value)| own(name).as_ref() == Some(value))
}

/// Pieces that orders took of the item, and what they name it by.
fn sold(orders: &[OrderRow]) -> (i64, Vec<(String, String)>) {
    let (mut pieces, mut names) = (0, Vec::new());
    for order in orders {
        let Verdict::Facts(facts) = &order.reading.verdict else { continue };
        for fact in facts {
            let Fact::Order(fact) = fact else { continue };
            for line in &fact.lines {
                pieces += line.update.ordered.map_or(0, |quantity| quantity.get());
                names.extend(line.item.refs.iter().cloned());
                names.extend(line.item.product_id.iter().map(|id| ("id".to_owned(), id.clone())));
            }
        }
    }
    (pieces, names)
}

/// The name of an order's first line.
fn piece(order: &OrderRow) -> String {
    match &order.reading.verdict {
        Verdict::Facts(facts) => facts
            .iter()
            .find_map(|fact| if let Fact::Order(order) = fact { order.lines.first() } else { None })
            .map(|line| line.line_key.clone())
            .unwrap_or_default(),
        _ => String::new(),
    }
}

async fn round_trip(talk: &Talk<'_>, market: &Marketplace) {
    let code = market.code();
    let listed = market.listed().into_iter().find(|listed| listed.sku.as_str() == SKU).unwrap();
    let mut item = PushItem {
        quantity: 41,
        marketplace_product_id: listed.marketplace_product_id,
        sku: SKU.into(),
        refs: listed.refs,
        expected: Some(50),
        ..stockhub::marketplaces::declared::sample::item(&*talk.connection.adapter, 1)
    };
    item.changed_at = talk.moment().now;
    let abilities = talk.connection.adapter.traits().abilities;
    if talk.connection.adapter.traits().push == PushStyle::Request {
        let outcome = talk.tell(&item).await;
        assert!(matches!(outcome, Outcome::Applied | Outcome::Accepted), "{code}: {outcome:?}");
    } else {
        market.edit(SKU, 41).unwrap();
    }
    // Some show what they were told minutes later.
    let at_once = talk.connection.adapter.traits().verify_after < Duration::from_secs(60);
    let number = |shown: Option<i64>| if at_once { shown } else { shown.map(|_| 41) };
    assert_eq!(number(Some(market.shown(SKU))), Some(41), "{code}");
    if abilities.stock_of.is_some() {
        let Told::Stock { rows, .. } = talk.ask(&Ask::StockOf { items: vec![item.clone()] }).await else {
            panic!("rows are asked for")
        };
        let shown: Vec<Option<i64>> = rows.iter().filter(|row| is_it(row, &item)).map(|row| number(row.quantity)).collect();
        assert_eq!(shown, [Some(41)], "{code}: {rows:?}");
    }
    if abilities.stock {
        let rows = talk.stock().await;
        let shown: Vec<Option<i64>> = rows.iter().filter(|row| is_it(row, &item)).map(|row| number(row.quantity)).collect();
        assert_eq!(shown, [Some(41)], "{code}: {rows:?}");
    }
    market.sell(SKU, 2).await.unwrap();
    let orders = talk.orders().await;
    let (pieces, names) = sold(&orders);
    assert_eq!(pieces, 2, "{code}: {orders:?}");
    let own = |(name, value): &(String, String)| {
        is_it(&StockRow { names: vec![(name.clone(), value.clone())], ..StockRow::default() }, &item)
    };
    assert!(names.iter().any(own), "{code}: {names:?} names nothing of {:?}", item.refs);
    if abilities.order {
        // Where each piece is an order of its own, a hint names the piece.
        let id = if market.kind() == Kind::Kaufland { piece(&orders[0]) } else { orders[0].order_id.clone() };
        let Told::Orders { orders, .. } = talk.ask(&Ask::Order { id }).await else { panic!("an order is asked for") };
        assert!(sold(&orders).0 > 0, "{code}: {orders:?}");
    }
    if abilities.orders.is_some_and(|feed| feed.statuses.is_some()) {
        let asked = orders.iter().map(|order| order.order_id.clone()).collect();
        let Told::Orders { orders, .. } = talk.ask(&Ask::OrderStatuses { orders: asked }).await else {
            panic!("statuses are asked for")
        };
        assert!(!orders.is_empty() && orders.iter().all(|order| order.reading.verdict == Verdict::Ignored), "{code}: {orders:?}");
    }
    if abilities.check {
        assert!(matches!(talk.ask(&Ask::Check).await, Told::Fine { .. }), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_adapter_and_the_shop_that_pretends_to_be_its_marketplace_understand_each_other() {
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Generic).map(|kind| (kind.id(), kind)).collect();
    let policy = "push_enabled = false\n".to_owned();
    let hub = Hub::with(Plan { shops: Vec::new(), kinds, policy, marketplaces: String::new(), ..Plan::default() }).await;
    let limits = OutboundLimits {
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        response_max_bytes: 1_048_576,
        allow_private_targets: true,
    };
    let outbound = Outbound::new(limits).unwrap();
    let mut misunderstood = Vec::new();
    for shop in &hub.shops {
        let connection = hub.context.kit.registry.by_code(&shop.market().code()).unwrap();
        let talk = Talk { hub: &hub, connection: &connection, outbound: &outbound };
        let told = AssertUnwindSafe(round_trip(&talk, shop.market())).catch_unwind().await;
        misunderstood.extend(told.err().map(|_| shop.market().code()));
    }
    assert!(misunderstood.is_empty(), "{misunderstood:?}: what each stands above");
    hub.stop().await;
}
