//! From an order as its marketplace tells it to facts: where things stand in it, and what its status means for the stock.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::pointer::{Element, Elements, Pick, Pointer, TimePick};
use super::read::{self, In};
use super::stock::named;
use super::values::plain;
use crate::domain::fact::{Fact, Item, LineFact, OrderFact};
use crate::domain::order::LineUpdate;
use crate::domain::quantity::Quantity;
use crate::domain::time::Timestamp;
use crate::marketplaces::{Reading, Unreadable, Verdict};
use crate::settings::finding::join;
use crate::settings::tree::Value as TomlValue;

#[derive(Clone, Debug, Default)]
pub struct OrderMap {
    /// Where the orders stand in an answer.
    pub elements: Elements,
    /// Where the order stands in an answer about one.
    pub item: Option<Pointer>,
    order_id: Option<Pick>,
    status: Option<Pick>,
    updated_at: Option<TimePick>,
    /// When it was placed: the time of the sale, where nothing tells when it last changed.
    created_at: Option<TimePick>,
    /// `None`: the order is its own one line.
    lines: Option<Pointer>,
    line_id: Option<Pick>,
    line_status: Option<Pick>,
    names: Vec<(&'static str, Pick)>,
    quantity: Option<Pick>,
    /// How many came back and can be sold again, where it says so.
    returned: Option<Pick>,
    price: Option<Pick>,
}

impl OrderMap {
    /// `base`: the map that `use = "orders.list"` means.
    pub fn read(s: &mut In<'_, '_, '_>, base: Option<&OrderMap>) -> Self {
        let uses = s.opt("use", |node| match (read::text(node)?.as_str(), base) {
            ("orders.list", Some(base)) => Ok(base.clone()),
            ("orders.list", None) => Err("there is no orders.list to use".to_owned()),
            (other, _) => Err(format!("can only be \"orders.list\", is {other:?}")),
        });
        let under = uses.unwrap_or_default();
        Self {
            elements: {
                let own = read::elements(s);
                Elements { only: own.only.or(under.elements.only), ..own }
            },
            item: s.opt("item", read::pointer),
            order_id: s.opt("order_id", read::pick).or(under.order_id),
            status: s.opt("status", read::pick).or(under.status),
            updated_at: s.opt("updated_at", read::time).or(under.updated_at),
            created_at: s.opt("created_at", read::time).or(under.created_at),
            lines: s.opt("lines", read::pointer).or(under.lines),
            line_id: s.opt("line_id", read::pick).or(under.line_id),
            line_status: s.opt("line_status", read::pick).or(under.line_status),
            names: s.opt("sku", read::named_picks).unwrap_or(under.names),
            quantity: s.opt("qty", read::pick).or(under.quantity),
            returned: s.opt("returned", read::pick).or(under.returned),
            price: s.opt("price", read::pick).or(under.price),
        }
    }

    pub fn has_status(&self) -> bool {
        self.status.is_some() || self.line_status.is_some()
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.names.iter().map(|(name, _)| *name)
    }

    pub fn order_id(&self, order: &Element<'_>) -> Result<String, Unreadable> {
        let id = self.order_id.as_ref().and_then(|pick| pick.text(order)).filter(|id| !id.is_empty() && id.len() <= 256);
        id.ok_or_else(|| Unreadable::new("invalid-field", "the order's id is missing"))
    }

