//! Carries webhooks to the hub: in order within a lane, again and again until a 2xx, late or overtaken or twice where chaos
//! said so. Products are spread over lanes by their SKU, so one product's webhooks keep their order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::chaos::Dice;
use super::http_client::{Client, Target};
use super::kinds::{Account, Dialect, Posting};
use super::record::{ShopEvent, WebhookAnswer};
use super::shop::Shop;
use super::webhooks::{Door, Signer, headers};
use super::{World, locked};

/// Webhooks on their way. Past this a shop waits before it sells.
pub const QUEUE_MAX: usize = 10_000;
/// The channel is larger by what shoppers that looked at the same moment may add.
const CHANNEL_MAX: usize = QUEUE_MAX * 2;
/// A webhook held back to be overtaken leaves after this, overtaken or not.
const HOLD_MAX: Duration = Duration::from_secs(1);

/// Where and how webhooks are delivered.
#[derive(Clone)]
pub struct CourierSettings {
    pub hub: Target,
    /// Of the generic schema; a real kind signs with its own account's, or not at all.
    pub secret: String,
    pub door: Door,
    /// Send `X-Webhook-Id` and `X-Webhook-Timestamp`.
    pub identified: bool,
    /// Webhooks on the wire at the same time.
    pub lanes: usize,
    pub attempts_max: u32,
    pub retry_first: Duration,
    pub retry_longest: Duration,
    /// For one attempt.
    pub timeout: Duration,
}

impl CourierSettings {
    /// One lane, no ids, retried for about ten minutes.
    pub fn new(hub: Target, secret: &str) -> Self {
        Self {
            hub,
            secret: secret.to_owned(),
            door: Door::Own,
            identified: false,
            lanes: 1,
            attempts_max: 600,
            retry_first: Duration::from_millis(50),
            retry_longest: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
        }
    }
}

/// One webhook to deliver.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) number: u64,
    pub(super) name: &'static str,
    pub(super) id: String,
    pub(super) body: Bytes,
    pub(super) lane_key: u64,
    pub(super) delay: Duration,
    pub(super) held_back: bool,
    pub(super) copy: bool,
}

#[derive(Clone)]
pub(super) struct Courier {
    lanes: Vec<mpsc::Sender<Parcel>>,
    pending: Arc<watch::Sender<usize>>,
}

impl Courier {
    pub(super) fn start(world: &World, shop: &Arc<Mutex<Shop>>, settings: &CourierSettings, seed: u64) -> Self {
        let pending = Arc::new(watch::Sender::new(0));
        let (code, dialect, account) = {
            let shop = locked(shop);
            (shop.code().to_owned(), shop.dialect, shop.account.clone())
        };
        let lane_of = |number: u64| {
            let (sender, parcels) = mpsc::channel(CHANNEL_MAX);
            let lane = Lane {
                world: world.clone(),
                shop: Arc::clone(shop),
                pending: Arc::clone(&pending),
                client: Client::new(settings.hub.clone(), settings.timeout),
                signer: Signer::new(&settings.secret),
                path: settings.door.path(&code),
                code: code.clone(),
                dialect,
                account: account.clone(),
                hub: settings.hub.url(),
                settings: settings.clone(),
                dice: Dice::new(seed.wrapping_add(number)),
                waiting: BTreeMap::new(),
                taken: 0,
            };
            world.tasks.spawn(world.stop.clone().run_until_cancelled_owned(lane.run(parcels)));
            sender
        };
        let lanes = (0..settings.lanes.max(1) as u64).map(lane_of).collect();
        Self { lanes, pending }
    }

    /// `false` when there is no room.
    pub(super) fn post(&self, parcel: Parcel) -> bool {
        // A copy takes another road where there is one: two that arrive at the same moment are the harder case.
        let step = u64::from(parcel.copy);
        let index = parcel.lane_key.wrapping_add(step).checked_rem(self.lanes.len() as u64);
        let lane = index.and_then(|index| self.lanes.get(usize::try_from(index).unwrap_or(0)));
        self.pending.send_modify(|count| *count += 1);
        let posted = lane.is_some_and(|lane| lane.try_send(parcel).is_ok());
        if !posted {
            self.pending.send_modify(|count| *count = count.saturating_sub(1));
        }
        posted
    }

    pub(super) fn pending(&self) -> usize {
        *self.pending.borrow()
    }

    /// Returns once at most `count` webhooks are on their way.
    pub(super) async fn until_at_most(&self, count: usize) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.pending.subscribe().wait_for(|pending| *pending <= count).await;
    }
}

struct Lane {
    world: World,
    shop: Arc<Mutex<Shop>>,
    pending: Arc<watch::Sender<usize>>,
    client: Client,
    signer: Signer,
    path: String,
    code: String,
    dialect: Option<&'static dyn Dialect>,
    account: Account,
    hub: String,
    settings: CourierSettings,
    dice: Dice,
    /// By the moment they are due, then as they came.
    waiting: BTreeMap<(Instant, u64), Parcel>,
    taken: u64,
}

