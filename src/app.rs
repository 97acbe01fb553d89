//! The composition root: the only file that names every concrete type. Settings in, a running hub out.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::alerts::Messenger;
use crate::alerts::mail::{MailError, Mailer};
use crate::caller::{CallLimits, Callers};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::context::Context;
use crate::db::{DatabaseUrl, Db, DbOptions, OpenError, UrlError, WriteConnection, tokens};
use crate::domain::retry::BreakerLimits;
use crate::http::CreateToken;
use crate::http::auth::{Role, Tokens, hash, new_token};
use crate::http::live_feed::Live;
use crate::marketplaces::registry::Registry;
use crate::marketplaces::{Connection, json};
use crate::outbound::{Outbound, OutboundError, OutboundLimits};
use crate::people::People;
use crate::people::sessions::{OfferSetup, PurgeSessions, new_setup_token};
use crate::pipeline::apply::ApplyDue;
use crate::pipeline::broadcast::{self, Broadcast};
use crate::pipeline::connections::Connections;
use crate::pipeline::holds;
use crate::pipeline::import;
use crate::pipeline::keys::Keys;
use crate::pipeline::marketplaces::PurgeSecrets;
use crate::pipeline::outbox::Bell;
use crate::pipeline::publish::{PublishLimits, Publisher, Purge};
use crate::pipeline::push::{PushLimits, Pusher, Pushers};
use crate::pipeline::rejected::RejectedList;
use crate::pipeline::retention::PurgeOld;
use crate::pipeline::rules::{self, Book, RuleBook};
use crate::pipeline::setup::{Declare, SetupError, hub_rule};
use crate::pipeline::silence::{ListenForSilence, Patience, Pulse};
use crate::pipeline::writer::{WriteError, Writer, WriterLimits};
use crate::pipeline::{Kit, Limits};
use crate::realtime::{Engine, RealtimeSettings};
use crate::seal::{SealError, Sealer};
use crate::settings::Settings;
use crate::supervisor::{Job, Kind, Supervisor};
use crate::sync::{Sync, Way};
use crate::telemetry::Metrics;
use crate::workers::{More, Workers};

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot listen on {address}: {source}")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error(transparent)]
    Mail(#[from] MailError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Setup(#[from] WriteError<SetupError>),
    #[error("the rules could not be compared: {0}")]
    Rules(WriteError<crate::db::DbError>),
    #[error("the first token could not be made: {0}")]
    FirstToken(String),
    #[error("the shop window could not be filled: {0}")]
    Fill(#[from] crate::db::DbError),
}

/// What a test may put in place of the real thing.
pub struct Surroundings {
    pub clock: Clock,
    pub chance: Chance,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { clock: Clock::system(), chance: Chance::from_system() }
    }
}

/// A hub that listens.
pub struct App {
    pub context: Context,
    pub address: SocketAddr,
    /// Made because nobody could come in otherwise; shown once.
    pub first_token: Option<String>,
    /// Lets the first person in; made at the first start, shown once.
    pub setup_token: Option<String>,
    pub supervisor: Supervisor,
    pub publisher: Arc<Publisher>,
    listener: TcpListener,
    writer_stop: CancellationToken,
}

