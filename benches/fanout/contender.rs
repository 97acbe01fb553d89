//! Who is measured, and how each is started, spoken to and asked what it used.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit as _, Mac as _};
use md5::{Digest as _, Md5};
use sha2::Sha256;

/// The core of the servers; the client has the other.
const SERVER_CORE: &str = "0";
const HERE: &str = env!("CARGO_MANIFEST_DIR");

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The hub with its own window of 20 ms.
    Stockhub,
    /// The hub without a window: every change leaves at once.
    StockhubAtOnce,
    /// A bare epoll loop, one send per socket and message.
    Floor,
    /// The same, what one turn of the loop brings is joined.
    FloorJoined,
    NodeWs,
    SocketIo,
    Nchan,
    Sockudo,
}

pub const ALL: [Kind; 8] = [
    Kind::Floor,
    Kind::Stockhub,
    Kind::StockhubAtOnce,
    Kind::FloorJoined,
    Kind::NodeWs,
    Kind::SocketIo,
    Kind::Nchan,
    Kind::Sockudo,
];

/// The one application of sockudo, as it is told by its environment.
const PUSHER_ID: &str = "bench";
const PUSHER_KEY: &str = "bench-key";
const PUSHER_SECRET: &str = "bench-secret";

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Stockhub => "stockhub",
            Self::StockhubAtOnce => "stockhub-gap0",
            Self::Floor => "floor",
            Self::FloorJoined => "floor-joined",
            Self::NodeWs => "ws",
            Self::SocketIo => "socket.io",
            Self::Nchan => "nchan",
            Self::Sockudo => "sockudo",
        }
    }

    /// Where a socket asks for `skus`; none: for all.
    pub fn path(self, skus: &[u32]) -> String {
        let names: Vec<String> = skus.iter().map(|sku| format!("K-{sku:05}")).collect();
        let list = names.join(",");
        match self {
            Self::Stockhub if skus.is_empty() => "/v1/stock/ws?all=true".into(),
            Self::Stockhub => format!("/v1/stock/ws?skus={list}"),
            Self::StockhubAtOnce if skus.is_empty() => "/v1/stock/ws?gap=0&all=true".into(),
            Self::StockhubAtOnce => format!("/v1/stock/ws?gap=0&skus={list}"),
            Self::Nchan if skus.is_empty() => "/sub/all".into(),
            Self::Nchan => format!("/sub/{list}"),
            Self::Sockudo => format!("/app/{PUSHER_KEY}?protocol=7"),
            Self::SocketIo => format!("/socket.io/?EIO=4&transport=websocket&skus={list}"),
            Self::Floor | Self::FloorJoined | Self::NodeWs => format!("/?skus={list}"),
        }
    }

    /// What a socket that wants `skus` says after its handshake.
    pub fn greetings(self, skus: &[u32]) -> Vec<String> {
        let subscribe = |channel: &str| format!("{{\"event\":\"pusher:subscribe\",\"data\":{{\"channel\":\"{channel}\"}}}}");
        match self {
            Self::SocketIo => vec!["40".into()],
            Self::Sockudo if skus.is_empty() => vec![subscribe("all")],
            Self::Sockudo => skus.iter().map(|sku| subscribe(&format!("K-{sku:05}"))).collect(),
            _ => Vec::new(),
        }
    }

    /// The request that publishes a change. nchan and sockudo have no rule for who gets what: the publisher names the channel.
    pub fn request(self, address: SocketAddr, sparse: bool, sku: u32, change: &str) -> String {
        let channel = if sparse { format!("K-{sku:05}") } else { "all".into() };
        let (path, body) = match self {
            Self::Nchan => (format!("/pub/{channel}"), change.to_owned()),
            Self::Sockudo => {
                let data = change.replace('"', "\\\"");
                let body = format!("{{\"name\":\"stock\",\"channel\":\"{channel}\",\"data\":\"{data}\"}}");
                (pusher_path(&body), body)
            }
            _ => ("/publish".into(), change.to_owned()),
        };
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    }
}

/// A signed address of the Pusher protocol.
fn pusher_path(body: &str) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let path = format!("/apps/{PUSHER_ID}/events");
    let digest = hex::encode(Md5::digest(body));
    let query = format!("auth_key={PUSHER_KEY}&auth_timestamp={now}&auth_version=1.0&body_md5={digest}");
    let mut mac = Hmac::<Sha256>::new_from_slice(PUSHER_SECRET.as_bytes()).unwrap();
    mac.update(format!("POST\n{path}\n{query}").as_bytes());
    format!("{path}?{query}&auth_signature={}", hex::encode(mac.finalize().into_bytes()))
}

