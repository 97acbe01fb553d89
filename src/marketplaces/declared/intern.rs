//! The one place where text is kept for ever: schemes and limits are rows of constants for the built-in adapters, and become the
//! same for those read from files. Each text is kept once, however often a file is read.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

static KEPT: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

pub fn intern(text: &str) -> &'static str {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept.get(text) {
        return known;
    }
    let fresh: &'static str = Box::leak(text.to_owned().into_boxed_str());
    kept.insert(fresh);
    fresh
}

pub fn intern_all<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> &'static [&'static str] {
    let list: Vec<&'static str> = texts.into_iter().map(|text| intern(text.as_ref())).collect();
    keep(list)
}

/// Keeps a list of constants for ever; made once for each adapter that is read.
pub fn keep<T>(list: Vec<T>) -> &'static [T] {
    Box::leak(list.into_boxed_slice())
}