impl App {
    /// Opens the database, makes what must stand, fills the shop window, and listens. Nothing is answered yet.
    pub async fn build(settings: Settings, surroundings: Surroundings) -> Result<Self, StartError> {
        let settings = Arc::new(settings);
        let bind = settings.server.bind;
        let listener = listen(&settings).map_err(|source| StartError::Bind { address: bind, source })?;
        let address = listener.local_addr().map_err(|source| StartError::Bind { address: bind, source })?;
        let url = DatabaseUrl::parse(settings.database.url.expose())?;
        let sealer = sealer(&settings, &url)?;
        let (db, connection) = Db::open(db_options(&settings, url)).await?;
        let kit = kit(&settings, surroundings);
        let stop = CancellationToken::new();
        let workers = Workers::new(Handle::current(), stop.clone());
        let pushers = Pushers::default();
        let (writer, writer_stop, broadcast) = start_writer(&settings, &db, connection, &kit, &workers, &pushers);
        let declare = Declare {
            marketplaces: settings.marketplaces.clone(),
            min_gap: settings.push.min_gap(),
            allow_private: settings.security.allow_private_targets,
        };
        let standing = writer.run_patiently(declare).await?;
        let bell = broadcast.connections.clone();
        let connections = Connections::new(kit.clone(), db.clone(), settings.clone(), sealer.clone(), bell);
        connections.refresh().await?;
        kit.rules.replace(Book { settings: kit.rules.get().settings.clone(), ..standing.rules });
        writer.run_patiently(rules::Compare { settings: rules::of_settings(&kit) }).await.map_err(StartError::Rules)?;
        let engine = Engine::new(standing.generation, kit.chance.id(kit.clock.now()), realtime(&settings).limits());
        let filled = broadcast::fill(&db, &engine).await?;
        // Set once: nothing else does.
        let _ = broadcast.engine.set(engine.clone());
        tracing::info!(products = filled, database = %db.url(), "the shop window is filled");
        let tokens = Tokens::of_settings(&settings.auth);
        let setup_token = setup_token(&writer, &tokens).await?;
        let first_token = first_token(&writer, &db, &tokens).await?;
        let people = People::new(&settings.auth);
        let live = Live::new(settings.server.live_buffer);
        let outbound = Outbound::new(outbound_limits(&settings))?;
        kit.keys.connect(outbound.clone());
        let limits = call_limits(&settings, db.url());
        let callers = Callers::new(kit.clone(), db.clone(), writer.clone(), outbound.clone(), sealer.clone(), limits);
        let supervisor = Supervisor {
            connections: connections.clone(),
            registry: kit.registry.clone(),
            workers: workers.clone(),
            kinds: vec![pushing(&settings, &kit, &db, &writer, &callers, &pushers)],
            look_every: Duration::from_secs(if db.url().is_sqlite() { 3_600 } else { 2 }),
        };
        let messenger = messenger(&settings, &sealer)?;
        let publisher = Arc::new(publisher(&settings, &kit, &db, &writer, &messenger, &broadcast));
        let context = Context {
            settings,
            kit,
            db,
            writer,
            engine,
            workers,
            sealer,
            tokens,
            people,
            live,
            tickets: Default::default(),
            figures: Default::default(),
            connections,
            callers,
            messenger,
            demo: false,
        };
        Ok(Self { context, address, first_token, setup_token, supervisor, publisher, listener, writer_stop })
    }

    /// Serves until told to stop, then stops gracefully: nobody new gets in, what was taken is finished, browsers are told.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        let Self { context, listener, supervisor, publisher, writer_stop, .. } = self;
        let workers = context.workers.clone();
        let stop_supervising = workers.stopping().clone();
        workers.start(async move { supervisor.run(stop_supervising).await });
        let (callers, stop_keeping) = (context.callers.clone(), workers.stopping().clone());
        workers.start(async move { callers.keep(stop_keeping).await });
        let (sync, stop_reading) = (reading(&context), workers.stopping().clone());
        workers.start(async move { sync.run(stop_reading).await });
        let (writer, retention) = (context.writer.clone(), publisher.limits.retention);
        let stop_publishing = workers.stopping().clone();
        workers.start(async move { publisher.run(stop_publishing).await });
        workers.every(Duration::from_secs(600), move || {
            let writer = writer.clone();
            async move { purge_events(&writer, retention).await }
        });
        let writer = context.writer.clone();
        workers.every(Duration::from_millis(500), move || {
            let writer = writer.clone();
            async move { retry_due(&writer).await }
        });
        let writer = context.writer.clone();
        workers.every(context.settings.inventory.sweep(), move || {
            let writer = writer.clone();
            async move { holds::sweep(&writer).await }
        });
        let follow = context.clone();
        workers.every(Duration::from_millis(250), move || {
            let ctx = follow.clone();
            async move { rules::step(&ctx.kit, &ctx.db, &ctx.writer).await }
        });
        start_upkeep(&context);
        start_people(&context);
        start_imports(&context);
        let drain = context.settings.server.shutdown_timeout();
        let served = crate::http::serve(context.clone(), listener, realtime(&context.settings), stop).await;
        workers.stopping().cancel();
        // The writer goes last: pushers under way still have their answers to write down.
        if !workers.tracker().is_empty() {
            writer_stop_after(&workers, &writer_stop, drain).await;
        }
        context.db.close().await;
        served
    }
}

