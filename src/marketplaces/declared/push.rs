//! Telling quantities: which items may share a request, and the request itself.

use std::collections::BTreeSet;
use std::time::Duration;

use super::answer;
use super::file::AdapterFile;
use super::intern::intern;
use super::push_answer::PushResult;
use super::read::{self, In};
use super::request::{self, RequestSpec};
use super::template::{Place, Template, Var};
use super::values::{Values, is_nothing, missing_ref, plain, reference};
use crate::domain::quantity::QUANTITY_MAX;
use crate::marketplaces::{Answer, Call, Connection, Moment, PushItem, Pushed, Unreadable};
use crate::settings::parse::whole;

#[derive(Clone, Debug)]
pub struct Push {
    /// Only where the account's value of this name is true.
    pub only_if: Option<String>,
    pub batch_max: usize,
    /// Two items that share all of these are one thing there. Empty: each listing is a thing of its own.
    pub unique_by: Vec<&'static str>,
    pub key_interval: Duration,
    pub quantity: (i64, i64),
    pub way: PushWay,
    /// The first whose ref a listing has is used for it instead.
    pub variants: Vec<PushWay>,
}

#[derive(Clone, Debug)]
pub struct PushWay {
    pub when_ref: Option<&'static str>,
    pub request: RequestSpec,
    pub success: Vec<(u16, u16)>,
    pub group_by: Vec<&'static str>,
    pub result: PushResult,
}

impl Push {
    pub fn read(s: &mut In<'_, '_, '_>) -> Option<Self> {
        let only_if = s.opt("only_if", read::text);
        let batch_max = s.opt("batch_max", whole(1..=100_000)).unwrap_or(1);
        let unique_by = kept(s.opt("unique_by", read::names));
        let key_interval = s.opt("min_interval_per_key", read::span).unwrap_or_default();
        let least = s.opt("qty_min", whole(0..=QUANTITY_MAX)).unwrap_or(0);
        let most = s.opt("qty_max", whole(1..=QUANTITY_MAX)).unwrap_or(QUANTITY_MAX);
        let at = s.at.clone();
        if least > most {
            s.fault("qty_min", &at, "is above qty_max");
        }
        let way = PushWay::read(s, None);
        if way.is_none() {
            s.fault("request", &at, "is missing");
        }
        let variants = s.tables("variants", |s| {
            let at = s.at.clone();
            let variant = PushWay::read(s, way.as_ref());
            if variant.as_ref().is_none_or(|variant| variant.when_ref.is_none()) {
                s.fault("when_ref", &at, "is missing: which ref of a listing chooses this variant");
            }
            variant
        });
        Some(Self {
            only_if,
            batch_max,
            unique_by,
            key_interval,
            quantity: (least.min(most), most),
            way: way?,
            variants: variants.into_iter().flatten().collect(),
        })
    }

    /// How an item is told.
    fn way_of(&self, item: &PushItem) -> (usize, &PushWay) {
        let has = |way: &&PushWay| way.when_ref.is_some_and(|name| item.refs.get(name).is_some_and(|value| !is_nothing(value)));
        let variant = self.variants.iter().enumerate().find(|(_, way)| has(way));
        variant.map_or((0, &self.way), |(n, way)| (n + 1, way))
    }

    pub fn group(&self, connection: &Connection, item: &PushItem) -> String {
        let (variant, way) = self.way_of(item);
        // What cannot be told at all fails alone: it must not take a whole batch with it.
        if let Some(name) = way.needed().into_iter().find(|name| reference(connection, item, name).is_none()) {
            return format!("without {name}: {}", item.listing_id);
        }
        let shared = way.group_by.iter().map(|name| reference(connection, item, name).as_ref().map_or(String::new(), plain));
        shared.fold(variant.to_string(), |group, value| format!("{group}\u{1f}{value}"))
    }

