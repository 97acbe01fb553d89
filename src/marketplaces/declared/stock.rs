//! Reading what a marketplace shows: whole lists page by page, named listings, or one.

use serde_json::Value;

use super::answer::{self, unreadable};
use super::file::{AdapterFile, OWN_NAMES};
use super::paging::{PageKind, Paging};
use super::pointer::{Element, Elements, Match, Pick, Pointer, TimePick};
use super::read::{self, In};
use super::request::{self, RequestSpec, base};
use super::template::Place;
use super::values::{Values, is_nothing, plain, reference};
use crate::domain::time::Timestamp;
use crate::marketplaces::call::{Page, StockRow};
use crate::marketplaces::wire::Headers;
use crate::marketplaces::{Answer, Call, Connection, Moment, Outcome, PushItem, Told, Unreadable, cannot_be_asked};

#[derive(Clone, Debug, Default)]
pub struct Stock {
    pub list: Option<StockList>,
    /// Named listings, several per request.
    pub of: Option<StockList>,
    pub get: Option<StockList>,
    /// Other ways to ask for one listing: the first whose ref it has.
    get_variants: Vec<(&'static str, StockList)>,
}

#[derive(Clone, Debug)]
pub struct StockList {
    pub only_if: Option<String>,
    pub request: RequestSpec,
    pub page: Paging,
    map: StockMap,
    children: Option<Children>,
}

#[derive(Clone, Debug)]
struct StockMap {
    rows: Elements,
    names: Vec<(&'static str, Pick)>,
    /// What a row must share with the listing, or with the account: the warehouse, where an answer holds several.
    same: Vec<(&'static str, Pick)>,
    /// What a listing takes over as it was last read, and is not known by.
    refs: Vec<(&'static str, Pick)>,
    quantity: Pick,
    market: Option<Pick>,
    title: Option<Pick>,
    updated_at: Option<TimePick>,
}

/// Rows that stand for a list of their own, such as a product with variations.
#[derive(Clone, Debug)]
struct Children {
    when: Match,
    id: Pointer,
    request: RequestSpec,
    names: Vec<(&'static str, Pick)>,
}

/// Where a walk is that goes down into children: kept as text in `Page::after`.
#[derive(serde::Serialize, serde::Deserialize)]
struct Below {
    /// The next page of the list itself, once the children are done.
    then: Option<Page>,
    /// Parents whose children were not read yet.
    parents: Vec<String>,
    page: Page,
}

impl Stock {
    pub fn read(s: &mut In<'_, '_, '_>) -> Self {
        let list = s.table("list", |s| StockList::read(s, Place::Stock)).flatten();
        let of = s.table("of", |s| StockList::read(s, Place::Keys)).flatten();
        let get = s.table("get", |s| {
            let variants = s.tables("variants", |s| {
                let name = s.need_or("when_ref", "", read::kept);
                StockList::read(s, Place::One).map(|list| (name, list))
            });
            (StockList::read(s, Place::One), variants.into_iter().flatten().collect())
        });
        let (get, get_variants) = get.unwrap_or_default();
        // A list that answers only to keys is no list.
        match list {
            Some(list) if list.page.kind == PageKind::Keys => Self { list: None, of: of.or(Some(list)), get, get_variants },
            list => Self { list, of, get, get_variants },
        }
    }

    pub fn requests(&self) -> Vec<(String, &RequestSpec)> {
        let mut all = Vec::new();
        for (key, list) in [("stock.list", &self.list), ("stock.of", &self.of), ("stock.get", &self.get)] {
            let Some(list) = list else { continue };
            all.push((key.to_owned(), &list.request));
            all.extend(list.children.iter().map(|children| (format!("{key}.children"), &children.request)));
        }
        let variants = self.get_variants.iter().enumerate();
        all.extend(variants.map(|(n, (_, list))| (format!("stock.get.variants[{n}]"), &list.request)));
        all
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        let lists = [&self.list, &self.of, &self.get].into_iter().flatten();
        lists.chain(self.get_variants.iter().map(|(_, list)| list)).flat_map(|list| {
            let children = list.children.iter().flat_map(|children| children.names.iter());
            let keys = list.page.key.into_iter().chain(list.page.group_by.iter().copied());
            list.map.names.iter().chain(&list.map.same).chain(&list.map.refs).chain(children).map(|(name, _)| *name).chain(keys)
        })
    }

    /// The refs that choose another way to ask for one listing.
    pub fn variants(&self) -> impl Iterator<Item = &'static str> {
        self.get_variants.iter().map(|(name, _)| *name)
    }

    fn get_for(&self, item: &PushItem) -> Option<&StockList> {
        let has = |name: &str| item.refs.get(name).is_some_and(|value| !is_nothing(value));
        self.get_variants.iter().find(|(name, _)| has(name)).map(|(_, list)| list).or(self.get.as_ref())
    }

    /// How many listings one request can name.
    pub fn per_request(&self) -> Option<usize> {
        match (&self.of, &self.get) {
            (Some(of), _) => usize::try_from(of.page.limit).ok(),
            (None, Some(_)) => Some(1),
            (None, None) => None,
        }
    }

    pub fn ask(&self, file: &AdapterFile, connection: &Connection, moment: &Moment, page: &Page) -> Result<Call, Unreadable> {
        let list = self.list.as_ref().ok_or_else(cannot_be_asked)?;
        list.ask(file, connection, moment, page)
    }

    pub fn ask_of(
        &self,
        file: &AdapterFile,
        connection: &Connection,
        moment: &Moment,
        items: &[PushItem],
    ) -> Result<Call, Unreadable> {
        match (&self.of, &self.get, items) {
            (Some(of), _, [_, ..]) => of.ask_of(file, connection, moment, items),
            (None, Some(_), [item]) => {
                let get = self.get_for(item).ok_or_else(cannot_be_asked)?;
                let values = Values { items, item: Some(item), ..Values::new(connection, moment.now) };
                request::build(file, moment, &get.request, &values)
            }
            (None, Some(_), _) => Err(Unreadable::new("batch-size", "one listing at a time")),
            _ => Err(cannot_be_asked()),
        }
    }

    pub fn told(&self, file: &AdapterFile, connection: &Connection, page: &Page, answer: &Answer) -> Result<Told, Outcome> {
        let list = self.list.as_ref().ok_or_else(|| unreadable("there is no list"))?;
        list.told(file, connection, page, answer)
    }

    pub fn told_of(
        &self,
        file: &AdapterFile,
        connection: &Connection,
        items: &[PushItem],
        answer: &Answer,
    ) -> Result<Told, Outcome> {
        let list = self.of.as_ref().or_else(|| items.first().and_then(|item| self.get_for(item)));
        let list = list.ok_or_else(|| unreadable("there is no such question"))?;
        let value = answer::json(answer::body(file, answer, &[])?)?;
        let rows = list.map.rows.of(Element::root(&value)).map_err(unreadable)?;
        let asked = |row: &&Element<'_>| items.iter().any(|item| list.map.is_about(connection, row, item));
        let mut rows: Vec<StockRow> = rows.iter().filter(asked).map(|row| list.map.row(row, &list.map.names)).collect();
        // One listing was asked for by its address: the answer need not say which.
        if let ([row], [item]) = (&mut rows[..], items)
            && row.names.is_empty()
        {
            row.names = item.refs.iter().filter(|(_, v)| !is_nothing(v)).map(|(n, v)| (n.clone(), plain(v))).collect();
        }
        Ok(Told::Stock { rows, next: None })
    }
}

impl StockList {
    fn read(s: &mut In<'_, '_, '_>, place: Place) -> Option<Self> {
        let only_if = s.opt("only_if", read::text);
        let page = s.table("page", Paging::read).unwrap_or_default();
        // Of keys: which, and how many, says `page`.
        let place = if page.kind == PageKind::Keys { Place::Keys } else { place };
        let request = RequestSpec::read(s, place);
        let at = s.at.clone();
        if request.is_none() {
            s.fault("request", &at, "is missing");
        }
        let map = s.table("map", StockMap::read).flatten();
        if map.is_none() {
            s.fault("map", &at, "is missing: where the quantity stands ({ qty = … })");
        }
        if place == Place::Keys && page.key.is_none() {
            s.fault("page.key", &at, "is missing: which name the keys are");
        }
        let children = s.table("children", |s| Children::read(s, request.as_ref())).flatten();
        Some(Self { only_if, request: request?, page, map: map?, children })
    }

    fn ask(&self, file: &AdapterFile, connection: &Connection, moment: &Moment, page: &Page) -> Result<Call, Unreadable> {
        let mut values = Values::new(connection, moment.now);
        let below = self.below(page)?;
        let (spec, page) = match (&below, &self.children) {
            (Some(below), Some(children)) => {
                values.parent = below.parents.first().map(String::as_str);
                (&children.request, &below.page)
            }
            _ => (&self.request, page),
        };
        values.page = Some(self.page.values(page));
        match self.page.address(page) {
            Some(next) => request::follow(file, moment, spec, &values, next),
            None => request::build(file, moment, spec, &values),
        }
    }

    fn below(&self, page: &Page) -> Result<Option<Below>, Unreadable> {
        let Some(text) = page.after.as_deref().filter(|_| self.children.is_some() && page.after.is_some()) else {
            return Ok(None);
        };
        match text.strip_prefix(BELOW) {
            None => Ok(None),
            Some(text) => serde_json::from_str(text)
                .map(Some)
                .map_err(|_| Unreadable::new("invalid-page", "the place in the list cannot be read")),
        }
    }

    fn ask_of(
        &self,
        file: &AdapterFile,
        connection: &Connection,
        moment: &Moment,
        items: &[PushItem],
    ) -> Result<Call, Unreadable> {
        let limit = usize::try_from(self.page.limit).unwrap_or(usize::MAX);
        if items.len() > limit {
            return Err(Unreadable::new("batch-size", format!("{} listings, where a request names {limit}", items.len())));
        }
        let group = |item: &PushItem| -> Vec<Option<Value>> {
            self.page.group_by.iter().map(|name| reference(connection, item, name)).collect()
        };
        let first = items.first().ok_or_else(cannot_be_asked)?;
        if items.iter().any(|item| group(item) != group(first)) {
            let names = self.page.group_by.join(", ");
            return Err(Unreadable::new("mixed-groups", format!("the listings of one request must share {names}")));
        }
        let name = self.page.key.unwrap_or_default();
        let mut keys = Vec::with_capacity(items.len());
        for item in items {
            let key = reference(connection, item, name).ok_or_else(|| super::values::missing_ref(name))?;
            keys.push(if self.page.key_is_number { number(&key, name)? } else { plain(&key).into() });
        }
        let page = Some(self.page.values(&Page::default()));
        let values = Values { items, keys, page, ..Values::new(connection, moment.now) };
        request::build(file, moment, &self.request, &values)
    }

    fn told(&self, file: &AdapterFile, connection: &Connection, page: &Page, answer: &Answer) -> Result<Told, Outcome> {
        let value = answer::json(answer::body(file, answer, &[])?)?;
        let Answer::Response { headers, .. } = answer else { return Err(Outcome::of_status(answer)) };
        let elements = self.map.rows.of(Element::root(&value)).map_err(unreadable)?;
        let below = self.below(page).map_err(|error| unreadable(error.message))?;
        if let (Some(children), Some(below)) = (&self.children, below) {
            return self.told_below(connection, file, children, below, &elements, &value, headers);
        }
        let parent = |row: &Element<'_>| self.children.as_ref().is_some_and(|children| children.when.holds(row));
        let own = |row: &&Element<'_>| !parent(row) && self.map.is_of_account(connection, row);
        let rows = elements.iter().filter(own).map(|row| self.map.row(row, &self.map.names)).collect();
        let raw = self.raw(&value);
        let base = self.base(file, connection)?;
        let next = self.page.next(page, &value, headers, raw, &base)?;
        let parents: Vec<String> = match &self.children {
            None => Vec::new(),
            Some(children) => {
                elements.iter().filter(|row| parent(row)).filter_map(|row| row.find(&children.id).map(plain)).collect()
            }
        };
        Ok(Told::Stock { rows, next: below_page(page.index, next, parents) })
    }

    #[expect(clippy::too_many_arguments, reason = "what one answer consists of")]
    fn told_below(
        &self,
        connection: &Connection,
        file: &AdapterFile,
        children: &Children,
        below: Below,
        elements: &[Element<'_>],
        value: &Value,
        headers: &Headers,
    ) -> Result<Told, Outcome> {
        let parent = below.parents.first().cloned().unwrap_or_default();
        let with_parent = |row: &Element<'_>| {
            let mut row = self.map.row(row, &children.names);
            // A child is found by its own id, and by its parent's where that is all a listing has.
            let names = self.map.names.iter().map(|(name, _)| *name).filter(|name| !OWN_NAMES.contains(name)).take(1);
            row.names.extend(names.map(|name| (name.to_owned(), parent.clone())));
            row
        };
        let rows = elements.iter().map(with_parent).collect();
        let base = self.base(file, connection)?;
        let next = match self.page.next(&below.page, value, headers, self.raw(value), &base)? {
            Some(page) => Some(Below { page, ..below }.page()),
            None => below_page(0, below.then, below.parents.into_iter().skip(1).collect()),
        };
        Ok(Told::Stock { rows, next })
    }

    fn base(&self, file: &AdapterFile, connection: &Connection) -> Result<String, Outcome> {
        let base = base(file, connection, self.request.host.as_deref(), Timestamp::default());
        base.map_err(|error| unreadable(error.message))
    }

    /// The rows of the page as they came, which is what page sizes count.
    fn raw<'v>(&self, value: &'v Value) -> &'v [Value] {
        let items = self.map.rows.items.as_ref();
        items.and_then(|items| Element::root(value).find(items)).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}

const BELOW: &str = "below:";

impl Below {
    fn page(&self) -> Page {
        let after = serde_json::to_string(self).map(|text| format!("{BELOW}{text}")).ok();
        Page { index: self.page.index.saturating_add(1), after }
    }
}

/// The children of these parents first, then what comes next.
fn below_page(index: u32, then: Option<Page>, parents: Vec<String>) -> Option<Page> {
    if parents.is_empty() {
        return then;
    }
    let mut page = Below { then, parents, page: Page::default() }.page();
    page.index = index.saturating_add(1);
    Some(page)
}

fn number(key: &Value, name: &str) -> Result<Value, Unreadable> {
    let text = plain(key);
    let number = text.parse::<i64>();
    number.map(Into::into).map_err(|_| Unreadable::new("invalid-ref", format!("{name} must be a whole number, is {text:?}")))
}

impl Children {
    fn read(s: &mut In<'_, '_, '_>, parent: Option<&RequestSpec>) -> Option<Self> {
        let when = read::matcher(s);
        let id = s.opt("id", read::pointer);
        let line = s.opt("request", read::text);
        let names = s.opt("sku", read::named_picks).unwrap_or_default();
        let at = s.at.clone();
        let request = line.and_then(|line| {
            let request = parent?.below(&line);
            request.map_err(|message| s.fault("request", &at, message)).ok()
        });
        Some(Self { when: when?, id: id.unwrap_or(Pointer::parse("/id").ok()?), request: request?, names })
    }
}

impl StockMap {
    fn read(s: &mut In<'_, '_, '_>) -> Option<Self> {
        let rows = read::elements(s);
        let names = s.opt("sku", read::named_picks).unwrap_or_default();
        let quantity = s.opt("qty", read::pick);
        // Told by some, and already taken off the number they tell.
        s.opt("reserved", read::pointer);
        let map = Self {
            rows,
            names,
            same: s.opt("same", read::named_picks).unwrap_or_default(),
            refs: s.opt("refs", read::named_picks).unwrap_or_default(),
            market: s.opt("market", read::pick),
            title: s.opt("title", read::pick),
            updated_at: s.opt("updated_at", read::time),
            quantity: quantity?,
        };
        Some(map)
    }

    /// Whether a row speaks of this listing, as far as both name themselves.
    fn is_about(&self, connection: &Connection, row: &Element<'_>, item: &PushItem) -> bool {
        let all = named(row, &self.names).into_iter().chain(named(row, &self.same));
        let agrees = |(name, value): (&str, String)| match name {
            "id" => value == item.marketplace_product_id,
            "sku" => true,
            name => reference(connection, item, name).is_none_or(|own| plain(&own) == value),
        };
        all.into_iter().all(agrees)
    }

    fn is_of_account(&self, connection: &Connection, row: &Element<'_>) -> bool {
        let own = |name: &str| connection.account.get(name).filter(|value| !is_nothing(value)).map(plain);
        named(row, &self.same).into_iter().all(|(name, value)| own(name).is_none_or(|own| own == value))
    }

    fn row(&self, row: &Element<'_>, names: &[(&'static str, Pick)]) -> StockRow {
        let mut found = StockRow {
            quantity: self.quantity.whole(row).filter(|quantity| *quantity >= 0),
            market: self.market.as_ref().and_then(|pick| pick.text(row)),
            title: self.title.as_ref().and_then(|pick| pick.text(row)),
            at: self.updated_at.as_ref().and_then(|time| time.at(row)),
            refs: named(row, &self.refs).into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            ..StockRow::default()
        };
        for (name, value) in named(row, names) {
            if name == "sku" {
                found.sku = Some(value);
            } else {
                found.names.push((name.to_owned(), value));
            }
        }
        found
    }
}

/// What an element is called, by the names of the file, the surest first.
pub fn named(row: &Element<'_>, names: &[(&'static str, Pick)]) -> Vec<(&'static str, String)> {
    let value = |pick: &Pick| pick.value(row).filter(|value| !is_nothing(value)).map(|value| plain(&value));
    names.iter().filter_map(|(name, pick)| value(pick).map(|value| (*name, value))).collect()
}
