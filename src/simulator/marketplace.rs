//! One fake marketplace at work: its shop, the chaos it is under, and the courier that carries its webhooks. `server` puts it
//! on a port; a test may also call it directly.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::chaos::{Chaos, Dice, Fault};
use super::courier::{Courier, CourierSettings, Parcel, QUEUE_MAX};
use super::record::{Journal, ShopEvent, Trade};
use super::requests::{Push, Verdict};
use super::shop::{Identity, Opening, Shop, ShopError, ShopState, TakeBack};
use super::webhooks::{Feed, Reason, Webhook, of_trade};
use super::{SimulatorError, World, locked};

/// Journal records kept in memory. The oracle file, where there is one, has all.
pub const JOURNAL_KEPT: usize = 200_000;

/// Everything a fake marketplace starts with.
#[derive(Clone, Debug)]
pub struct MarketplaceSettings {
    pub identity: Identity,
    pub opening: Vec<Opening>,
    pub feed: Feed,
    /// Printed at the start; the same seed gives the same chaos.
    pub seed: u64,
    /// A new JSONL file of every record.
    pub oracle: Option<PathBuf>,
}

impl MarketplaceSettings {
    /// A shop that sends stock webhooks, restocks by itself, asks for no key, and names its orders after itself.
    pub fn new(code: &str, opening: Vec<Opening>) -> Self {
        let identity = Identity { code: code.to_owned(), run: code.to_owned(), api_key: None, own_restock: true };
        Self { identity, opening, feed: Feed::Stock, seed: 1, oracle: None }
    }
}

#[derive(Debug)]
struct Mood {
    chaos: Chaos,
    faults_left: Option<u32>,
    /// Apart from each other, so that pushes arriving do not shift what befalls the webhooks.
    requests: Dice,
    webhooks: Dice,
}

/// What was drawn for one request.
struct Draw {
    before: Duration,
    after: Duration,
    fault: Option<Fault>,
}

pub struct Marketplace {
    world: World,
    feed: Feed,
    seed: u64,
    shop: Arc<Mutex<Shop>>,
    mood: Mutex<Mood>,
    courier: Mutex<Option<Courier>>,
    refusals: mpsc::Sender<Duration>,
}

impl Marketplace {
    /// The receiver is told when chaos asks to leave the port, and for how long.
    pub(super) fn open(
        world: World,
        settings: MarketplaceSettings,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Duration>), SimulatorError> {
        let MarketplaceSettings { identity, opening, feed, seed, oracle } = settings;
        let file = match oracle {
            None => None,
            Some(path) => {
                let file = File::create(&path).map_err(|error| {
                    tracing::error!(%error, path = %path.display(), "the oracle log cannot be created");
                    SimulatorError::Settings("the oracle log cannot be created")
                })?;
                Some(Box::new(file) as Box<dyn Write + Send>)
            }
        };
        tracing::info!(marketplace = %identity.code, seed, products = opening.len(), "simulated marketplace opens");
        let journal = Journal::new(&identity.code, JOURNAL_KEPT, file);
        let shop = Shop::open(identity, opening, journal, world.now());
        let (requests, webhooks) = (Dice::new(seed), Dice::new(seed.wrapping_add(1)));
        let mood = Mood { chaos: Chaos::default(), faults_left: None, requests, webhooks };
        let (refusals, asked) = mpsc::channel(1);
        let market = Self {
            world,
            feed,
            seed,
            shop: Arc::new(Mutex::new(shop)),
            mood: Mutex::new(mood),
            courier: Mutex::new(None),
            refusals,
        };
        Ok((Arc::new(market), asked))
    }

    /// From now on sales are told to this hub. Before it, and without it, they are told to nobody. Called again, it replaces
    /// the courier; what the old one carries it still delivers, but `webhooks_pending` no longer counts it.
    pub fn connect_webhooks(&self, settings: &CourierSettings) {
        let courier = Courier::start(&self.world, &self.shop, settings, self.seed.wrapping_add(1_000));
        *locked(&self.courier) = Some(courier);
    }

