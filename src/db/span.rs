//! A stretch of ids. They grow with time, so it is a stretch of time too, and every list has it for free.

use uuid::Uuid;

use crate::domain::time::Timestamp;

/// From the first, itself included, to before the last.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    pub from: Uuid,
    pub before: Uuid,
}

impl Default for Ids {
    fn default() -> Self {
        Self { from: Uuid::nil(), before: Uuid::max() }
    }
}

impl Ids {
    /// The smallest id that could have been made at that time.
    pub fn at(time: Timestamp) -> Uuid {
        let millis = u64::try_from(time.millis()).unwrap_or(0);
        Uuid::from_u64_pair(millis << 16 | 0x7000, 0x8000_0000_0000_0000)
    }

    /// When an id of ours was made.
    pub fn time(id: Uuid) -> Timestamp {
        Timestamp::from_millis(i64::try_from(id.as_u64_pair().0 >> 16).unwrap_or(0))
    }

    pub fn between(from: Option<Timestamp>, to: Option<Timestamp>, cursor: Option<Uuid>) -> Self {
        let end = to.map_or(Uuid::max(), Self::at);
        Self { from: from.map_or(Uuid::nil(), Self::at), before: cursor.map_or(end, |cursor| cursor.min(end)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;

    #[test]
    fn a_stretch_of_time_holds_the_ids_of_that_time() {
        let (chance, at) = (Chance::seeded(1), Timestamp::from_millis(1_800_000_000_000));
        let before = chance.id(Timestamp::from_millis(1_799_999_999_999));
        let within = chance.id(at);
        assert!(before < Ids::at(at) && Ids::at(at) <= within);
        assert_eq!((Ids::time(within), Ids::time(Ids::at(at))), (at, at));
        let span = Ids::between(Some(at), Some(Timestamp::from_millis(1_800_000_000_001)), None);
        assert!(span.from <= within && within < span.before);
        assert_eq!(Ids::between(None, None, Some(within)).before, within);
    }
}
