//! What a difference means: whether it may be compared at all, what probably caused it, when there are too many of them, and who is
//! right. Pure rules over what was read.

use crate::db::observations::FencedRow;
use crate::domain::time::Timestamp;
use crate::settings::{DriftPolicy, SyncSettings};

/// Why a listing was not compared.
pub(super) fn fence(
    row: &FencedRow,
    asked_at: Timestamp,
    moved: bool,
    unprocessed: bool,
    orders_read: bool,
) -> Option<&'static str> {
    let told_meanwhile = row.sent_at.is_some_and(|sent| sent >= asked_at);
    match row.push_state.as_str() {
        _ if row.state != "active" => Some("it is not sold at the moment"),
        "in_flight" => Some("it is being told a number right now"),
        "blocked" => Some("its marketplace refused the last number for good"),
        "unknown" if row.wanted_version > row.acked_version => Some("whether it took the last number is not known yet"),
        _ if row.wanted_version > row.acked_version => Some("it is to be told a new number"),
        _ if row.expected.is_none() => Some("what it should show is not known"),
        _ if told_meanwhile => Some("it was told a number while the list was read"),
        _ if moved => Some("its stock moved while the list was read"),
        _ if unprocessed => Some("something this marketplace sent is not processed yet"),
        _ if !orders_read => Some("its orders could not be read up to now"),
        _ => None,
    }
}

/// What agrees although much is going on agrees; also where a number is told and not confirmed yet, if it is there already.
pub(super) fn agrees(row: &FencedRow, expected: i64, remote: i64, moved: bool) -> bool {
    let told = row.wanted_version == row.acked_version || row.listed_stock == expected;
    told && expected == remote && !moved && row.push_state != "in_flight"
}

/// What probably happened. Suspected, not known: it tells a person where to look first.
pub(super) fn cause(row: &FencedRow, expected: i64, remote: i64) -> &'static str {
    let difference = remote - expected;
    // Few pieces: what a customer buys or gives back, not what somebody types in.
    let few = difference.abs() <= (expected.abs() / 5).max(3);
    match row.previous_stock {
        Some(before) if before == remote && row.acked_quantity == Some(expected) && before != expected => "lost_push",
        _ if remote == 0 => "emptied_or_delisted",
        _ if difference < 0 && few => "missed_sale",
        _ if difference > 0 && few => "missed_cancel_or_return",
        _ => "manual_change",
    }
}

/// What the first look found, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Listings of ours at this marketplace.
    pub known: i64,
    pub compared: i64,
    pub different: i64,
    /// Of these, how many show 0 where something else was expected.
    pub emptied: i64,
    pub absent: i64,
}

/// Why nothing of this may be believed.
pub(super) fn breaker(limits: &SyncSettings, found: Found) -> Option<String> {
    let over = |part: i64, whole: i64, percent: i64| part >= limits.breaker_min && part * 100 > whole * percent;
    let Found { known, compared, different, emptied, absent } = found;
    if over(emptied, compared, limits.zeros_max_percent) {
        return Some(format!(
            "{emptied} of {compared} listings newly show 0 (sync.zeros_max_percent = {}); nothing was changed",
            limits.zeros_max_percent
        ));
    }
    if over(absent, known, limits.absent_max_percent) {
        return Some(format!(
            "{absent} of {known} listings are missing from the list (sync.absent_max_percent = {}); nothing was changed",
            limits.absent_max_percent
        ));
    }
    if over(different, compared, limits.mismatch_max_percent) {
        return Some(format!(
            "{different} of {compared} listings differ (sync.mismatch_max_percent = {}); nothing was changed",
            limits.mismatch_max_percent
        ));
    }
    None
}

/// Who is right, and so what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Our number is told again.
    TellAgain,
    /// The difference is posted to the ledger.
    Post,
    /// A person is told.
    Alert,
    /// A person decides.
    Ask,
}

impl Decision {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TellAgain => "hub_wins",
            Self::Post => "marketplace_wins",
            Self::Alert => "alert",
            Self::Ask => "ask",
        }
    }
}

