//! A cursor: `epoch:offset`. Clients keep it as opaque text; only this file knows what is inside.

use std::fmt::Write as _;

use uuid::Uuid;

/// The longest cursor text the hub looks at; longer ones cannot be ours.
const CURSOR_MAX_CHARS: usize = 128;

/// Which stream an offset counts in. Its first part, the generation, changes when a backup was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch(Box<str>);

impl Epoch {
    pub fn new(generation: Uuid, stream: Uuid) -> Self {
        Self(format!("{generation}.{stream}").into())
    }

    /// The cursor's text for `offset`.
    pub fn cursor(&self, offset: u64) -> String {
        let mut text = String::with_capacity(self.0.len() + 12);
        text.push_str(&self.0);
        // Writing to a String cannot fail.
        let _ = write!(text, ":{offset}");
        text
    }

    /// The offset inside `cursor`, if it is of this epoch. Anything else, garbage included, is just another epoch: the client
    /// gets a snapshot instead of an error, because it cannot know better.
    pub fn offset_of(&self, cursor: &str) -> Option<u64> {
        if cursor.len() > CURSOR_MAX_CHARS {
            return None;
        }
        let (epoch, offset) = cursor.rsplit_once(':')?;
        (epoch == &*self.0 && offset.bytes().all(|b| b.is_ascii_digit())).then(|| offset.parse().ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_and_nothing_else() {
        let epoch = Epoch::new(Uuid::from_u128(1), Uuid::from_u128(2));
        let other = Epoch::new(Uuid::from_u128(1), Uuid::from_u128(3));
        assert_eq!(epoch.offset_of(&epoch.cursor(42)), Some(42));
        for text in [
            "",
            ":",
            "42",
            ":42",
            "x:1",
            &other.cursor(42),
            &format!("{}x", epoch.cursor(1)),
            &epoch.cursor(1).replace(":1", ":+1"),
        ] {
            assert_eq!(epoch.offset_of(text), None, "{text}");
        }
    }
}