    /// The shop itself, to look at its journal and items. Holding it stops the marketplace: be brief.
    pub fn shop(&self) -> MutexGuard<'_, Shop> {
        locked(&self.shop)
    }

    pub fn code(&self) -> String {
        self.shop().code().to_owned()
    }

    pub fn state(&self) -> ShopState {
        self.shop().state()
    }

    /// What a shopper sees; 0 for what is not sold here.
    pub fn shown(&self, sku: &str) -> i64 {
        self.shop().shown(sku)
    }

    pub fn chaos(&self) -> Chaos {
        locked(&self.mood).chaos.clone()
    }

    /// Replaces all knobs. `Chaos::default()` heals everything but what is already late.
    pub fn set_chaos(&self, chaos: Chaos) -> Result<(), SimulatorError> {
        chaos.check()?;
        if let Some(ms) = chaos.refuse_ms {
            let asked = self.refusals.try_send(Duration::from_millis(ms));
            asked.map_err(|_| SimulatorError::Settings("the shop is already away"))?;
        }
        let mut mood = locked(&self.mood);
        mood.faults_left = chaos.fault_times;
        mood.chaos = chaos;
        Ok(())
    }

    /// A shopper buys; the webhooks follow. Waits while too many webhooks are on their way.
    pub async fn sell(&self, sku: &str, quantity: i64) -> Result<Trade, ShopError> {
        self.room().await;
        self.trade(Reason::Sold, |shop, now| shop.sell(sku, quantity, now))
    }

    /// Takes `quantity` units of an order back, all that is left where `None`; the webhooks follow.
    pub async fn take_back(&self, order_id: &str, quantity: Option<i64>, how: TakeBack) -> Result<Trade, ShopError> {
        self.room().await;
        let reason = match how {
            TakeBack::Cancel => Reason::Cancelled,
            TakeBack::Return => Reason::Returned,
        };
        self.trade(reason, |shop, now| shop.take_back(order_id, quantity, how, now))
    }

    /// Webhooks not answered yet, copies included.
    pub fn webhooks_pending(&self) -> usize {
        locked(&self.courier).as_ref().map_or(0, Courier::pending)
    }

    /// Waits until every webhook was answered or given up. `false` after `limit`.
    pub async fn webhooks_settled(&self, limit: Duration) -> bool {
        let courier = locked(&self.courier).clone();
        match courier {
            None => true,
            Some(courier) => tokio::time::timeout(limit, courier.until_at_most(0)).await.is_ok(),
        }
    }

    async fn room(&self) {
        let courier = locked(&self.courier).clone();
        if let Some(courier) = courier {
            courier.until_at_most(QUEUE_MAX).await;
        }
    }

    fn trade(
        &self,
        reason: Reason,
        act: impl FnOnce(&mut Shop, crate::domain::time::Timestamp) -> Result<Trade, ShopError>,
    ) -> Result<Trade, ShopError> {
        let courier = locked(&self.courier).clone();
        let mut shop = self.shop();
        // The time is taken under the lock: the journal's order is then the order of time.
        let trade = act(&mut shop, self.world.now())?;
        if let Some(courier) = courier {
            for webhook in of_trade(self.feed, &trade, reason) {
                self.post(&mut shop, &courier, &trade, webhook);
            }
        }
        Ok(trade)
    }

    /// Draws what befalls a webhook and hands it on. Under the shop's lock, so that webhooks queue in the order of the sales.
    fn post(&self, shop: &mut Shop, courier: &Courier, trade: &Trade, Webhook { name, body }: Webhook) {
        let (lost, twice, held_back, delay) = {
            let Mood { chaos, webhooks: dice, .. } = &mut *locked(&self.mood);
            let lost = dice.percent(chaos.lost_percent);
            let twice = dice.percent(chaos.duplicate_percent);
            (lost, twice, dice.percent(chaos.reorder_percent), dice.span(chaos.webhook_delay_ms))
        };
        let number = shop.number_webhook();
        let id = format!("{}-webhook-{number}", trade.order_id);
        let lane_key = lane_key(trade.sku.as_str());
        let parcel = Parcel { number, id, body: Bytes::from(body.clone()), lane_key, delay, held_back, copy: false };
        let queued = !lost && courier.post(parcel.clone());
        let event = if queued {
            shop.totals.webhooks_queued += 1;
            ShopEvent::WebhookQueued { number, webhook: name, body, copies: u8::from(twice), held_back }
        } else {
            shop.totals.webhooks_lost += 1;
            let why = if lost { "chaos" } else { "no room" };
            ShopEvent::WebhookLost { number, webhook: name, body, why }
        };
        shop.journal.write(trade.at, event);
        if queued && twice && courier.post(Parcel { copy: true, ..parcel }) {
            shop.totals.webhook_copies += 1;
        }
    }

    /// A push from the hub. Returns what to answer, after all delays.
    pub(super) async fn receive_push(self: &Arc<Self>, push: Push) -> Verdict {
        let draw = self.draw(true);
        tokio::time::sleep(draw.before).await;
        if let Some(Fault::LateWrite { after_ms }) = draw.fault {
            self.write_late(push.clone(), Duration::from_millis(after_ms));
        }
        let verdict = {
            let mut shop = self.shop();
            shop.receive_push(&push, draw.fault, self.world.now())
        };
        tokio::time::sleep(draw.after).await;
        verdict
    }

    pub(super) async fn receive_read(&self, sku: &str, authorization: Option<String>) -> Verdict {
        let received_at = self.world.now();
        let draw = self.draw(false);
        tokio::time::sleep(draw.before).await;
        let verdict = {
            let mut shop = self.shop();
            shop.receive_read(sku, authorization, received_at, draw.fault, self.world.now())
        };
        tokio::time::sleep(draw.after).await;
        verdict
    }

    pub(super) fn receive_stray(&self, request: String) {
        self.shop().receive_stray(request, self.world.now());
    }

    pub(super) fn now(&self) -> crate::domain::time::Timestamp {
        self.world.now()
    }

    fn draw(&self, push: bool) -> Draw {
        let mut mood = locked(&self.mood);
        let Mood { chaos, faults_left, requests: dice, .. } = &mut *mood;
        let (before, after) = (dice.span(chaos.latency_ms), dice.span(chaos.answer_delay_ms));
        let met = dice.percent(chaos.fault_percent) && (push || !chaos.spare_reads) && *faults_left != Some(0);
        let fault = chaos.fault.clone().filter(|_| met);
        if fault.is_some()
            && let Some(left) = faults_left
        {
            *left -= 1;
        }
        Draw { before, after, fault }
    }

    fn write_late(self: &Arc<Self>, push: Push, after: Duration) {
        let market = Arc::clone(self);
        let stop = self.world.stop.clone();
        self.world.tasks.spawn(async move {
            if stop.run_until_cancelled(tokio::time::sleep(after)).await.is_some() {
                market.shop().write_late(&push, market.world.now());
            }
        });
    }
}

/// Which lane a SKU's webhooks take: the same in every run, unlike the standard library's hash.
fn lane_key(sku: &str) -> u64 {
    sku.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
