//! The WebSocket code against the Autobahn test suite: an echo made of the very code that serves browsers.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::path::Path;

use actix_web::App;
use stockhub::realtime::{Engine, RealtimeSettings, server};
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The largest message of the suite is 16 MiB; browsers are given far less.
const MESSAGE_BYTES: usize = 17 * 1_024 * 1_024;

#[tokio::test(flavor = "multi_thread")]
async fn the_autobahn_cases_pass() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let suite = "autobahntestsuite==25.10.1";
    let pip = ["-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", "suite", suite];
    super::run("pip", Command::new("python3").args(pip).current_dir(&folder)).await;
    let unpack = "import glob, tarfile; tarfile.open(glob.glob('suite/*.tar.gz')[0]).extractall('suite')";
    super::run("python3", Command::new("python3").args(["-c", unpack]).current_dir(&folder)).await;
    let (address, stop, serving) = echo();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/autobahn.py");
    let mut command = Command::new("python3");
    command.arg(script).arg("suite").arg(address).current_dir(&folder);
    let said = super::run("autobahn.py", &mut command).await;
    println!("{said}");
    assert!(said.contains("301 cases") && said.contains("all cases passed"), "{said}");
    stop.cancel();
    serving.join().expect("the echo ends");
}

/// The hub's own listener and sockets; each message comes back instead of being read.
fn echo() -> (String, CancellationToken, std::thread::JoinHandle<()>) {
    let settings = RealtimeSettings {
        echo: true,
        max_frame_bytes: MESSAGE_BYTES,
        max_subscribe_frame_bytes: MESSAGE_BYTES,
        commands_per_second: u32::MAX,
        ping_ms: 3_600_000,
        ..RealtimeSettings::default()
    };
    let engine = Engine::new(Uuid::from_u128(1), Uuid::from_u128(2), settings.limits());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, stop) = (listener.local_addr().expect("an address").to_string(), CancellationToken::new());
    let told = stop.clone();
    let serving = std::thread::spawn(move || {
        let served = server::run(listener, App::new, engine, settings, NonZeroUsize::new(1), told);
        actix_web::rt::System::new().block_on(served).expect("the echo serves");
    });
    (address, stop, serving)
}
