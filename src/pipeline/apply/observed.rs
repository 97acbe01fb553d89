//! Which of two observations is the newer: by the marketplace's own sequence where both carry one, else by its time. Kept with the
//! listing as `time#sequence`.

use crate::domain::time::Timestamp;

/// How an observation is remembered; `None` where it says nothing of its order.
pub(super) fn mark(at: Option<Timestamp>, sequence: Option<&str>) -> Option<String> {
    let at = at.map(|at| at.micros().to_string());
    match (at, sequence) {
        (None, None) => None,
        (at, None) => at,
        (at, Some(sequence)) => Some(format!("{}#{sequence}", at.unwrap_or_default())),
    }
}

/// Whether it is older than the one remembered. The same sequence again is a repeat; the same time may be two numbers of one
/// moment, of which the later to come counts.
pub(super) fn is_older(at: Option<Timestamp>, sequence: Option<&str>, last: &str) -> bool {
    let (last_at, last_sequence) = match last.split_once('#') {
        Some((at, sequence)) => (at.parse::<i64>().ok(), Some(sequence)),
        None => (last.parse::<i64>().ok(), None),
    };
    match (sequence, last_sequence, at.zip(last_at)) {
        (Some(new), Some(old), _) => match (new.parse::<i64>(), old.parse::<i64>()) {
            (Ok(new), Ok(old)) => new <= old,
            // Words of one length compare as they sort; a longer one counts as later.
            _ => (new.len(), new) <= (old.len(), old),
        },
        (_, _, Some((at, last))) => at.micros() < last,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_before_time() {
        let at = |seconds| Some(Timestamp::from_seconds(seconds));
        let last = mark(at(100), Some("9")).unwrap_or_default();
        assert!(is_older(at(200), Some("9"), &last) && is_older(at(200), Some("8"), &last));
        assert!(!is_older(at(50), Some("10"), &last));
        assert!(is_older(at(99), None, &last) && !is_older(at(100), None, &last));
        assert!(!is_older(None, None, &last));
        assert!(is_older(None, Some("ab"), "#abc") && !is_older(None, Some("abd"), "#abc"));
    }
}
