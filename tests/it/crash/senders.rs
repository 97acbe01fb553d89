//! Sales in the simulated shops, and the webhooks that tell them: several connections, the same bytes again and again until they are
//! answered 200, some of them twice at the same moment and some once more afterwards.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use stockhub::clock::Clock;
use stockhub::simulator::http_client::{Client, Target};
use stockhub::simulator::marketplace::Marketplace;
use stockhub::simulator::webhooks::{Door, Feed, Reason, Signer, headers, of_trade};
use tokio::task::JoinHandle;

use super::oracle::{Event, Oracle};
use crate::support::hub::SECRET;

/// A shop, and how it speaks.
#[derive(Clone)]
pub struct Sender {
    pub code: &'static str,
    pub market: Arc<Marketplace>,
    pub feed: Feed,
    pub identified: bool,
    pub door: Door,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Copies {
    None,
    /// On two connections at once.
    Beside,
    /// Once more after the answer.
    After,
}

struct Planned {
    shop: usize,
    sku: usize,
    quantity: i64,
    copies: Copies,
}

pub struct Load {
    pub hub: Target,
    pub senders: Vec<Sender>,
    pub skus: Vec<String>,
    /// Numbers of the events: those of several loads of one world must differ.
    pub events: Range<usize>,
    pub connections: usize,
    pub seed: u64,
    /// Between two webhooks of one connection.
    pub pause: Duration,
}

/// Starts the load; it ends when every event was answered 200.
pub fn start(load: Load, oracle: Arc<Oracle>) -> Vec<JoinHandle<()>> {
    let mut dice = fastrand::Rng::with_seed(load.seed);
    let plan: Vec<Planned> = load
        .events
        .clone()
        .map(|_| Planned {
            shop: dice.usize(..load.senders.len()),
            sku: dice.usize(..load.skus.len()),
            quantity: dice.i64(1..=3),
            copies: match dice.u8(..100) {
                0..8 => Copies::Beside,
                8..14 => Copies::After,
                _ => Copies::None,
            },
        })
        .collect();
    let work =
        Arc::new(Work { plan, next: AtomicUsize::new(0), signer: Signer::new(SECRET), clock: Clock::system(), oracle, load });
    (0..work.load.connections).map(|_| tokio::spawn(one(work.clone()))).collect()
}

struct Work {
    plan: Vec<Planned>,
    next: AtomicUsize,
    signer: Signer,
    clock: Clock,
    oracle: Arc<Oracle>,
    load: Load,
}

async fn one(work: Arc<Work>) {
    let client = || Client::new(work.load.hub.clone(), Duration::from_secs(20));
    let (mut client, mut other) = (client(), client());
    loop {
        let place = work.next.fetch_add(1, Ordering::Relaxed);
        let Some(planned) = work.plan.get(place) else { return };
        let number = work.load.events.start + place;
        let event = sell(&work, number, planned).await;
        match planned.copies {
            Copies::None => deliver(&work.oracle, &event, &mut client, true).await,
            Copies::Beside => {
                let (first, second) =
                    (deliver(&work.oracle, &event, &mut client, true), deliver(&work.oracle, &event, &mut other, false));
                tokio::join!(first, second);
            }
            Copies::After => {
                deliver(&work.oracle, &event, &mut client, true).await;
                deliver(&work.oracle, &event, &mut client, false).await;
            }
        }
        tokio::time::sleep(work.load.pause).await;
    }
}

/// The shop sells, lowers its own number, and the event is written down before anything leaves.
async fn sell(work: &Work, number: usize, planned: &Planned) -> Arc<Event> {
    let sender = &work.load.senders[planned.shop];
    let sku = &work.load.skus[planned.sku];
    let trade = sender.market.sell(sku, planned.quantity).await.expect("the shop has enough");
    let webhook = of_trade(sender.feed, &trade, Reason::Sold).remove(0);
    let id = sender.identified.then(|| format!("{}-{number}", sender.code));
    let body = webhook.body.into_bytes();
    let headers = headers(&work.signer, sender.door, sender.code, id.as_deref(), &body, work.clock.now());
    let path = sender.door.path(sender.code);
    let event = Arc::new(Event { number, code: sender.code, sku: sku.clone(), quantity: planned.quantity, path, headers, body });
    work.oracle.made(&event);
    event
}

async fn deliver(oracle: &Oracle, event: &Event, client: &mut Client, first: bool) {
    let headers: Vec<(&str, &str)> = event.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    loop {
        oracle.sent();
        match client.post(&event.path, &headers, &event.body).await {
            Ok(answer) if answer.status == 200 => return oracle.acked(event.number, &answer.body, first),
            Ok(answer) => {
                oracle.refused(event.number, answer.status, &answer.body);
                // The sender would send such a one for ever; the checker says what is wrong.
                if (400..500).contains(&answer.status) {
                    return;
                }
            }
            Err(_) => oracle.unknown(),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