/// One worker, and nothing that the others do not do either.
fn sockudo_environment(port: &str) -> [(&'static str, &str); 10] {
    [
        ("HOST", "127.0.0.1"),
        ("PORT", port),
        ("SOCKUDO_DEFAULT_APP_ID", PUSHER_ID),
        ("SOCKUDO_DEFAULT_APP_KEY", PUSHER_KEY),
        ("SOCKUDO_DEFAULT_APP_SECRET", PUSHER_SECRET),
        // It allows a hundred unless told otherwise.
        ("SOCKUDO_DEFAULT_APP_MAX_CONNECTIONS", "100000"),
        ("RATE_LIMITER_ENABLED", "false"),
        ("METRICS_ENABLED", "false"),
        ("WEBSOCKET_COMPRESSION", "disabled"),
        ("RUST_LOG", "error"),
    ]
}

pub struct Server {
    child: Child,
    pub address: SocketAddr,
    folder: PathBuf,
}

impl Server {
    pub fn start(kind: Kind, hub: &Path) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_at(kind, hub, port)
    }

    pub fn start_at(kind: Kind, hub: &Path, port: u16) -> Self {
        let folder = std::env::temp_dir().join(format!("stockhub-bench-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let port_text = port.to_string();
        let mut words: Vec<String> = vec!["-c".into(), SERVER_CORE.into()];
        let mut add = |more: &[&str]| words.extend(more.iter().map(ToString::to_string));
        let peer = format!("{HERE}/benches/fanout/peers/server.mjs");
        match kind {
            Kind::Stockhub | Kind::StockhubAtOnce => {
                add(&[hub.to_str().unwrap(), "bench", "fanout", "--bind", &format!("127.0.0.1:{port}")])
            }
            Kind::Floor => add(&[std::env::current_exe().unwrap().to_str().unwrap(), "floor", "--port", &port_text]),
            Kind::FloorJoined => {
                add(&[std::env::current_exe().unwrap().to_str().unwrap(), "floor", "--port", &port_text, "--joined", "yes"])
            }
            Kind::Sockudo => add(&["sockudo"]),
            Kind::NodeWs => add(&["node", &peer, "ws", &port_text]),
            Kind::SocketIo => add(&["node", &peer, "socket.io", &port_text]),
            Kind::Nchan => {
                let config =
                    include_str!("peers/nginx.conf").replace("PORT", &port_text).replace("FOLDER", folder.to_str().unwrap());
                std::fs::File::create(folder.join("nginx.conf")).unwrap().write_all(config.as_bytes()).unwrap();
                add(&["nginx", "-c", folder.join("nginx.conf").to_str().unwrap()]);
            }
        }
        let child = Command::new("taskset")
            .args(&words)
            .envs(sockudo_environment(&port_text))
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("taskset cannot start {words:?}: {error}"));
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], port)), folder };
        server.wait_ready(kind);
        server
    }

    fn wait_ready(&mut self, kind: Kind) {
        for _ in 0..400 {
            if TcpStream::connect(self.address).is_ok() {
                return;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!(
                    "{} ended: {status}. ws and socket.io need `npm install` in benches/fanout/peers; nchan needs nginx with libnginx-mod-nchan; \
                     sockudo needs protoc and `cargo install sockudo --version 5.2.0 --no-default-features --features local`",
                    kind.name()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{} does not listen", kind.name());
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn family(&self) -> Vec<u32> {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid())).unwrap_or_default();
        std::iter::once(self.pid()).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }

    /// Seconds of CPU that the server used since it began, its children's included: user, system.
    pub fn cpu(&self) -> (f64, f64) {
        let of = |pid: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or("").split(' ').collect();
            let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0) / 100.0;
            (ticks(11), ticks(12))
        };
        self.family().iter().map(of).fold((0.0, 0.0), |(user, system), (u, s)| (user + u, system + s))
    }

    /// KiB of memory that the server holds.
    pub fn rss(&self) -> u64 {
        let of = |pid: &u32| {
            let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
            line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0)
        };
        self.family().iter().map(of).sum()
    }

    pub fn kill(&mut self) {
        for pid in self.family().into_iter().skip(1) {
            let _ = Command::new("kill").arg(pid.to_string()).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