impl Lane {
    async fn run(mut self, mut parcels: mpsc::Receiver<Parcel>) {
        let mut open = true;
        while open || !self.waiting.is_empty() {
            let due = self.waiting.first_key_value().map(|(key, _)| key.0);
            tokio::select! {
                // What has come is sorted in before anything leaves, else a held-back one could leave first.
                biased;
                parcel = parcels.recv(), if open => match parcel {
                    Some(parcel) => self.take(parcel),
                    None => open = false,
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => self.send_first().await,
            }
        }
    }

    fn take(&mut self, parcel: Parcel) {
        let wait = if parcel.held_back { parcel.delay.max(HOLD_MAX) } else { parcel.delay };
        self.waiting.insert((Instant::now() + wait, self.taken), parcel);
        self.taken += 1;
    }

    async fn send_first(&mut self) {
        let Some((_, parcel)) = self.waiting.pop_first() else { return };
        self.deliver(&parcel).await;
        self.pending.send_modify(|count| *count = count.saturating_sub(1));
        if !parcel.held_back {
            self.release_held();
        }
    }

    /// Something else has left: what was held back has been overtaken.
    fn release_held(&mut self) {
        let now = Instant::now();
        let held: Vec<_> = self.waiting.iter().filter(|(_, parcel)| parcel.held_back).map(|(key, _)| *key).collect();
        for key in held {
            if let Some(mut parcel) = self.waiting.remove(&key) {
                parcel.held_back = false;
                self.waiting.insert((now, key.1), parcel);
            }
        }
    }

    async fn deliver(&mut self, parcel: &Parcel) {
        let mut pause = self.settings.retry_first;
        let again = self.dialect.is_none_or(|dialect| dialect.habits().webhooks_again);
        let attempts_max = if again { self.settings.attempts_max } else { 1 };
        for attempt in 1..=attempts_max {
            let (answer, arrived) = self.attempt(parcel).await;
            let again = match (&answer, self.dialect) {
                (WebhookAnswer::Status(status), None) => *status == 429 || *status >= 500,
                // A real one knows only taken and not taken.
                (WebhookAnswer::Status(_), Some(_)) | (WebhookAnswer::Error(_), _) => true,
            };
            self.note_attempt(parcel, attempt, answer, arrived);
            if arrived {
                return;
            }
            if !again || attempt == attempts_max {
                self.note_given_up(parcel, attempt);
                return;
            }
            let most = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tokio::time::sleep(self.dice.span((most / 2, most))).await;
            pause = (pause * 2).min(self.settings.retry_longest);
        }
    }

    /// What came back, and whether that means that the webhook was taken.
    async fn attempt(&mut self, parcel: &Parcel) -> (WebhookAnswer, bool) {
        let (path, made) = self.addressed(parcel);
        let made: Vec<(&str, &str)> = made.iter().map(|(name, value)| (*name, value.as_str())).collect();
        match self.client.post(&path, &made, &parcel.body).await {
            Ok(answer) => {
                let (status, dialect) = (answer.status, self.dialect);
                let arrived = dialect.map_or((200..300).contains(&status), |dialect| dialect.taken(status, &answer.body));
                (WebhookAnswer::Status(status), arrived)
            }
            Err(error) => (WebhookAnswer::Error(error.to_string()), false),
        }
    }

    /// Where this goes and under which headers, made anew for each attempt.
    fn addressed(&self, parcel: &Parcel) -> (String, Vec<(&'static str, String)>) {
        let now = self.world.now();
        match self.dialect {
            None => {
                let id = self.settings.identified.then_some(parcel.id.as_str());
                let made = headers(&self.signer, self.settings.door, &self.code, id, &parcel.body, now);
                (self.path.clone(), made)
            }
            Some(dialect) => {
                let (hub, code, account) = (self.hub.as_str(), self.code.as_str(), &self.account);
                let (name, id, body) = (parcel.name, parcel.id.as_str(), &parcel.body);
                let made = dialect.deliver(Posting { hub, code, account, name, id, body, now });
                (made.path, made.headers)
            }
        }
    }

    fn note_attempt(&self, parcel: &Parcel, attempt: u32, answer: WebhookAnswer, arrived: bool) {
        let now = self.world.now();
        let mut shop = locked(&self.shop);
        shop.totals.webhook_attempts += 1;
        shop.totals.webhooks_answered += u64::from(arrived && !parcel.copy);
        let (number, copy) = (parcel.number, parcel.copy);
        shop.journal.write(now, ShopEvent::WebhookSent { number, attempt, copy, answer });
    }

    fn note_given_up(&self, parcel: &Parcel, attempts: u32) {
        let now = self.world.now();
        let mut shop = locked(&self.shop);
        shop.totals.webhooks_given_up += u64::from(!parcel.copy);
        shop.journal.write(now, ShopEvent::WebhookGivenUp { number: parcel.number, attempts });
    }
}
