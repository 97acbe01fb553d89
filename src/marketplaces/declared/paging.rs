//! From one page of a list to the next: by number, offset, cursor, last id, `Link` header, whole address, or a chosen set of keys.

use serde_json::Value;

use super::answer::unreadable;
use super::pointer::{Element, Pointer};
use super::read::{self, In};
use super::request::same_origin;
use super::values::{PageValues, is_nothing, plain};
use crate::marketplaces::Outcome;
use crate::marketplaces::call::Page;
use crate::marketplaces::wire::Headers;
use crate::settings::parse::whole;

#[derive(Clone, Debug)]
pub struct Paging {
    pub kind: PageKind,
    pub limit: i64,
    first: Value,
    stop: Stop,
    /// Of `page` and `next_url`: where the next page's address stands, or null.
    next: Option<Pointer>,
    cursor: Option<Pointer>,
    has_next: Option<Pointer>,
    total_pages_header: Option<String>,
    /// Of `page`: where the number of pages stands.
    total: Option<Pointer>,
    /// Of `keys`: the name whose values are asked for, as numbers or as text.
    pub key: Option<&'static str>,
    pub key_is_number: bool,
    /// Of `keys`: names that all keys of a request must share.
    pub group_by: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// Everything in one answer.
    None,
    Page,
    Offset,
    Cursor,
    AfterId,
    LinkHeader,
    NextUrl,
    Keys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// When fewer rows come than were asked for.
    ShortPage,
    /// When no next page is named.
    NextNull,
    /// When nothing comes.
    EmptyPage,
}

const KINDS: &[(&str, PageKind)] = &[
    ("none", PageKind::None),
    ("page", PageKind::Page),
    ("offset", PageKind::Offset),
    ("cursor", PageKind::Cursor),
    ("after_id", PageKind::AfterId),
    ("link_header", PageKind::LinkHeader),
    ("next_url", PageKind::NextUrl),
    ("keys", PageKind::Keys),
];

const STOPS: &[(&str, Stop)] = &[("short_page", Stop::ShortPage), ("next_null", Stop::NextNull), ("empty_page", Stop::EmptyPage)];

/// Pages of one walk at most: a marketplace that always names a next one is broken.
const PAGES_MAX: u32 = 100_000;

impl Default for Paging {
    fn default() -> Self {
        Self {
            kind: PageKind::None,
            limit: 1_000,
            first: Value::Null,
            stop: Stop::ShortPage,
            next: None,
            cursor: None,
            has_next: None,
            total_pages_header: None,
            total: None,
            key: None,
            key_is_number: false,
            group_by: Vec::new(),
        }
    }
}

impl Paging {
    pub fn read(s: &mut In<'_, '_, '_>) -> Self {
        let kind = s.need_or("kind", PageKind::None, read::choice(KINDS));
        let paging = Self {
            kind,
            limit: s.opt("limit", whole(1..=100_000)).unwrap_or(100),
            first: s.opt("first", read::json).unwrap_or(Value::Null),
            next: s.opt("next", read::pointer),
            cursor: s.opt("cursor", read::pointer),
            has_next: s.opt("has_next", read::pointer),
            total_pages_header: s.opt("total_pages_header", read::text),
            total: s.opt("total", read::pointer),
            stop: s.opt("stop", read::choice(STOPS)).unwrap_or(Stop::ShortPage),
            key: s.opt("key", read::kept),
            key_is_number: s.opt("key_type", read::choice(&[("text", false), ("int", true)])).unwrap_or(false),
            group_by: s.opt("group_by", read::names).unwrap_or_default().iter().map(|n| super::intern::intern(n)).collect(),
        };
        let at = s.at.clone();
        let missing = |key: &Option<Pointer>| key.is_none();
        match kind {
            PageKind::Cursor if missing(&paging.cursor) => s.fault("cursor", &at, "is missing: where the next cursor stands"),
            PageKind::AfterId if missing(&paging.cursor) => s.fault("cursor", &at, "is missing: where a row's id stands"),
            PageKind::NextUrl if missing(&paging.next) => s.fault("next", &at, "is missing: where the next address stands"),
            PageKind::Page if paging.stop == Stop::NextNull && missing(&paging.next) => {
                s.fault("next", &at, "is missing: stop = \"next_null\" looks there");
            }
            _ => {}
        }
        paging
    }

    /// What the names of a page stand for.
    pub fn values(&self, page: &Page) -> PageValues {
        let index = i64::from(page.index);
        let first = self.first.as_i64();
        let cursor = match (&page.after, self.kind) {
            (Some(after), _) => cursor_value(after, &self.first),
            (None, PageKind::Cursor | PageKind::AfterId) => self.first.clone(),
            (None, _) => Value::Null,
        };
        let cursor = if cursor.is_null() && self.kind == PageKind::Cursor { Value::String(String::new()) } else { cursor };
        PageValues {
            number: first.unwrap_or(1).saturating_add(index),
            offset: first.unwrap_or(0).saturating_add(index.saturating_mul(self.limit)),
            limit: self.limit,
            cursor,
        }
    }