    /// What an order says by now. The same bytes read the same, whichever door they came through.
    pub fn read_order(
        &self,
        statuses: &StatusMap,
        order: &Element<'_>,
        count_unpaid: Option<bool>,
    ) -> Result<Reading, Unreadable> {
        let order_id = self.order_id(order)?;
        let said = self.status.as_ref().and_then(|pick| pick.text(order));
        let of_order = match (&self.status, &said) {
            (None, _) => None,
            (Some(_), None) => return Err(Unreadable::new("invalid-field", format!("order {order_id}: its status is missing"))),
            (Some(_), Some(said)) => Some(statuses.effect(said, order)?),
        };
        let updated_at = self.updated_at.as_ref().and_then(|time| time.at(order));
        let unpaid = count_unpaid.unwrap_or(statuses.count_unpaid);
        let placed_at = self.created_at.as_ref().and_then(|time| time.at(order));
        let mut found = Found { order_id, updated_at, placed_at, at: updated_at, lines: Vec::new(), cancel_all: false };
        for line in self.lines_of(order)? {
            let effect = match &self.line_status {
                Some(pick) => {
                    let said = pick.text(&line);
                    let said = said.ok_or_else(|| Unreadable::new("invalid-field", "the status of a line is missing"))?;
                    statuses.effect(&said, &line)?
                }
                // A list without statuses tells of sales; what becomes of them is asked apart.
                None => of_order.unwrap_or(Effect::Sale),
            };
            self.add_line(&mut found, &line, effect.settled(unpaid), statuses)?;
        }
        let status =
            said.or_else(|| self.line_status.as_ref().map(|_| "by line".to_owned())).unwrap_or_else(|| "sale".to_owned());
        Ok(found.reading(&status))
    }

    fn lines_of<'v>(&self, order: &Element<'v>) -> Result<Vec<Element<'v>>, Unreadable> {
        match &self.lines {
            None => Ok(vec![order.clone()]),
            Some(pointer) => {
                order.list(pointer).ok_or_else(|| Unreadable::new("invalid-field", "the order has no list of lines"))
            }
        }
    }

    fn add_line(&self, found: &mut Found, line: &Element<'_>, effect: Effect, statuses: &StatusMap) -> Result<(), Unreadable> {
        let item = self.item_of(line);
        if item == Item::default() {
            return self.add_nameless(found, line, effect);
        }
        let line_key = self.line_id.as_ref().and_then(|pick| pick.text(line)).filter(|id| !id.is_empty());
        let line_key = line_key.unwrap_or_else(|| item.name().to_owned());
        if found.lines.iter().any(|known| known.line_key == line_key) {
            return Err(Unreadable::new("duplicate-line", format!("line {line_key:?} stands twice in order {}", found.order_id)));
        }
        let quantity = self.quantity_of(line)?;
        let at = found.updated_at.or(found.placed_at.filter(|_| effect == Effect::Sale));
        found.at = found.at.or(at);
        let sold = LineUpdate { ordered: Some(quantity), at, ..LineUpdate::default() };
        let mut update = match effect {
            Effect::Sale | Effect::ReturnHold => sold,
            Effect::Shipped => LineUpdate { shipped: Some(quantity), ..sold },
            Effect::Cancel => match at {
                // It may be sold again: then the total with the newest time counts. A cancel in the very second of its sale
                // wins, or it would never be seen.
                Some(at) if !statuses.cancel_is_final => {
                    let later = at.plus(std::time::Duration::from_micros(1));
                    LineUpdate { ordered: Some(Quantity::ZERO), at: Some(later), ..LineUpdate::default() }
                }
                _ => LineUpdate { cancel_all: true, ..sold },
            },
            Effect::None | Effect::Unpaid | Effect::Keep => return Ok(()),
        };
        update.returned = whole_quantity(self.returned.as_ref(), line, "returned")?;
        let price = self.price.as_ref().and_then(|pick| pick.text(line));
        found.lines.push(LineFact { line_key, item, update, price });
        Ok(())
    }

    /// It speaks of an order that is known from elsewhere, and names no goods: only its end, or its leaving, is news.
    fn add_nameless(&self, found: &mut Found, line: &Element<'_>, effect: Effect) -> Result<(), Unreadable> {
        found.cancel_all |= effect == Effect::Cancel;
        let line_key = self.line_id.as_ref().and_then(|pick| pick.text(line)).filter(|_| effect == Effect::Shipped);
        if let Some(line_key) = line_key {
            let update = LineUpdate { shipped: Some(self.quantity_of(line)?), ..LineUpdate::default() };
            found.lines.push(LineFact { line_key, item: Item::default(), update, price: None });
        }
        Ok(())
    }

    fn quantity_of(&self, line: &Element<'_>) -> Result<Quantity, Unreadable> {
        match &self.quantity {
            // One row is one piece.
            None => Quantity::parse(1).map_err(|error| Unreadable::new("out-of-range", error.to_string())),
            Some(pick) => {
                let told = whole_quantity(Some(pick), line, "quantity")?;
                told.ok_or_else(|| Unreadable::new("invalid-field", "the quantity of a line is missing"))
            }
        }
    }

    fn item_of(&self, line: &Element<'_>) -> Item {
        let mut item = Item::default();
        for (name, value) in named(line, &self.names) {
            match name {
                "id" => item.product_id = Some(value),
                "sku" => item.sku = Some(value),
                name => item.refs.push((name.to_owned(), value)),
            }
        }
        item
    }
}