/// `single`: the listing is one piece of one product. Of a bundle nobody can say which part there is more or less of.
pub(super) fn decide(policy: DriftPolicy, difference: i64, single: bool) -> Decision {
    match policy {
        DriftPolicy::HubWins => Decision::TellAgain,
        DriftPolicy::MinWins if difference > 0 => Decision::TellAgain,
        DriftPolicy::MarketplaceWins | DriftPolicy::MinWins if single => Decision::Post,
        DriftPolicy::MarketplaceWins | DriftPolicy::MinWins | DriftPolicy::Ask => Decision::Ask,
        DriftPolicy::Alert => Decision::Alert,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{ListingId, MarketplaceId, ProductId};
    use crate::settings::{Env, Settings};

    fn row() -> FencedRow {
        let id = uuid::Uuid::nil();
        FencedRow {
            id: ListingId::new(id),
            marketplace_id: MarketplaceId::new(id),
            marketplace_product_id: "X".into(),
            market: String::new(),
            marketplace_sku: None,
            listed_stock: 50,
            wanted_version: 4,
            acked_version: 4,
            acked_quantity: Some(50),
            sent_at: Some(Timestamp::from_seconds(100)),
            expected: Some(50),
            marketplace_stock: Some(50),
            previous_stock: Some(47),
            push_state: "synced".into(),
            state: "active".into(),
            product_id: ProductId::new(id),
            units: 1,
            sku: "A".into(),
            parts: 1,
        }
    }

    #[test]
    fn only_what_stands_still_is_compared() {
        let at = Timestamp::from_seconds(200);
        assert_eq!(fence(&row(), at, false, false, true), None);
        let broken = [
            FencedRow { push_state: "in_flight".into(), ..row() },
            FencedRow { wanted_version: 5, ..row() },
            FencedRow { expected: None, ..row() },
            FencedRow { sent_at: Some(at), ..row() },
            FencedRow { state: "paused".into(), ..row() },
        ];
        for row in broken {
            assert!(fence(&row, at, false, false, true).is_some(), "{row:?}");
        }
        assert!(fence(&row(), at, true, false, true).is_some() && fence(&row(), at, false, true, true).is_some());
        assert!(fence(&row(), at, false, false, false).is_some());
    }

    #[test]
    fn what_shows_what_it_should_agrees_also_before_it_is_confirmed() {
        let told = FencedRow { push_state: "unknown".into(), wanted_version: 5, ..row() };
        assert!(agrees(&told, 50, 50, false));
        assert!(!agrees(&told, 50, 49, false) && !agrees(&told, 50, 50, true));
        let to_tell = FencedRow { listed_stock: 48, wanted_version: 5, ..row() };
        assert!(!agrees(&to_tell, 50, 50, false), "it is to show another number");
        assert!(!agrees(&FencedRow { push_state: "in_flight".into(), ..told }, 50, 50, false));
    }

    #[test]
    fn causes_are_suspected_by_what_they_leave_behind() {
        assert_eq!(cause(&row(), 50, 47), "lost_push", "it shows what it showed before our last number");
        assert_eq!(cause(&row(), 50, 49), "missed_sale");
        assert_eq!(cause(&row(), 50, 52), "missed_cancel_or_return");
        assert_eq!(cause(&row(), 50, 0), "emptied_or_delisted");
        assert_eq!(cause(&row(), 50, 500), "manual_change");
        assert_eq!(cause(&FencedRow { acked_quantity: Some(48), ..row() }, 50, 47), "missed_sale", "sold since that push");
    }

    #[test]
    fn a_broken_list_stops_the_run() {
        let (settings, _) = Settings::from_texts(&[], &Env::default()).unwrap();
        let limits = &settings.sync;
        let all = Found { known: 100, compared: 100, ..Found::default() };
        assert_eq!(breaker(limits, Found { different: 20, ..all }), None);
        assert!(breaker(limits, Found { different: 21, ..all }).is_some_and(|why| why.contains("21 of 100")));
        assert!(breaker(limits, Found { different: 11, emptied: 11, ..all }).is_some_and(|why| why.contains("show 0")));
        assert!(breaker(limits, Found { compared: 50, absent: 50, ..all }).is_some_and(|why| why.contains("missing")));
        let few = Found { known: 3, compared: 3, ..Found::default() };
        assert_eq!(breaker(limits, Found { different: 2, emptied: 2, ..few }), None, "two listings are no outage");
        assert!(breaker(limits, Found { different: 3, emptied: 3, ..few }).is_some());
    }

    #[test]
    fn the_policy_decides_who_is_right() {
        use DriftPolicy as P;
        let of = |policy| [-2, 2].map(|difference| decide(policy, difference, true));
        assert_eq!(of(P::HubWins), [Decision::TellAgain; 2]);
        assert_eq!(of(P::MarketplaceWins), [Decision::Post; 2]);
        assert_eq!(of(P::MinWins), [Decision::Post, Decision::TellAgain]);
        assert_eq!(of(P::Alert), [Decision::Alert; 2]);
        assert_eq!(of(P::Ask), [Decision::Ask; 2]);
        assert_eq!(decide(P::MarketplaceWins, -2, false), Decision::Ask, "of a bundle nobody can say which part");
    }
}
