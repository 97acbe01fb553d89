//! The way out of one account: who may call, when, and with which token.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use stockhub::caller::{CallLimits, Caller, Callers, Purpose};
use stockhub::clock::Clock;
use stockhub::marketplaces::limit::LimitHeaders;
use stockhub::marketplaces::{Ask, Limit, Outcome, Told};
use stockhub::outbound::{Outbound, OutboundLimits};
use stockhub::simulator::http_server::Reply;

use crate::support::hub::{Hub, Plan};
use crate::support::scripted::{Scripted, ScriptedShop, install};

const SECOND: Duration = Duration::from_secs(1);

const LIMITS: CallLimits = CallLimits {
    concurrency: 4,
    penalty: SECOND,
    timeout: Duration::from_secs(20),
    push_max_bytes: 65_536,
    read_max_bytes: 65_536,
    lease: Duration::from_secs(60),
    alone: true,
};

fn read_limit(min_interval: Duration) -> Limit {
    Limit {
        name: "read",
        requests: None,
        per: Duration::ZERO,
        burst: 1,
        concurrency: None,
        min_interval,
        throttle_status: vec![429],
        costs: Vec::new(),
        penalty: SECOND,
        reads: LimitHeaders::default(),
    }
}

/// A process of its own beside the hub's, on the same database.
fn process(hub: &Hub, limits: CallLimits) -> Callers {
    let context = &hub.context;
    let outbound = Outbound::new(OutboundLimits {
        timeout: LIMITS.timeout,
        connect_timeout: LIMITS.timeout,
        response_max_bytes: 65_536,
        allow_private_targets: true,
    });
    let (db, writer, sealer) = (context.db.clone(), context.writer.clone(), context.sealer.clone());
    Callers::new(context.kit.clone(), db, writer, outbound.unwrap(), sealer, limits)
}

/// No pusher of the hub disturbs: its marketplace is one that is not pushed to.
fn plan() -> Plan {
    Plan { shops: vec!["ozon"], policy: "push_enabled = false".into(), ..Plan::default() }
}

async fn check(caller: &Caller) -> Result<Told, Outcome> {
    caller.ask(Purpose::Check, &Ask::Check).await
}