    pub fn key(&self, connection: &Connection, item: &PushItem) -> String {
        if self.unique_by.is_empty() {
            return item.listing_id.to_string();
        }
        let values = self.unique_by.iter().map(|name| reference(connection, item, name).as_ref().map_or(String::new(), plain));
        values.collect::<Vec<_>>().join("\u{1f}")
    }

    pub fn call(
        &self,
        file: &AdapterFile,
        connection: &Connection,
        moment: &Moment,
        items: &[PushItem],
    ) -> Result<Call, Unreadable> {
        let Some(first) = items.first() else { return Err(Unreadable::new("batch-size", "there is nothing to tell")) };
        if items.len() > self.batch_max {
            let (count, most) = (items.len(), self.batch_max);
            return Err(Unreadable::new("batch-size", format!("{count} items, where a request takes {most}")));
        }
        let (_, way) = self.way_of(first);
        for item in items {
            if let Some(name) = way.needed().into_iter().find(|name| reference(connection, item, name).is_none()) {
                return Err(missing_ref(name));
            }
        }
        let mut values = Values { items, quantity: self.quantity, ..Values::new(connection, moment.now) };
        values.item = Some(first);
        request::build(file, moment, &way.request, &values)
    }

    pub fn read_answer(&self, file: &AdapterFile, items: &[PushItem], answer: &Answer) -> Pushed {
        let Some(first) = items.first() else { return Pushed::Each(Vec::new()) };
        let (_, way) = self.way_of(first);
        let told = |item: &PushItem| item.quantity.clamp(self.quantity.0, self.quantity.1);
        way.result.read(items, &told, answer, |success| answer::body(file, answer, success), &way.success)
    }

    /// The refs it speaks of.
    pub fn names(&self) -> BTreeSet<&'static str> {
        let ways = std::iter::once(&self.way).chain(&self.variants);
        let of_way = |way: &PushWay| {
            let keys = way.result.key.iter().map(|(name, _)| *name);
            keys.chain(way.group_by.iter().copied()).chain(way.when_ref).collect::<Vec<_>>()
        };
        ways.flat_map(of_way).chain(self.unique_by.iter().copied()).collect()
    }
}

fn kept(list: Option<Vec<String>>) -> Vec<&'static str> {
    list.unwrap_or_default().iter().map(|name| intern(name)).collect()
}

impl PushWay {
    /// A variant takes what it leaves out from the ordinary way.
    fn read(s: &mut In<'_, '_, '_>, ordinary: Option<&PushWay>) -> Option<Self> {
        let when_ref = if ordinary.is_some() { s.opt("when_ref", read::kept) } else { None };
        let mut request = RequestSpec::read(s, Place::Push);
        let success = s.opt("success", read::status_list);
        let group_by = s.opt("group_by", read::names);
        let result = s.table("result", PushResult::of_section);
        if let (Some(request), Some(ordinary)) = (request.as_mut(), ordinary) {
            request.limits = request.limits.take().or_else(|| ordinary.request.limits.clone());
        }
        Some(Self {
            when_ref,
            request: request.or_else(|| ordinary.map(|way| way.request.clone()))?,
            success: success.or_else(|| ordinary.map(|way| way.success.clone())).unwrap_or_default(),
            group_by: group_by
                .map_or_else(|| ordinary.map(|way| way.group_by.clone()).unwrap_or_default(), |list| kept(Some(list))),
            result: result.or_else(|| ordinary.map(|way| way.result.clone())).unwrap_or_default(),
        })
    }

    /// The refs without which an item cannot be told.
    fn needed(&self) -> Vec<&str> {
        let holes = self.request.templates().into_iter().flat_map(Template::holes).filter(|hole| !hole.optional);
        let named = holes.filter_map(|hole| match &hole.var {
            Var::Ref(name) | Var::Group(name) => Some(name.as_str()),
            _ => None,
        });
        named.chain(self.group_by.iter().copied()).collect()
    }
}
