//! The hub itself behind the same world: signed webhooks into the writer, pushes claimed and settled, a database underneath.

use serde_json::{Value, json};
use stockhub::domain::time::Timestamp;
use stockhub::marketplaces::Outcome;

use super::super::core::{Core, Sent};
use super::world::{CHANNELS, Failure, Feed, Hub, Kind, Message, Plan, Report, UNIT};

const CODES: [&str; CHANNELS] = ["uzum", "wildberries", "ozon"];

pub struct RealHub {
    core: Core,
    plan: Plan,
    start: Timestamp,
    /// Channels whose next claim is another process's first.
    fresh: [bool; CHANNELS],
}

impl RealHub {
    pub async fn new(plan: Plan) -> Self {
        let feed = if plan.feed == Feed::Delta { "delta" } else { "orders" };
        let restock = plan.cancel_restock.map_or("unknown".into(), |yes| yes.to_string());
        let policy = format!(
            "clock_tolerance = \"{}ms\"\nmin_gap_ms = 0\nbuffer = {}\nown_cancel_restock = \"{restock}\"\n",
            (plan.tolerance * UNIT * 1e3) as i64,
            plan.buffer
        );
        let core = Core::new(&CODES, feed, &policy).await;
        core.product("P", plan.stock).await;
        for code in CODES {
            core.listing(code, "P", code).await;
            core.push_all(code).await;
        }
        // The world begins when the opening pushes are long over.
        core.advance(100.0);
        let start = core.now();
        Self { core, plan, start, fresh: [false; CHANNELS] }
    }

    fn time(&self, units: f64) -> Timestamp {
        Timestamp::from_micros(self.start.micros() + (units * UNIT * 1e6) as i64)
    }

    fn at(&self, now: f64) {
        self.core.clock.advance(self.time(now).since(self.core.now()));
    }

    fn body(&self, channel: usize, message: Message) -> Value {
        let mut body = match (self.plan.feed, message.kind) {
            (Feed::Orders, Kind::Sold | Kind::Cancelled) => json!({
                "event": if message.kind == Kind::Sold { "order.created" } else { "order.cancelled" },
                "order_id": message.order,
                "items": [{"order_item_id": 1, "marketplace_product_id": CODES[channel], "quantity": message.quantity}]}),
            (_, kind) => json!({"event": "stock.updated", "marketplace_product_id": CODES[channel],
                "previous_stock": message.previous, "current_stock": message.current,
                "change": message.current - message.previous,
                "reason": match kind { Kind::Sold => "sold", Kind::Cancelled => "cancelled", Kind::Echo => "api" }}),
        };
        if let Some(at) = message.at {
            body["timestamp"] = self.time(at).to_string().into();
        }
        body
    }

    pub async fn close(self, report: &Report) {
        self.core.assert_verified().await;
        for code in CODES {
            let listing = self.core.shown(code).await;
            assert_eq!(listing.push_state, "synced");
            assert_eq!(listing.expected, Some((report.truth - self.plan.buffer).max(0)), "what it believes is what is shown");
        }
        self.core.close().await;
    }
}

impl Hub for RealHub {
    type Push = Sent;

    async fn webhook(&mut self, now: f64, channel: usize, message: Message) {
        self.at(now);
        let id = format!("event-{}", message.event);
        self.core.send(CODES[channel], Some(&id), &self.body(channel, message)).await;
    }

    async fn leaving(&mut self, now: f64, channel: usize) -> Vec<(i64, Sent)> {
        self.at(now);
        let fresh = std::mem::take(&mut self.fresh[channel]);
        let claimed = self.core.claim_as(CODES[channel], fresh).await;
        claimed.into_iter().map(|sent| (sent.row.listed_stock, sent)).collect()
    }

    async fn acknowledged(&mut self, now: f64, channel: usize, push: Sent) {
        self.at(now);
        self.core.settle(CODES[channel], push, Outcome::Applied).await;
    }

    async fn failed(&mut self, now: f64, channel: usize, push: Sent, failure: Failure) {
        self.at(now);
        let outcome = match failure {
            Failure::Refused => Outcome::Retry { after: None, throttled: false, code: None, message: "refused".into() },
            Failure::Unanswered => Outcome::Unknown { message: "no answer".into() },
        };
        self.core.settle(CODES[channel], push, outcome).await;
    }

    async fn taken_over(&mut self, channel: usize) {
        self.fresh[channel] = true;
    }

    async fn central(&mut self) -> i64 {
        self.core.level("P").await.available()
    }
}
