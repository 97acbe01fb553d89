//! One fake marketplace at work: its shop, the chaos it is under, and the courier that carries its webhooks. `server` puts it
//! on a port; a test may also call it directly.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::calls::Spoken;
use super::chaos::{Chaos, Dice, Fault};
use super::courier::{Courier, CourierSettings, Parcel, QUEUE_MAX};
use super::http_client::Target;
use super::kinds::desk::Luck;
use super::kinds::{Account, Call, Class, Kind, News, Notice, Route, hash};
use super::record::{Change, Journal, ShopEvent, Trade};
use super::requests::{Push, Verdict};
use super::shop::{Identity, Listed, Opening, Shop, ShopError, ShopState, Speech, TakeBack};
use super::webhooks::{Feed, Reason, Webhook, of_trade};
use super::{SimulatorError, World, locked};

/// Journal records kept in memory. The oracle file, where there is one, has all.
pub const JOURNAL_KEPT: usize = 200_000;

/// Everything a fake marketplace starts with.
#[derive(Clone, Debug)]
pub struct MarketplaceSettings {
    pub identity: Identity,
    /// Which marketplace it pretends to be.
    pub kind: Kind,
    /// `None`: the credentials its kind makes up.
    pub account: Option<Account>,
    /// How many times faster than the real one's the clock of its limits runs.
    pub hurry: u32,
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
        let (kind, account, hurry) = (Kind::Generic, None, 1);
        Self { identity, kind, account, hurry, opening, feed: Feed::Stock, seed: 1, oracle: None }
    }

    /// A shop that speaks as this marketplace does, tells orders where it tells anything, and restocks as the real one.
    pub fn of_kind(kind: Kind, code: &str, opening: Vec<Opening>) -> Self {
        let mut settings = Self::new(code, opening);
        settings.kind = kind;
        if let Some(dialect) = kind.dialect() {
            settings.identity.own_restock = dialect.habits().cancel_restocks;
            settings.feed = Feed::Orders;
        }
        settings
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

/// Gives back what a call took of the limits of parallel calls, also where its caller went away in the middle.
struct Flight {
    shop: Arc<Mutex<Shop>>,
    limits: &'static [&'static str],
}

impl Drop for Flight {
    fn drop(&mut self) {
        locked(&self.shop).release(self.limits);
    }
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
        let MarketplaceSettings { identity, kind, account, hurry, opening, feed, seed, oracle } = settings;
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
        let account = account.unwrap_or_else(|| kind.account(&identity.code));
        let shop = Shop::open_as(Speech { kind, account, hurry }, identity, opening, journal, world.now());
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
        let greeting = {
            let shop = self.shop();
            shop.dialect.and_then(|dialect| dialect.greeting(&shop.account, self.world.now()))
        };
        if let Some(Notice { name, body }) = greeting {
            let mut shop = self.shop();
            let number = shop.number_webhook();
            let (id, bytes) = (format!("{}-greeting-{number}", shop.code()), Bytes::from(body.clone()));
            let (delay, held_back, copy) = (Duration::ZERO, false, false);
            if courier.post(Parcel { number, name, id, body: bytes, lane_key: 0, delay, held_back, copy }) {
                shop.totals.webhooks_queued += 1;
                shop.journal
                    .write(self.world.now(), ShopEvent::WebhookQueued { number, webhook: name, body, copies: 0, held_back });
            }
        }
        *locked(&self.courier) = Some(courier);
    }

    /// Sends the webhooks of a real kind to this hub. One that has none sends none, and must be asked.
    pub fn connect(&self, hub: Target) {
        if self.kind().sends_webhooks() {
            self.connect_webhooks(&CourierSettings::new(hub, ""));
        }
    }

    pub fn kind(&self) -> Kind {
        self.shop().kind()
    }

    pub fn account(&self) -> Account {
        self.shop().account().clone()
    }

    /// What is sold here, as the hub must be told to list it.
    pub fn listed(&self) -> Vec<Listed> {
        self.shop().listed()
    }

    /// Somebody sets a number in the marketplace's own cabinet.
    pub fn edit(&self, sku: &str, stock: i64) -> Result<Change, ShopError> {
        let mut shop = self.shop();
        shop.edit(sku, stock, self.world.now())
    }

    /// The order leaves the warehouse.
    pub fn ship(&self, order_id: &str) -> Result<(), ShopError> {
        let mut shop = self.shop();
        shop.ship(order_id, self.world.now())
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
            for webhook in self.webhooks(&shop, &trade, reason) {
                self.post(&mut shop, &courier, &trade, webhook);
            }
        }
        Ok(trade)
    }

    fn webhooks(&self, shop: &Shop, trade: &Trade, reason: Reason) -> Vec<Webhook> {
        let Some(dialect) = shop.dialect else { return of_trade(self.feed, trade, reason) };
        let (Some(order), Some(item)) = (shop.book.get(&trade.order_id), shop.items.get(&trade.sku)) else { return Vec::new() };
        let news = News { feed: self.feed, reason, trade, order, item, account: &shop.account };
        dialect.notices(news).into_iter().map(|Notice { name, body }| Webhook { name, body }).collect()
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
        let lane_key = hash(trade.sku.as_str());
        let parcel = Parcel { number, name, id, body: Bytes::from(body.clone()), lane_key, delay, held_back, copy: false };
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

    /// A call to a shop of a real kind. Returns what to answer, after all delays; `None` for a page it does not have.
    pub(super) async fn receive_call(self: &Arc<Self>, mut call: Call) -> Option<Spoken> {
        // The limits are held against the moment of arrival, before any delay of ours.
        let (route, refusal) = {
            let mut shop = self.shop();
            shop.gate(&mut call, self.world.now())?
        };
        let _flight = refusal.is_none().then(|| Flight { shop: Arc::clone(&self.shop), limits: route.limits });
        let Draw { before, after, fault } = self.draw(route.class == Class::Write);
        let luck = {
            let mut mood = locked(&self.mood);
            let seed = mood.requests.below(usize::MAX) as u64;
            Luck::of(&mood.chaos, seed)
        };
        tokio::time::sleep(before).await;
        if let (Some(Fault::LateWrite { after_ms }), Class::Write, None) = (&fault, route.class, &refusal) {
            self.call_late(route, call.clone(), luck.clone(), Duration::from_millis(*after_ms));
        }
        let spoken = {
            let mut shop = self.shop();
            shop.receive_call(route, &call, refusal, fault, &luck, self.world.now())
        };
        tokio::time::sleep(after).await;
        Some(spoken)
    }

    fn call_late(self: &Arc<Self>, route: &'static Route, call: Call, luck: Luck, after: Duration) {
        let market = Arc::clone(self);
        let stop = self.world.stop.clone();
        self.world.tasks.spawn(async move {
            if stop.run_until_cancelled(tokio::time::sleep(after)).await.is_some() {
                market.shop().call_late(route, &call, &luck, market.world.now());
            }
        });
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
        let fault = if met { chaos.pick(dice) } else { None };
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
