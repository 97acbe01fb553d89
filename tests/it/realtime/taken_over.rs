//! The suites on the fast path: the hub takes the sockets over.
#![expect(clippy::duplicate_mod, reason = "the same promises on both paths")]

use stockhub::realtime::RealtimeSettings;

use super::shop::{Path, Shop};

#[path = "frames.rs"]
mod frames;
#[path = "limits.rs"]
mod limits;
#[path = "live.rs"]
mod live;
#[path = "resume.rs"]
mod resume;
#[path = "storm.rs"]
mod storm;

fn open() -> Shop {
    with(RealtimeSettings::default())
}

fn with(settings: RealtimeSettings) -> Shop {
    Shop::with(Path::TakenOver, settings)
}