/// What has been read of an order so far.
struct Found {
    order_id: String,
    updated_at: Option<Timestamp>,
    placed_at: Option<Timestamp>,
    at: Option<Timestamp>,
    lines: Vec<LineFact>,
    cancel_all: bool,
}

impl Found {
    fn reading(self, status: &str) -> Reading {
        let Self { order_id, placed_at, at, lines, cancel_all, .. } = self;
        let key = format!("order:{order_id}:{status}:{}:{}", at.map_or(0, Timestamp::micros), digest(&lines));
        let verdict = if lines.is_empty() && !cancel_all {
            Verdict::Ignored
        } else {
            let status = if cancel_all { "cancelled" } else { "created" };
            Verdict::Facts(vec![Fact::Order(OrderFact { order_id, at, placed_at, lines, cancel_all, status })])
        };
        Reading { event_type: "order".into(), natural_key: Some(key), occurred_at: at, verdict }
    }
}

/// Of what the lines say, so that another state of the same order is another event.
fn digest(lines: &[LineFact]) -> String {
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(format!("{:?}|{:?}\n", line.line_key, line.update).as_bytes());
    }
    hex::encode(&hash.finalize()[..8])
}

fn whole_quantity(pick: Option<&Pick>, line: &Element<'_>, what: &str) -> Result<Option<Quantity>, Unreadable> {
    let Some(value) = pick.and_then(|pick| pick.value(line)) else { return Ok(None) };
    let number = super::pointer::whole(&value)
        .ok_or_else(|| Unreadable::new("invalid-field", format!("{what} must be a whole number, is {}", plain(&value))))?;
    let quantity = Quantity::parse(number).map_err(|error| Unreadable::new("out-of-range", format!("{what} {error}")))?;
    Ok(Some(quantity))
}

/// What a status means for the stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The line takes its quantity.
    Sale,
    /// It took it, and it has left the shelf.
    Shipped,
    /// It gives it back at once.
    Cancel,
    /// Ordered and not paid: a sale where the marketplace counts it so.
    Unpaid,
    /// It never took any.
    None,
    /// The goods travel back: still taken, until somebody has seen them.
    ReturnHold,
    /// As it was.
    Keep,
}

impl Effect {
    fn settled(self, count_unpaid: bool) -> Self {
        match self {
            Self::Unpaid if count_unpaid => Self::Sale,
            other => other,
        }
    }
}

const EFFECTS: [(&str, Effect); 7] = [
    ("sale", Effect::Sale),
    ("shipped", Effect::Shipped),
    ("cancel", Effect::Cancel),
    ("unpaid", Effect::Unpaid),
    ("none", Effect::None),
    ("return_hold", Effect::ReturnHold),
    ("keep", Effect::Keep),
];

/// `[status]`.
#[derive(Clone, Debug)]
pub struct StatusMap {
    rows: Vec<(String, Effect)>,
    overrides: Vec<Override>,
    count_unpaid: bool,
    /// Whether what was cancelled stays cancelled whatever is said later.
    cancel_is_final: bool,
}

impl Default for StatusMap {
    fn default() -> Self {
        Self { rows: Vec::new(), overrides: Vec::new(), count_unpaid: false, cancel_is_final: true }
    }
}

/// A status that means something else where something else is said too.
#[derive(Clone, Debug)]
struct Override {
    status: String,
    at: Pointer,
    equals: Value,
    effect: Effect,
}

