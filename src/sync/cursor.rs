//! How far an account's orders were read: up to when all is committed, and where in a walk over pages we are. Kept as JSON in
//! `marketplaces.order_cursor`, and moved only by the transaction that commits a page (or after it), so that a crash repeats a page
//! and never leaves one out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;
use crate::marketplaces::call::{OrderFeed, Page, Window};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    /// All orders changed until then are committed. `None`: never polled to the end.
    pub until: Option<i64>,
    /// A walk that is not over.
    pub walk: Option<Walk>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Walk {
    pub started: i64,
    pub from: i64,
    pub to: i64,
    /// Where the piece of the window begins that is being read: some marketplaces take only short windows.
    pub piece: i64,
    pub list: usize,
    pub page: Page,
    /// The account's first look at its past.
    pub initial: bool,
}

/// What is asked next.
#[derive(Clone, Debug, PartialEq)]
pub struct Next {
    pub list: usize,
    pub window: Window,
    pub page: Page,
    pub initial: bool,
}

impl Cursor {
    /// What cannot be read back is as good as none: orders are then read anew, and known ones cost nothing.
    pub fn parse(text: Option<&str>) -> Self {
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        // A struct of numbers and texts always has a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Goes on with a walk that was left, or begins one.
    pub fn begun(mut self, feed: OrderFeed, first: Duration, now: Timestamp) -> Self {
        if self.walk.is_none() {
            let from = match self.until {
                Some(until) => Timestamp::from_micros(until).min(now).minus(feed.overlap),
                None => now.minus(first),
            };
            let initial = self.until.is_none();
            let (from, to) = (from.micros(), now.micros());
            self.walk = Some(Walk { started: to, from, to, piece: from, list: 0, page: Page::default(), initial });
        }
        self
    }

    pub fn next(&self, feed: OrderFeed) -> Option<Next> {
        let walk = self.walk.as_ref()?;
        let window = Window { from: Timestamp::from_micros(walk.piece), to: Timestamp::from_micros(walk.piece_end(feed)) };
        Some(Next { list: walk.list, window, page: walk.page.clone(), initial: walk.initial })
    }

    /// After a page was committed: the next page, the next piece of the window, the next list, or the end.
    pub fn advanced(mut self, feed: OrderFeed, next: Option<Page>) -> Self {
        let Some(walk) = &mut self.walk else { return self };
        let piece_end = walk.piece_end(feed);
        match next {
            Some(page) => walk.page = page,
            None if walk.list == 0 && piece_end < walk.to => (walk.piece, walk.page) = (piece_end, Page::default()),
            None if walk.list + 1 < feed.lists => (walk.list, walk.page) = (walk.list + 1, Page::default()),
            None => (self.until, self.walk) = (Some(walk.to), None),
        }
        self
    }

    /// From the first page of this list again: a place in a list does not keep for ever.
    pub fn rewound(mut self) -> Self {
        if let Some(walk) = &mut self.walk {
            walk.page = Page::default();
        }
        self
    }

    /// When the walk that is under way, or the last one, began: what was there before is read once it is over.
    pub fn started(&self) -> Option<Timestamp> {
        self.walk.as_ref().map(|walk| walk.started).or(self.until).map(Timestamp::from_micros)
    }
}

impl Walk {
    fn piece_end(&self, feed: OrderFeed) -> i64 {
        // Lists after the first have no window.
        let Some(span) = feed.span_max.filter(|_| self.list == 0) else { return self.to };
        Timestamp::from_micros(self.piece).plus(span.max(Duration::from_secs(1))).micros().min(self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(lists: usize, span_s: Option<u64>) -> OrderFeed {
        let (overlap, every) = (Duration::from_secs(60), Duration::from_secs(30));
        OrderFeed { lists, overlap, span_max: span_s.map(Duration::from_secs), every, statuses: None }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn walked(mut cursor: Cursor, feed: OrderFeed, pages: u32) -> (Vec<(usize, i64, i64, u32)>, Cursor) {
        let mut asked = Vec::new();
        while let Some(next) = cursor.next(feed) {
            asked.push((next.list, next.window.from.seconds(), next.window.to.seconds(), next.page.index));
            let more = next.page.index + 1 < pages;
            cursor = cursor.advanced(feed, more.then(|| Page { index: next.page.index + 1, after: None }));
            assert!(asked.len() < 100, "a walk ends");
        }
        (asked, cursor)
    }

    #[test]
    fn the_first_walk_looks_back_and_the_next_overlaps() {
        let feed = feed(1, None);
        let first = Cursor::default().begun(feed, Duration::from_secs(1_000), at(5_000));
        assert!(first.next(feed).is_some_and(|next| next.initial));
        let (asked, cursor) = walked(first, feed, 2);
        assert_eq!(asked, [(0, 4_000, 5_000, 0), (0, 4_000, 5_000, 1)]);
        assert_eq!(cursor.until, Some(at(5_000).micros()));
        let next = cursor.begun(feed, Duration::from_secs(1_000), at(5_030)).next(feed).unwrap();
        assert_eq!((next.window.from, next.window.to, next.initial), (at(4_940), at(5_030), false));
    }

    #[test]
    fn long_windows_are_read_in_pieces_and_lists_without_one_once() {
        let feed = feed(2, Some(400));
        let (asked, _) = walked(Cursor::default().begun(feed, Duration::from_secs(1_000), at(5_000)), feed, 1);
        assert_eq!(asked, [(0, 4_000, 4_400, 0), (0, 4_400, 4_800, 0), (0, 4_800, 5_000, 0), (1, 4_800, 5_000, 0)]);
    }

    #[test]
    fn a_walk_that_was_left_goes_on_where_it_was() {
        let feed = feed(1, None);
        let cursor = Cursor::default().begun(feed, Duration::from_secs(10), at(100));
        let cursor = cursor.advanced(feed, Some(Page { index: 1, after: Some("x".into()) }));
        let again = Cursor::parse(Some(&cursor.text())).begun(feed, Duration::from_secs(10), at(500));
        assert_eq!(again, cursor);
        assert_eq!(again.next(feed).map(|next| (next.page.index, next.initial)), Some((1, true)));
        assert_eq!(again.rewound().next(feed).map(|next| next.page.index), Some(0));
        assert_eq!(Cursor::parse(Some("garbage")), Cursor::default());
    }

    #[test]
    fn a_clock_that_stepped_back_does_not_turn_the_window_round() {
        let feed = feed(1, None);
        let cursor = Cursor { until: Some(at(5_000).micros()), walk: None }.begun(feed, Duration::ZERO, at(4_000));
        let window = cursor.next(feed).unwrap().window;
        assert!(window.from < window.to, "{window:?}");
    }
}