fn of(callers: &Callers, hub: &Hub) -> Arc<Caller> {
    callers.of(hub.context.kit.registry.by_code("ozon").unwrap().id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_borrowed_once_renewed_when_refused_and_its_refresh_token_survives_a_restart() {
    let hub = Hub::with(plan()).await;
    let shop = ScriptedShop::start(hub.world.clone());
    install(&hub, "ozon", Scripted { lends_tokens: true, ..Scripted::plain() }, &shop).await;
    let lent = Arc::new(AtomicUsize::new(0));
    let count = lent.clone();
    shop.script(move |seen, _| {
        if seen.line == "POST /token" {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            // A refresh token is good for one use.
            let before = if number == 1 { "from-settings".to_owned() } else { format!("refresh-{}", number - 1) };
            if seen.body["refresh"] != before.as_str() {
                return Some(Reply::status(401).into());
            }
            let body = json!({"token": format!("token-{number}"), "seconds": 3600, "refresh": format!("refresh-{number}")});
            return Some(Reply::json(200, &body).into());
        }
        let newest = format!("Bearer token-{}", count.load(Ordering::SeqCst));
        (seen.authorization.as_deref() != Some(&newest)).then(|| Reply::status(401).into())
    });
    let caller = of(&process(&hub, LIMITS), &hub);
    let all = futures_util::future::join_all((0..10).map(|_| check(&caller))).await;
    assert!(all.iter().all(|told| *told == Ok(Told::Fine { expires_at: None })), "{all:?}");
    assert_eq!(lent.load(Ordering::SeqCst), 1, "ten at once borrow one");
    // It lends another to somebody else: ours is refused, and a new one is borrowed by whoever notices.
    lent.store(2, Ordering::SeqCst);
    shop.script({
        let count = lent.clone();
        move |seen, _| {
            if seen.line == "POST /token" {
                assert_eq!(seen.body["refresh"], "refresh-1", "the newest we know of");
                count.store(3, Ordering::SeqCst);
                let body = json!({"token": "token-3", "seconds": 3600, "refresh": "refresh-3"});
                return Some(Reply::json(200, &body).into());
            }
            (seen.authorization.as_deref() != Some("Bearer token-3")).then(|| Reply::status(401).into())
        }
    });
    assert_eq!(check(&caller).await, Ok(Told::Fine { expires_at: None }));
    assert_eq!(lent.load(Ordering::SeqCst), 3);
    // A new process goes on with what the last one stored.
    let before = shop.seen().len();
    let caller = of(&process(&hub, LIMITS), &hub);
    assert_eq!(check(&caller).await, Ok(Told::Fine { expires_at: None }));
    let since: Vec<String> = shop.seen()[before..].iter().map(|seen| seen.line.clone()).collect();
    assert_eq!(since, ["GET /check"], "nothing is borrowed");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patience_that_was_asked_for_outlives_the_process() {
    let hub = Hub::with(plan()).await;
    let shop = ScriptedShop::start(hub.world.clone());
    let adapter = || Scripted { limits: vec![read_limit(Duration::ZERO)], ..Scripted::plain() };
    install(&hub, "ozon", adapter(), &shop).await;
    let busy = || Reply::Answer { status: 429, headers: vec![("retry-after", "2".into())], body: "".into() };
    shop.script(move |_, _| Some(busy().into()));
    let first = of(&process(&hub, LIMITS), &hub);
    assert!(matches!(check(&first).await, Err(Outcome::Retry { throttled: true, .. })));
    shop.honest();
    // Killed here: nothing of the first process is left but the database.
    let second = of(&process(&hub, LIMITS), &hub);
    assert!(check(&second).await.is_ok());
    // From when it was asked for: the second process came later.
    let seen = shop.seen();
    assert!(seen[1].at - seen[0].at > 1_900, "{seen:?}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_keep_their_distance_and_are_counted_by_purpose() {
    // How late a request arrives says nothing of when it was let go, so time stands still but for the steps made here.
    let clock = Clock::manual(Clock::system().now());
    let hub = Hub::with(Plan { clock: clock.clone(), ..plan() }).await;
    let shop = ScriptedShop::start(hub.world.clone());
    install(&hub, "ozon", Scripted { limits: vec![read_limit(SECOND)], ..Scripted::plain() }, &shop).await;
    let caller = of(&process(&hub, LIMITS), &hub);
    let begun = clock.now();
    let asked = futures_util::future::join_all((0..5).map(|_| check(&caller)));
    let passing = hub.until("five have come", async || {
        let (come, passed) = (shop.seen().len(), clock.now().since(begun));
        assert!(come as u64 <= 1 + passed.as_secs(), "{come} in {passed:?}");
        clock.advance(Duration::from_millis(10));
        come == 5
    });
    let (asked, _) = tokio::join!(asked, passing);
    assert!(asked.iter().all(Result::is_ok), "{asked:?}");
    assert_eq!(shop.seen().len(), 5);
    assert_eq!(hub.metric("api_calls_total{marketplace=\"ozon\",purpose=\"check\"}").await, 5.0);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_at_a_time_calls_out_and_the_next_takes_over() {
    let clock = Clock::manual(Clock::system().now());
    let hub = Hub::with(Plan { clock: clock.clone(), ..plan() }).await;
    let shop = ScriptedShop::start(hub.world.clone());
    install(&hub, "ozon", Scripted::plain(), &shop).await;
    let limits = CallLimits { alone: false, ..LIMITS };
    let (one, two) = (process(&hub, limits), process(&hub, limits));
    let (first, second) = (of(&one, &hub), of(&two, &hub));
    assert!(matches!(check(&first).await, Err(Outcome::Retry { .. })), "nobody's lease was taken yet");
    one.renew().await.unwrap();
    two.renew().await.unwrap();
    let fence = first.owned().expect("the first came first");
    assert!(check(&first).await.is_ok());
    let refused = check(&second).await;
    assert!(matches!(&refused, Err(Outcome::Retry { code: Some(code), .. }) if code == "not-owner"), "{refused:?}");
    // The first is killed: it renews no more. Its lease runs out, and with it its right to send.
    clock.advance(limits.lease - SECOND);
    two.renew().await.unwrap();
    assert!(second.owned().is_none(), "not before its end");
    clock.advance(2 * SECOND);
    two.renew().await.unwrap();
    assert!(second.owned() != Some(fence) && first.owned().is_none());
    assert!(check(&second).await.is_ok());
    assert!(check(&first).await.is_err());
    assert_eq!(shop.seen().len(), 2);
    // One that stops gives its leases back at once.
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    two.keep(stop).await;
    one.renew().await.unwrap();
    assert!(check(&first).await.is_ok());
    hub.stop().await;
}
