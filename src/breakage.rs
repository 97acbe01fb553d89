//! Faults put in on purpose, so that the crash rig (`tests/it/crash`) can be tried itself: a judge that passes a broken hub proves
//! nothing. `STOCKHUB_BREAK` names one; only debug builds look at it, in release builds every question here is a constant no.

/// One promise broken at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breakage {
    /// `ack_before_commit`: a webhook is answered 200 before its row is durable.
    AckBeforeCommit,
    /// `no_dedupe`: a repeat counts as a new event.
    NoDedupe,
    /// `apply_twice`: every event is applied twice.
    ApplyTwice,
    /// `publish_lost`: browsers are not told.
    PublishLost,
    /// `push_lost`: marketplaces are not told, and it is written down that they were.
    PushLost,
    /// `forget_in_flight`: what was on its way at a crash is never looked at again.
    ForgetInFlight,
    /// `sync_normal`: SQLite syncs at checkpoints only, not with every commit.
    SyncNormal,
}

#[cfg(debug_assertions)]
pub(crate) fn is(breakage: Breakage) -> bool {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<Option<Breakage>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let chosen = match std::env::var("STOCKHUB_BREAK").ok()?.as_str() {
            "ack_before_commit" => Breakage::AckBeforeCommit,
            "no_dedupe" => Breakage::NoDedupe,
            "apply_twice" => Breakage::ApplyTwice,
            "publish_lost" => Breakage::PublishLost,
            "push_lost" => Breakage::PushLost,
            "forget_in_flight" => Breakage::ForgetInFlight,
            "sync_normal" => Breakage::SyncNormal,
            other => {
                tracing::error!(other, "STOCKHUB_BREAK names nothing that can be broken");
                return None;
            }
        };
        tracing::error!(?chosen, "this hub is broken on purpose");
        Some(chosen)
    });
    *chosen == Some(breakage)
}

#[cfg(not(debug_assertions))]
pub(crate) const fn is(_: Breakage) -> bool {
    false
}

/// A key that no repeat has.
pub(crate) fn never_again(key: String) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{key}:{}:{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