/// Waits for every task but the writer's, then for the writer's.
async fn writer_stop_after(workers: &Workers, writer_stop: &CancellationToken, at_most: Duration) {
    let tasks = workers.tracker().clone();
    let others_done = async {
        // One task is the writer; the rest end by themselves once they are told.
        while tasks.len() > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(at_most, others_done).await.is_err() {
        tracing::warn!("some work did not end in time; what it had not written is found again at the next start");
    }
    writer_stop.cancel();
    if !workers.join(at_most).await {
        tracing::error!("the writer did not end in time");
    }
}

fn listen(settings: &Settings) -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(settings.server.bind), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&settings.server.bind.into())?;
    socket.listen(i32::try_from(settings.server.backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn sealer(settings: &Settings, url: &DatabaseUrl) -> Result<Sealer, SealError> {
    match (settings.security.master_key_bytes(), url) {
        (Some(key), _) => Ok(Sealer::new(&key)),
        (None, DatabaseUrl::Sqlite(path)) => Sealer::of_file(&PathBuf::from(format!("{path}.key"))),
        (None, DatabaseUrl::Postgres(_)) => Sealer::of_file(&PathBuf::from("stockhub.key")),
    }
}

pub fn db_options(settings: &Settings, url: DatabaseUrl) -> DbOptions {
    DbOptions {
        url,
        readers: settings.database.readers,
        busy_timeout: settings.database.busy_timeout(),
        connect_timeout: settings.database.connect_timeout(),
        wal_autocheckpoint_pages: settings.database.wal_autocheckpoint_pages,
    }
}

/// What the stages share, without connections: those are made of what the database knows.
pub fn kit(settings: &Settings, surroundings: Surroundings) -> Kit {
    let ingest = &settings.ingest;
    Kit {
        clock: surroundings.clock,
        chance: surroundings.chance,
        registry: Registry::new(settings.catalogue.clone()),
        metrics: Arc::new(Metrics::new()),
        keys: Keys::default(),
        pulse: Pulse::default(),
        bells: crate::sync::Bells::default(),
        replaying: Arc::default(),
        rejected: RejectedList::new(ingest.rejected_kept),
        limits: Limits {
            json: json::Limits { depth: ingest.json_depth_max, nodes: ingest.json_nodes_max },
            timestamp_tolerance: ingest.timestamp_tolerance(),
            retry_base: ingest.retry_base(),
            retry_cap: ingest.retry_cap(),
            attempts_max: ingest.attempts_max,
            low_stock_threshold: settings.inventory.low_stock_threshold,
        },
        rules: RuleBook::of(Book { settings: hub_rule(&settings.rule), ..Book::default() }),
    }
}

fn start_writer(
    settings: &Settings,
    db: &Db,
    connection: WriteConnection,
    kit: &Kit,
    workers: &Workers,
    pushers: &Pushers,
) -> (Writer, CancellationToken, Broadcast) {
    let limits = WriterLimits {
        queue: settings.database.write_queue,
        queue_each: settings.ingest.per_connection_in_flight,
        group_max: settings.database.group_max,
        group_max_bytes: settings.database.group_max_bytes,
    };
    let (writer, task) = Writer::new(limits, workers.stopping().clone());
    let broadcast =
        Broadcast { engine: Arc::default(), pushers: pushers.clone(), outbox: Bell::default(), connections: Arc::default() };
    let writer_stop = CancellationToken::new();
    let (db, kit, after, stop) = (db.clone(), kit.clone(), broadcast.clone(), writer_stop.clone());
    workers.start(async move { task.run(db, connection, kit, after, stop).await });
    (writer, writer_stop, broadcast)
}

pub fn realtime(settings: &Settings) -> RealtimeSettings {
    let set = &settings.realtime;
    RealtimeSettings {
        window_ms: set.window_ms,
        ping_ms: set.ping_ms,
        pong_timeout_ms: set.pong_timeout_ms,
        slow_close_ms: set.slow_close_ms,
        max_connections: set.max_connections,
        max_connections_per_ip: set.max_connections_per_ip,
        max_skus: set.max_skus,
        commands_per_second: set.commands_per_second,
        max_frame_bytes: set.max_frame_bytes,
        max_subscribe_frame_bytes: set.max_subscribe_frame_bytes,
        ring: set.ring,
        public_cap: (set.public_cap > 0).then_some(set.public_cap),
        allowed_origins: set.allowed_origins.clone(),
        lifetime_s: set.lifetime_s,
        shutdown_drain_ms: set.shutdown_drain_ms,
        heartbeat_ms: set.heartbeat_ms,
        unsent_bytes: set.unsent_bytes,
        trusted_proxies: settings.server.trusted_proxies.clone(),
        ..RealtimeSettings::default()
    }
}

fn outbound_limits(settings: &Settings) -> OutboundLimits {
    OutboundLimits {
        timeout: settings.push.timeout(),
        connect_timeout: settings.push.connect_timeout(),
        response_max_bytes: settings.push.response_max_bytes,
        allow_private_targets: settings.security.allow_private_targets,
    }
}

fn call_limits(settings: &Settings, url: &DatabaseUrl) -> CallLimits {
    let push = &settings.push;
    CallLimits {
        concurrency: push.concurrency,
        penalty: push.penalty(),
        timeout: push.timeout(),
        push_max_bytes: push.response_max_bytes,
        read_max_bytes: push.read_max_bytes,
        lease: push.lease(),
        alone: url.is_sqlite(),
    }
}

/// One pusher per connection that is pushed to.
fn pushing(settings: &Settings, kit: &Kit, db: &Db, writer: &Writer, callers: &Callers, pushers: &Pushers) -> Kind {
    let limits = push_limits(settings, db.url());
    let (kit, db, writer, callers, pushers) = (kit.clone(), db.clone(), writer.clone(), callers.clone(), pushers.clone());
    let make = move |connection: &Arc<Connection>, stop: CancellationToken| -> Option<Job> {
        let pusher = Pusher {
            kit: kit.clone(),
            db: db.clone(),
            writer: writer.clone(),
            callers: callers.clone(),
            connection: connection.clone(),
            limits,
            pushers: pushers.clone(),
        };
        connection.pushes().then(|| -> Job { Box::pin(async move { pusher.run(stop).await }) })
    };
    Kind { name: "push", make: Box::new(make) }
}

fn push_limits(settings: &Settings, url: &DatabaseUrl) -> PushLimits {
    let push = &settings.push;
    PushLimits {
        concurrency: push.concurrency,
        backoff_base: push.backoff_base(),
        backoff_cap: push.backoff_cap(),
        zombie_window: push.zombie_window(),
        lease: push.lease(),
        breaker: BreakerLimits { failures: push.breaker_failures, open_for: push.breaker_open(), open_cap: push.backoff_cap() },
        batch_max: push.batch_max,
        join: push.join(),
        verify_cap: push.verify_cap(),
        // Alone, every change rings; beside other nodes theirs have to be looked for.
        idle: if url.is_sqlite() { Duration::from_secs(60) } else { push.lease() / 3 },
    }
}

fn messenger(settings: &Settings, sealer: &Sealer) -> Result<Messenger, StartError> {
    let limits = OutboundLimits { timeout: settings.events.timeout(), ..outbound_limits(settings) };
    let mailer = Mailer::new(&settings.mail)?.map(Arc::new);
    Ok(Messenger { outbound: Outbound::new(limits)?, mailer, sealer: sealer.clone() })
}

fn publisher(
    settings: &Settings,
    kit: &Kit,
    db: &Db,
    writer: &Writer,
    messenger: &Messenger,
    broadcast: &Broadcast,
) -> Publisher {
    Publisher {
        kit: kit.clone(),
        db: db.clone(),
        writer: writer.clone(),
        messenger: messenger.clone(),
        bell: broadcast.outbox.clone(),
        owner: kit.chance.id(kit.clock.now()).to_string(),
        limits: publish_limits(settings),
    }
}

fn publish_limits(settings: &Settings) -> PublishLimits {
    let events = &settings.events;
    PublishLimits {
        timeout: events.timeout().max(settings.mail.timeout()),
        retry_base: events.retry_base(),
        retry_cap: events.retry_cap(),
        attempts_max: events.attempts_max,
        batch_max: events.batch_max,
        concurrency: events.concurrency,
        retention: events.retention(),
    }
}

/// Old events that everybody has.
async fn purge_events(writer: &Writer, retention: Duration) -> More {
    const BATCH: i64 = 1_000;
    match writer.run_patiently(Purge { retention, limit: BATCH }).await {
        Ok(count) if count as i64 == BATCH => More::Now,
        Ok(_) => More::Later,
        Err(error) => {
            tracing::warn!(%error, "old events could not be forgotten");
            More::Later
        }
    }
}

/// What reads from marketplaces.
fn reading(context: &Context) -> Arc<Sync> {
    let Context { kit, db, writer, callers, workers, settings, .. } = context;
    let way = Way { kit: kit.clone(), callers: callers.clone() };
    Arc::new(Sync::new(kit.clone(), db.clone(), writer.clone(), way, workers.clone(), settings.sync.clone()))
}

/// What nobody waits for: old bodies go, and silent sources are noticed.
/// Between two looks at how long the write-ahead log has become.
const LOOK_AT_LOG: Duration = Duration::from_millis(100);

/// Keeps SQLite's write-ahead log short beside the writer.
async fn move_pages(db: &Db, stop: &CancellationToken) {
    let mut checkpointer = match db.checkpointer().await {
        Ok(Some(checkpointer)) => checkpointer,
        Ok(None) => return,
        Err(error) => return tracing::warn!(%error, "the writer has to move its pages itself"),
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(LOOK_AT_LOG) => {}
        }
        match checkpointer.step().await {
            Ok(0) => {}
            Ok(pages) => tracing::debug!(pages, "pages were moved from the write-ahead log"),
            // A full disk, say: the writer meets the same and says so.
            Err(error) => tracing::debug!(%error, "no pages were moved from the write-ahead log"),
        }
    }
    checkpointer.close().await;
}

fn start_upkeep(context: &Context) {
    let (db, stop) = (context.db.clone(), context.workers.stopping().clone());
    context.workers.start(async move { move_pages(&db, &stop).await });
    let (writer, keep) = (context.writer.clone(), context.settings.ingest.retention());
    context.workers.every(Duration::from_secs(600), move || {
        let writer = writer.clone();
        async move {
            match writer.run_patiently(PurgeOld { keep }).await {
                Ok(true) => More::Now,
                Ok(false) => More::Later,
                Err(error) => {
                    tracing::warn!(%error, "old webhooks could not be purged");
                    More::Later
                }
            }
        }
    });
    let ingest = &context.settings.ingest;
    let patience = Patience { factor: ingest.silence_factor, at_least: ingest.silence_min() };
    let writer = context.writer.clone();
    context.workers.every(Duration::from_secs(60), move || {
        let writer = writer.clone();
        async move {
            if let Err(error) = writer.run_patiently(ListenForSilence(patience)).await {
                tracing::warn!(%error, "silent sources could not be looked for");
            }
            More::Later
        }
    });
}

/// Imports that were accepted and not finished, and those that nobody sends any more.
fn start_imports(context: &Context) {
    let (db, writer) = (context.db.clone(), context.writer.clone());
    context.workers.every(Duration::from_secs(1), move || {
        let (db, writer) = (db.clone(), writer.clone());
        async move { import::step(&db, &writer).await }
    });
    let writer = context.writer.clone();
    context.workers.every(Duration::from_secs(600), move || {
        let writer = writer.clone();
        async move { import::purge(&writer).await }
    });
}

/// What is to be remembered of people, and what is to be forgotten.
fn start_people(context: &Context) {
    let (writer, used) = (context.writer.clone(), context.people.used.clone());
    context.workers.every(Duration::from_secs(30), move || {
        let (writer, used) = (writer.clone(), used.clone());
        async move { used.write(&writer).await }
    });
    let (writer, idle) = (context.writer.clone(), context.settings.auth.session_idle());
    context.workers.every(Duration::from_secs(600), move || {
        let writer = writer.clone();
        async move {
            if let Err(error) = writer.run_patiently(PurgeSessions { idle }).await {
                tracing::warn!(%error, "old sessions could not be forgotten");
            }
            if let Err(error) = writer.run_patiently(PurgeSecrets).await {
                tracing::warn!(%error, "secrets that ended could not be forgotten");
            }
            More::Later
        }
    });
}

/// Rows of the log that wait for another try.
async fn retry_due(writer: &Writer) -> More {
    const BATCH: i64 = 64;
    match writer.run_patiently(ApplyDue { limit: BATCH }).await {
        Ok(count) if count as i64 == BATCH => More::Now,
        Ok(_) => More::Later,
        Err(error) => {
            tracing::warn!(%error, "waiting webhooks could not be looked at");
            More::Later
        }
    }
}

/// Where nobody was set up yet and no token of the settings can do it, a one-time token is made and shown once.
async fn setup_token(writer: &Writer, known: &Tokens) -> Result<Option<String>, StartError> {
    if known.has_admin() {
        return Ok(None);
    }
    let token = new_setup_token().map_err(|error| StartError::FirstToken(error.to_string()))?;
    let offered = writer.run_patiently(OfferSetup(hash(&token))).await;
    Ok(offered.map_err(|error| StartError::FirstToken(error.to_string()))?.then_some(token))
}

/// With no token in the settings and none in the database nobody could come in: one is made and shown once.
async fn first_token(writer: &Writer, db: &Db, known: &Tokens) -> Result<Option<String>, StartError> {
    if known.has_admin() {
        return Ok(None);
    }
    let mut reader = db.read().await?;
    if !tokens::list(&mut reader.conn()).await?.is_empty() {
        return Ok(None);
    }
    let token = new_token().map_err(|error| StartError::FirstToken(error.to_string()))?;
    let command = CreateToken {
        name: "first start".into(),
        role: Role::Admin,
        token: token.clone(),
        created_by: "first start".into(),
        lifetime: None,
    };
    writer.run_patiently(command).await.map_err(|error| StartError::FirstToken(error.to_string()))?;
    Ok(Some(token))
}