impl StatusMap {
    pub fn read(s: &mut In<'_, '_, '_>) -> Self {
        // Whose status it is, the map of the orders says (`line_status`); the word is for people.
        s.opt("level", read::choice(&[("order", ()), ("line", ())]));
        let mut rows: Vec<(String, Effect)> = Vec::new();
        for (word, effect) in EFFECTS {
            let Some(node) = s.node(word) else { continue };
            match read::words(node) {
                Ok(list) => {
                    for status in list {
                        if rows.iter().any(|(known, _)| *known == status) {
                            s.fault(word, &node.at, format!("{status:?} has two meanings"));
                        }
                        rows.push((status, effect));
                    }
                }
                Err(message) => s.fault(word, &node.at, message),
            }
        }
        let overrides = s.tables("override", |s| {
            let path = join(&s.path, "override");
            let (status, at) = (s.need_or("status", String::new(), read::word), s.opt("pointer", read::pointer));
            let equals = s.opt("equals", |node| match &node.value {
                TomlValue::Table(_) | TomlValue::List(_) => Err("expected text, a number or true/false".to_owned()),
                _ => read::json(node),
            });
            let effect = s.opt("effect", read::choice(&EFFECTS_STATIC));
            match (at, equals, effect) {
                (Some(at), Some(equals), Some(effect)) => Some(Override { status, at, equals, effect }),
                _ => {
                    let place = s.at.clone();
                    s.context.faults.push(place.fault(path, "needs status, pointer, equals and effect"));
                    None
                }
            }
        });
        Self {
            rows,
            overrides: overrides.into_iter().flatten().collect(),
            count_unpaid: s.opt("count_unpaid", crate::settings::parse::boolean).unwrap_or(false),
            cancel_is_final: s.opt("cancel_is_final", crate::settings::parse::boolean).unwrap_or(true),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Of an element that says this status. One that nobody listed is not guessed.
    pub fn effect(&self, status: &str, element: &Element<'_>) -> Result<Effect, Unreadable> {
        let special = self
            .overrides
            .iter()
            .filter(|o| matches(&o.status, status))
            .find(|o| element.find(&o.at).is_some_and(|value| plain(value) == plain(&o.equals)));
        if let Some(special) = special {
            return Ok(special.effect);
        }
        let exact = self.rows.iter().find(|(known, _)| known == status);
        // Of two patterns the one that says more counts.
        let fitting = || self.rows.iter().filter(|(known, _)| matches(known, status)).max_by_key(|(known, _)| known.len());
        let found = exact.or_else(fitting).map(|(_, effect)| *effect);
        found.ok_or_else(|| Unreadable::new("unknown-status", format!("nobody has said what the status {status:?} means")))
    }
}

static EFFECTS_STATIC: [(&str, Effect); 7] = EFFECTS;

/// `confirm:*`, `*`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut rest = text;
    let mut parts = pattern.split('*').peekable();
    let Some(head) = parts.next() else { return text.is_empty() };
    let Some(stripped) = rest.strip_prefix(head) else { return false };
    rest = stripped;
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(rows: &[(&str, Effect)]) -> StatusMap {
        StatusMap { rows: rows.iter().map(|(status, effect)| ((*status).to_owned(), *effect)).collect(), ..StatusMap::default() }
    }

    #[test]
    fn the_exact_status_beats_the_pattern_and_the_longer_pattern_the_shorter() {
        let map = map(&[
            ("new:*", Effect::Sale),
            ("new:canceled", Effect::Cancel),
            ("*", Effect::Keep),
            ("*:defect", Effect::ReturnHold),
        ]);
        let nothing = Value::Null;
        let effect = |status| map.effect(status, &Element::root(&nothing)).unwrap();
        assert_eq!(effect("new:waiting"), Effect::Sale);
        assert_eq!(effect("new:canceled"), Effect::Cancel);
        assert_eq!(effect("complete:defect"), Effect::ReturnHold);
        assert_eq!(effect("complete:sold"), Effect::Keep);
    }

    #[test]
    fn an_unknown_status_is_said_so() {
        let error = map(&[("new", Effect::Sale)]).effect("renewed", &Element::root(&Value::Null)).unwrap_err();
        assert_eq!(error.code, "unknown-status");
    }

    #[test]
    fn patterns() {
        assert!(matches("a:*", "a:b") && matches("*", "") && matches("*:b", "a:b") && matches("a*c*e", "abcde"));
        assert!(!matches("a:*", "b:a") && !matches("a", "ab") && !matches("*:b", "a:c") && !matches("a*c*e", "abde"));
    }
}