    /// Whether the page is asked for by a whole address.
    pub fn address<'p>(&self, page: &'p Page) -> Option<&'p str> {
        let by_address = matches!(self.kind, PageKind::LinkHeader | PageKind::NextUrl);
        page.after.as_deref().filter(|_| by_address)
    }

    /// The page after this one. `rows`: what this page held, before anything was left out.
    pub fn next(
        &self,
        page: &Page,
        root: &Value,
        headers: &Headers,
        rows: &[Value],
        base: &str,
    ) -> Result<Option<Page>, Outcome> {
        let element = Element::root(root);
        let at = |pointer: &Option<Pointer>| pointer.as_ref().and_then(|p| element.find(p)).filter(|v| !is_nothing(v)).cloned();
        let full = i64::try_from(rows.len()).is_ok_and(|count| count >= self.limit);
        let goes_on = |full: bool| match (&self.has_next, self.stop) {
            (Some(pointer), _) => element.find(pointer).and_then(Value::as_bool).unwrap_or(false),
            (None, Stop::ShortPage) => full,
            (None, Stop::EmptyPage) => !rows.is_empty(),
            (None, Stop::NextNull) => true,
        };
        let after = match self.kind {
            PageKind::None | PageKind::Keys => return Ok(None),
            PageKind::Page | PageKind::Offset => {
                let in_header = self.total_pages_header.as_ref().and_then(|name| headers.get(name));
                let total = in_header.and_then(|text| text.trim().parse::<i64>().ok());
                let total = total.or(at(&self.total).as_ref().and_then(super::pointer::whole));
                let more = match (total, self.stop) {
                    (Some(total), _) => i64::from(page.index) + 1 < total,
                    (None, Stop::NextNull) => at(&self.next).is_some(),
                    (None, _) => goes_on(full),
                };
                if !more {
                    return Ok(None);
                }
                None
            }
            PageKind::Cursor => match at(&self.cursor).filter(|_| goes_on(full)) {
                None => return Ok(None),
                Some(cursor) => Some(plain(&cursor)),
            },
            PageKind::AfterId => {
                let last = rows.last().map(Element::root);
                let id = last.and_then(|row| self.cursor.as_ref().and_then(|pointer| row.find(pointer).map(plain)));
                match id.filter(|_| goes_on(full)) {
                    None => return Ok(None),
                    Some(id) => Some(id),
                }
            }
            PageKind::LinkHeader => match headers.get("link").and_then(next_link) {
                None => return Ok(None),
                Some(link) => Some(own(base, link)?),
            },
            PageKind::NextUrl => match at(&self.next) {
                None => return Ok(None),
                Some(next) => Some(own(base, &plain(&next))?),
            },
        };
        if after.is_some() && after == page.after {
            return Err(unreadable("the next page is the same as this one"));
        }
        let index = page.index.saturating_add(1);
        if index > PAGES_MAX {
            return Err(unreadable(format!("the list does not end after {PAGES_MAX} pages")));
        }
        Ok(Some(Page { index, after }))
    }
}

/// A cursor goes back as the kind it began as: some APIs take a number, others its text.
fn cursor_value(after: &str, first: &Value) -> Value {
    match (first, after.parse::<i64>()) {
        (Value::Number(_), Ok(number)) => number.into(),
        _ => after.into(),
    }
}

fn own(base: &str, next: &str) -> Result<String, Outcome> {
    same_origin(base, next).ok_or_else(|| Outcome::Permanent {
        code: Some("foreign-page".into()),
        message: "the next page is on another host: it is not asked".into(),
    })
}

/// `<https://…>; rel="next"` of a `Link` header.
fn next_link(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (address, attributes) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = attributes.split(';').any(|attribute| matches!(attribute.trim(), "rel=\"next\"" | "rel=next"));
        is_next.then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_header_names_the_next_page() {
        let header = "<https://a.example/x?page=1>; rel=\"previous\", <https://a.example/x?page=3>; rel=\"next\"";
        assert_eq!(next_link(header), Some("https://a.example/x?page=3"));
        assert_eq!(next_link("<https://a.example/x>; rel=\"previous\""), None);
    }

    #[test]
    fn a_next_page_elsewhere_is_not_asked() {
        let paging = Paging { kind: PageKind::LinkHeader, ..Paging::default() };
        let headers = |link: &str| [("link".to_owned(), link.to_owned())].into_iter().collect::<Headers>();
        let next = |link: &str| {
            paging.next(
                &Page::default(),
                &Value::Null,
                &headers(&format!("<{link}>; rel=\"next\"")),
                &[],
                "https://shop.example/api",
            )
        };
        assert_eq!(
            next("https://shop.example/api/x?p=2").unwrap().unwrap().after.as_deref(),
            Some("https://shop.example/api/x?p=2")
        );
        for foreign in ["https://evil.example/x", "http://shop.example/x", "https://shop.example:8443/x", "//evil.example/x"] {
            assert!(matches!(next(foreign), Err(Outcome::Permanent { .. })), "{foreign}");
        }
    }

    #[test]
    fn a_cursor_that_does_not_move_ends_the_walk() {
        let paging = Paging {
            kind: PageKind::Cursor,
            cursor: Some(Pointer::parse("/cursor").unwrap()),
            has_next: Some(Pointer::parse("/has_next").unwrap()),
            ..Paging::default()
        };
        let answer = serde_json::json!({"cursor": "abc", "has_next": true});
        let next = |page: &Page| paging.next(page, &answer, &Headers::default(), &[], "https://shop.example");
        let second = next(&Page::default()).unwrap().unwrap();
        assert_eq!(second, Page { index: 1, after: Some("abc".into()) });
        assert!(next(&second).is_err());
    }
}
