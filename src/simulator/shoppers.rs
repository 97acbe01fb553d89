//! Shoppers: they walk into a shop at random, take something it shows, and sometimes change their minds. They see only what
//! the shop shows, as people do, so what they can oversell is exactly what the hub was too slow to take down.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::chaos::Dice;
use super::marketplace::Marketplace;
use super::shop::TakeBack;
use super::{SimulatorError, World};

/// Orders the shoppers still remember and may cancel.
const REMEMBERED_MAX: usize = 1_000;
/// Faster than this is the load generator's work.
pub const RATE_MAX_PER_SECOND: f64 = 10_000.0;

#[derive(Clone, Debug)]
pub struct ShopperSettings {
    /// Purchases tried per second, over all shops, at random moments.
    pub rate_per_second: f64,
    pub seed: u64,
    pub stop_after_sales: Option<u64>,
    pub stop_after: Option<Duration>,
    /// The most units of one purchase.
    pub quantity_max: i64,
    /// Purchases of a hundred that are followed by the cancellation of an earlier order, in full.
    pub cancel_percent: u8,
    /// Go home once no shop shows anything. Otherwise they wait for new stock.
    pub leave_when_sold_out: bool,
}

impl ShopperSettings {
    pub fn new(rate_per_second: f64, seed: u64) -> Self {
        let (stop_after_sales, stop_after) = (None, None);
        let (quantity_max, cancel_percent, leave_when_sold_out) = (1, 0, true);
        Self { rate_per_second, seed, stop_after_sales, stop_after, quantity_max, cancel_percent, leave_when_sold_out }
    }

    fn check(&self) -> Result<(), SimulatorError> {
        if !(self.rate_per_second > 0.0 && self.rate_per_second <= RATE_MAX_PER_SECOND) {
            return Err(SimulatorError::Settings("shoppers need a rate above 0 and up to 10000 per second"));
        }
        if self.quantity_max < 1 || self.cancel_percent > 100 {
            return Err(SimulatorError::Settings("shoppers need a quantity of at least 1 and a percentage up to 100"));
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShopperReport {
    pub seed: u64,
    pub sales: u64,
    pub units: i64,
    /// The shop had less than it showed a moment before.
    pub refused: u64,
    /// The shop showed nothing at all.
    pub empty_shelves: u64,
    pub cancels: u64,
    pub units_by_shop: BTreeMap<String, i64>,
}

/// Sends the shoppers out. They stop by their settings or with the world, and report what they did.
pub fn send_out(
    world: &World,
    markets: Vec<Arc<Marketplace>>,
    settings: ShopperSettings,
) -> Result<JoinHandle<ShopperReport>, SimulatorError> {
    settings.check()?;
    if markets.is_empty() {
        return Err(SimulatorError::Settings("shoppers need at least one shop"));
    }
    tracing::info!(seed = settings.seed, rate = settings.rate_per_second, "simulated shoppers set out");
    let stop = world.stop.clone();
    Ok(world.tasks.spawn(async move {
        let mut crowd = Crowd::new(markets, settings);
        // What was done until the stop is still reported.
        stop.run_until_cancelled(crowd.walk()).await;
        crowd.report
    }))
}

struct Crowd {
    markets: Vec<Arc<Marketplace>>,
    settings: ShopperSettings,
    dice: Dice,
    report: ShopperReport,
    orders: VecDeque<(usize, String)>,
}

impl Crowd {
    fn new(markets: Vec<Arc<Marketplace>>, settings: ShopperSettings) -> Self {
        let report = ShopperReport { seed: settings.seed, ..ShopperReport::default() };
        Self { markets, dice: Dice::new(settings.seed), settings, report, orders: VecDeque::new() }
    }

    async fn walk(&mut self) {
        let start = Instant::now();
        let mut next = start;
        loop {
            next += self.dice.gap(self.settings.rate_per_second);
            let late = self.settings.stop_after.is_some_and(|span| next > start + span);
            if late || self.settings.stop_after_sales.is_some_and(|most| self.report.sales >= most) {
                return;
            }
            tokio::time::sleep_until(next).await;
            if !self.visit().await && self.settings.leave_when_sold_out && self.sold_out() {
                return;
            }
        }
    }

    /// `false` when the shop showed nothing.
    async fn visit(&mut self) -> bool {
        let place = self.dice.below(self.markets.len());
        let Some(market) = self.markets.get(place).map(Arc::clone) else { return false };
        let found = {
            let shop = market.shop();
            let from = self.dice.below(shop.skus().len());
            shop.in_stock(from)
        };
        let Some((sku, shown)) = found else {
            self.report.empty_shelves += 1;
            return false;
        };
        let quantity = self.dice.quantity(self.settings.quantity_max.min(shown));
        match market.sell(sku.as_str(), quantity).await {
            Ok(trade) => {
                self.report.sales += 1;
                self.report.units += quantity;
                *self.report.units_by_shop.entry(market.code()).or_default() += quantity;
                self.remember(place, trade.order_id);
            }
            Err(_) => self.report.refused += 1,
        }
        if self.dice.percent(self.settings.cancel_percent) {
            self.change_a_mind().await;
        }
        true
    }

    fn remember(&mut self, place: usize, order_id: String) {
        if self.orders.len() >= REMEMBERED_MAX {
            self.orders.pop_front();
        }
        self.orders.push_back((place, order_id));
    }

    async fn change_a_mind(&mut self) {
        let index = self.dice.below(self.orders.len());
        let Some((place, order_id)) = self.orders.remove(index) else { return };
        let Some(market) = self.markets.get(place) else { return };
        if market.take_back(&order_id, None, TakeBack::Cancel).await.is_ok() {
            self.report.cancels += 1;
        }
    }

    fn sold_out(&self) -> bool {
        self.markets.iter().all(|market| market.shop().in_stock(0).is_none())
    }
}
