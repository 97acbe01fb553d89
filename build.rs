//! Tells the program its own version: number, commit and the commit's date, as far as git is there to say.

use std::process::Command;

fn main() {
    let git = |arguments: &[&str]| -> Option<String> {
        let answer = Command::new("git").args(arguments).output().ok().filter(|answer| answer.status.success())?;
        Some(String::from_utf8_lossy(&answer.stdout).trim().to_owned()).filter(|text| !text.is_empty())
    };
    let version = env!("CARGO_PKG_VERSION");
    let said = match (git(&["rev-parse", "--short=12", "HEAD"]), git(&["log", "-1", "--format=%cs"])) {
        (Some(commit), Some(date)) => format!("{version} ({commit} {date})"),
        _ => version.to_owned(),
    };
    println!("cargo:rustc-env=STOCKHUB_VERSION={said}");
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=build.rs");
}
