//! The real binary as a child of the test: started, killed without warning, reaped, and started again on the same port.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::power::Power;
use crate::support::http::Http;
use crate::support::hub::{ADMIN_TOKEN, SECRET, STORE_KEY};

const MASTER_KEY: &str = "9f1c27d85be3460a7712c4d9e05f83ab26c1d7f0498eb35a6d02f4c8917ab3e5";

pub struct Process {
    pub address: SocketAddr,
    folder: PathBuf,
    /// Debug builds break on purpose what this names.
    breakage: Option<&'static str>,
    /// Keeps what is synced, where the power may be cut.
    pub power: Option<Power>,
    child: Option<Child>,
}

impl Process {
    /// Writes the configuration; nothing runs yet.
    pub fn new(folder: PathBuf, address: SocketAddr, config: &str, breakage: Option<&'static str>) -> Self {
        std::fs::write(folder.join("hub.toml"), config).expect("the configuration is written");
        Self { address, folder, breakage, power: None, child: None }
    }

    pub fn http(&self) -> Http {
        Http::new(self.address)
    }

    /// `stockhub …` with this hub's configuration and its log in `hub.log`.
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockhub"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STOCKHUB_")) {
            command.env_remove(name);
        }
        command.envs([("T_ADMIN", ADMIN_TOKEN), ("T_STORE", STORE_KEY), ("T_SECRET", SECRET), ("T_MASTER", MASTER_KEY)]);
        if let Some(breakage) = self.breakage {
            command.env("STOCKHUB_BREAK", breakage);
        }
        command
            .arg("--config")
            .arg(self.folder.join("hub.toml"))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    fn log(&self) -> std::fs::File {
        std::fs::File::options().create(true).append(true).open(self.folder.join("hub.log")).expect("the hub's log")
    }

    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the hub runs already");
        let mut command = self.command();
        if let Some(power) = &self.power {
            command.env("LD_PRELOAD", &power.shim).env("POWERCUT_KEEP", &power.kept);
            // Often enough that cuts meet checkpoints too, and files small enough to be copied at every sync.
            command.env("STOCKHUB__DATABASE__WAL_AUTOCHECKPOINT_PAGES", "150");
        }
        let child = command.arg("serve").stdout(self.log()).stderr(self.log()).spawn().expect("the hub's binary");
        self.child = Some(child);
    }

    /// Under `strace`, which does `what` to calls of `syscall`, like `signal=SIGKILL:when=3`; it counts per thread. The tracer is a grandchild (`-D`): the child is the
    /// hub itself, killed and reaped as ever.
    pub fn spawn_traced(&mut self, syscall: &str, what: &str) {
        assert!(self.child.is_none(), "the hub runs already");
        let plain = self.command();
        let mut command = Command::new("strace");
        let inject = format!("inject={syscall}:{what}");
        command.args(["-D", "-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={syscall}"), "-e", &inject]);
        command.arg(env!("CARGO_BIN_EXE_stockhub")).args(plain.as_std().get_args()).arg("serve");
        for (name, value) in plain.as_std().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(self.log()).stderr(self.log()).kill_on_drop(true);
        self.child = Some(command.spawn().expect("strace"));
    }

    /// Waits until it serves; gives how long that took. Panics where it ends instead.
    pub async fn ready(&mut self, at_most: Duration) -> Duration {
        self.ready_or_ended(at_most).await.unwrap_or_else(|status| panic!("the hub ended: {status}\n{}", self.log_tail()))
    }

    /// The same, for a hub that may be killed while it starts.
    pub async fn ready_or_ended(&mut self, at_most: Duration) -> Result<Duration, ExitStatus> {
        let begun = Instant::now();
        let http = self.http();
        loop {
            let answer = tokio::time::timeout(Duration::from_secs(1), http.try_send("GET", "/readyz", &[], b"")).await;
            if matches!(answer, Ok(Ok(answer)) if answer.status == 200) {
                return Ok(begun.elapsed());
            }
            if let Some(status) = self.ended() {
                return Err(status);
            }
            assert!(begun.elapsed() < at_most, "the hub is not ready after {at_most:?}\n{}", self.log_tail());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut().expect("a hub was started").try_wait().expect("the child can be asked")?;
        self.child = None;
        Some(status)
    }

    /// SIGKILL, and waits until it is gone.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("a hub runs");
        child.start_kill().expect("the hub can be killed");
        let status = child.wait().await.expect("the hub is reaped");
        assert!(!status.success(), "the hub had ended by itself: {status}\n{}", self.log_tail());
    }

    /// SIGTERM; gives how it ended and how long that took.
    pub async fn terminate(&mut self, at_most: Duration) -> (ExitStatus, Duration) {
        let mut child = self.child.take().expect("a hub runs");
        let (id, begun) = (child.id().expect("it was not reaped"), Instant::now());
        let told = Command::new("sh").args(["-c", &format!("kill -TERM {id}")]).status().await.expect("a shell");
        assert!(told.success());
        let ended = tokio::time::timeout(at_most, child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("the hub runs {at_most:?} after SIGTERM\n{}", self.log_tail()));
        (status.expect("the hub is reaped"), begun.elapsed())
    }

    /// `stockhub verify`, from a process of its own: whether it ended with 0, and what it said.
    pub async fn verify(&self) -> (bool, String) {
        let output = self.command().arg("verify").output().await.expect("the binary");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), said)
    }

    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.folder.join("hub.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

pub fn strace_is_there() -> bool {
    let asked = std::process::Command::new("strace").arg("-V").stdout(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// A free port below those the kernel hands out by itself: while the hub is away, nobody's outgoing connection may get it, least of
/// all a sender's own, which would then be connected to itself.
pub fn free_address(dice: &mut fastrand::Rng) -> SocketAddr {
    free_addresses(dice, 1)
}

/// So many side by side; the first of them. No two tests of this binary are given the same.
pub fn free_addresses(dice: &mut fastrand::Rng, many: u16) -> SocketAddr {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..200 {
        let first = dice.u16(12_000..15_000 - many);
        let all = first..first + many;
        let mut given = GIVEN.lock().unwrap();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        if all.clone().all(|port| !given.contains(&port) && TcpListener::bind(address(port)).is_ok()) {
            given.extend(all);
            return address(first);
        }
    }
    panic!("no free port between 12000 and 15000");
}
