//! What an answer to a push says of each item. Marketplaces answer in seven ways, from "all went well" to nothing worth believing.

use std::time::Duration;

use serde_json::Value;

use super::pointer::{Element, Elements, Pointer, whole as whole_number};
use super::read::{self, In, is_one_of};
use super::values::plain;
use crate::marketplaces::wire::excerpt;
use crate::marketplaces::{Answer, Outcome, PushItem, Pushed};

#[derive(Clone, Debug, Default)]
pub struct PushResult {
    mode: Mode,
    rows: Elements,
    /// Which row speaks of which item, by names of it.
    pub key: Vec<(&'static str, Pointer)>,
    ok: Option<Yes>,
    echo_qty: Option<Pointer>,
    code: Option<Pointer>,
    message: Option<Pointer>,
    retry_codes: Vec<String>,
    permanent_codes: Vec<String>,
    auth_codes: Vec<String>,
    /// How long an item that is to be tried again waits at least.
    retry_after: Option<Duration>,
    /// What an item is that no row speaks of.
    unlisted: Unlisted,
    /// The statuses whose bodies are lists of errors; any other good one means all.
    on_status: Vec<(u16, u16)>,
    /// Statuses that one bad item may be the reason of.
    split_on: Vec<(u16, u16)>,
    expected: Option<Pointer>,
    done: Option<Pointer>,
    verify: Verify,
    pub verify_after: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    /// The status speaks for all of them.
    #[default]
    Whole,
    /// Rows that name their item.
    ByKey,
    /// Rows in the order of the request.
    ByIndex,
    /// Rows for the failed ones only.
    ErrorList,
    /// How many were done, not which.
    Count,
    /// The number it shows now.
    Echo,
    /// A promise: the work is done later.
    Task,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Unlisted {
    #[default]
    Unknown,
    Applied,
    Retry,
    Permanent,
}

/// Whether "yes" is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Verify {
    #[default]
    None,
    /// When the number comes back in the answer.
    Echo,
    /// Only once it was read back.
    ReadBack,
}

#[derive(Clone, Debug)]
struct Yes {
    at: Pointer,
    test: OkTest,
}

#[derive(Clone, Debug)]
enum OkTest {
    Equals { value: String, or_absent: bool },
    Range { from: i64, to: i64, or_absent: bool },
    Absent,
    Present,
}

const MODES: &[(&str, Mode)] = &[
    ("whole", Mode::Whole),
    ("by_key", Mode::ByKey),
    ("by_index", Mode::ByIndex),
    ("error_list", Mode::ErrorList),
    ("count", Mode::Count),
    ("echo", Mode::Echo),
    ("task", Mode::Task),
];

impl PushResult {
    pub fn of_section(s: &mut In<'_, '_, '_>) -> Self {
        const UNLISTED: &[(&str, Unlisted)] = &[
            ("unknown", Unlisted::Unknown),
            ("applied", Unlisted::Applied),
            ("retry", Unlisted::Retry),
            ("permanent", Unlisted::Permanent),
        ];
        const VERIFY: &[(&str, Verify)] = &[("none", Verify::None), ("echo", Verify::Echo), ("read_back", Verify::ReadBack)];
        let mode = s.need_or("mode", Mode::Whole, read::choice(MODES));
        let result = Self {
            mode,
            rows: read::elements(s),
            key: s.opt("key", keys).unwrap_or_default(),
            ok: Yes::read(s),
            echo_qty: s.opt("echo_qty", read::pointer),
            code: s.opt("code", read::pointer),
            message: s.opt("message", read::pointer),
            retry_codes: s.opt("retry_codes", read::words).unwrap_or_default(),
            permanent_codes: s.opt("permanent_codes", read::words).unwrap_or_default(),
            auth_codes: s.opt("auth_codes", read::words).unwrap_or_default(),
            retry_after: s.opt("retry_after", read::span),
            unlisted: s.opt("unlisted", read::choice(UNLISTED)).unwrap_or_default(),
            on_status: s.opt("on_status", read::status_list).unwrap_or_default(),
            split_on: s.opt("split_on", read::status_list).unwrap_or_default(),
            expected: s.opt("expected", read::pointer),
            done: s.opt("done", read::pointer),
            verify: s.opt("verify", read::choice(VERIFY)).unwrap_or_default(),
            verify_after: s.opt("verify_after", read::span),
        };
        let at = s.at.clone();
        let mut need = |key: &str, there: bool| {
            if !there {
                s.fault(key, &at, "is missing in this mode");
            }
        };
        match mode {
            Mode::ByKey | Mode::ErrorList => need("key", !result.key.is_empty()),
            Mode::Count => {
                need("expected", result.expected.is_some());
                need("done", result.done.is_some());
            }
            Mode::Echo => need("echo_qty", result.echo_qty.is_some()),
            Mode::Whole | Mode::ByIndex | Mode::Task => {}
        }
        if matches!(mode, Mode::ByKey | Mode::ByIndex | Mode::ErrorList) {
            need("items", result.rows.items.is_some());
        }
        if result.verify == Verify::Echo && matches!(mode, Mode::ByKey | Mode::ByIndex) {
            need("echo_qty", result.echo_qty.is_some());
        }
        result
    }

    /// One outcome per item, or one for all. `good` gives the body of a good answer, or how the request ended.
    pub fn read<'a>(
        &self,
        items: &[PushItem],
        told: &dyn Fn(&PushItem) -> i64,
        answer: &'a Answer,
        good: impl FnOnce(&[(u16, u16)]) -> Result<&'a [u8], Outcome>,
        success: &[(u16, u16)],
    ) -> Pushed {
        let is_error_list = matches!(answer, Answer::Response { status, .. } if is_one_of(*status, &self.on_status));
        if self.mode == Mode::ErrorList && is_error_list {
            let Answer::Response { body, .. } = answer else { return Pushed::Whole(Outcome::of_status(answer)) };
            return self.error_list(items, body);
        }
        let body = match good(success) {
            Ok(body) => body,
            Err(outcome) => return Pushed::Whole(self.split(answer, outcome)),
        };
        if self.mode == Mode::ErrorList && self.on_status.is_empty() {
            return self.error_list(items, body);
        }
        match self.mode {
            // Nothing in the body decides.
            Mode::ErrorList => Pushed::Each(vec![self.yes(); items.len()]),
            Mode::Whole if self.ok.is_none() => Pushed::Each(vec![self.yes(); items.len()]),
            Mode::Task if self.ok.is_none() => Pushed::Each(vec![Outcome::Accepted; items.len()]),
            _ => match serde_json::from_slice::<Value>(body) {
                Ok(value) => self.read_body(items, told, &value),
                // It said yes, and nobody can read what else.
                Err(_) => Pushed::Each(vec![unknown(format!("an answer that is not JSON: {}", excerpt(body))); items.len()]),
            },
        }
    }

    fn read_body(&self, items: &[PushItem], told: &dyn Fn(&PushItem) -> i64, value: &Value) -> Pushed {
        let root = Element::root(value);
        match self.mode {
            Mode::Whole | Mode::ErrorList => match self.failure(&root) {
                None => Pushed::Each(vec![self.yes(); items.len()]),
                Some(outcome) => Pushed::Whole(outcome),
            },
            Mode::Task => match self.failure(&root) {
                None => Pushed::Each(vec![Outcome::Accepted; items.len()]),
                Some(outcome) => Pushed::Whole(outcome),
            },
            Mode::Count => Pushed::Each(self.count(&root, items.len())),
            Mode::Echo => match self.failure(&root) {
                Some(outcome) => Pushed::Whole(outcome),
                None => Pushed::Each(items.iter().map(|item| self.echoed(&root, told(item))).collect()),
            },
            Mode::ByIndex => self.by_index(&root, items, told),
            Mode::ByKey => self.by_key(&root, items, told),
        }
    }

    fn count(&self, root: &Element<'_>, items: usize) -> Vec<Outcome> {
        let number = |pointer: &Option<Pointer>| pointer.as_ref().and_then(|p| root.find(p)).and_then(whole_number);
        let outcome = match (number(&self.expected), number(&self.done)) {
            (Some(expected), Some(done)) if done >= expected => self.yes(),
            (Some(expected), Some(done)) => unknown(format!("{done} of {expected} were taken, and nobody says which")),
            _ => unknown("an answer without its counts".to_owned()),
        };
        vec![outcome; items]
    }

    fn by_index(&self, root: &Element<'_>, items: &[PushItem], told: &dyn Fn(&PushItem) -> i64) -> Pushed {
        let rows = match self.rows.of(root.clone()) {
            Ok(rows) => rows,
            Err(why) => return Pushed::Each(vec![unknown(why); items.len()]),
        };
        // With a row too few or too many nobody knows which is whose.
        if rows.len() != items.len() {
            let why = format!("{} rows in the answer to {} items", rows.len(), items.len());
            return Pushed::Each(vec![unknown(why); items.len()]);
        }
        Pushed::Each(items.iter().zip(&rows).map(|(item, row)| self.row(row, told(item))).collect())
    }

    fn by_key(&self, root: &Element<'_>, items: &[PushItem], told: &dyn Fn(&PushItem) -> i64) -> Pushed {
        let rows = match self.rows.of(root.clone()) {
            Ok(rows) => rows,
            Err(why) => return Pushed::Each(vec![unknown(why); items.len()]),
        };
        let owners = self.owners(items, &rows);
        let outcome = |(item, row): (&PushItem, &Option<usize>)| match row.and_then(|row| rows.get(row)) {
            Some(row) => self.row(row, told(item)),
            None => self.of_unlisted(),
        };
        Pushed::Each(items.iter().zip(&owners).map(outcome).collect())
    }

    /// The row of each item. A name that the listing leaves to its account is not compared: then the rows that name all are
    /// given away first, and what is left must be the other's. Rows mostly come in the order of the request, so that what an item
    /// looks for is the first that is free.
    fn owners(&self, items: &[PushItem], rows: &[Element<'_>]) -> Vec<Option<usize>> {
        let own: Vec<Names> = items.iter().map(|item| self.names(|name, _| item.refs.get(name))).collect();
        let said: Vec<Names> = rows.iter().map(|row| self.names(|_, pointer| row.find(pointer))).collect();
        let whole = |names: &Names| names.iter().all(Option::is_some);
        let mut owners = vec![None; items.len()];
        let mut free: Vec<usize> = (0..rows.len()).collect();
        for exact in [true, false] {
            for (owner, own) in owners.iter_mut().zip(&own).filter(|(owner, own)| owner.is_none() && (!exact || whole(own))) {
                let fits = |row: &usize| said.get(*row).is_some_and(|said| (!exact || whole(said)) && same(own, said));
                if let Some(place) = free.iter().position(fits) {
                    *owner = Some(free.remove(place));
                }
            }
        }
        owners
    }

    /// What an item or a row is named by, in the order of `key`.
    fn names<'v>(&self, find: impl Fn(&str, &Pointer) -> Option<&'v Value>) -> Names {
        self.key.iter().map(|(name, pointer)| find(name, pointer).map(plain)).collect()
    }

    fn error_list(&self, items: &[PushItem], body: &[u8]) -> Pushed {
        let rows: Result<Value, _> = serde_json::from_slice(body);
        let Ok(value) = rows else {
            return Pushed::Each(vec![unknown(format!("errors that are not JSON: {}", excerpt(body))); items.len()]);
        };
        let rows = self.rows.of(Element::root(&value)).unwrap_or_default();
        let owners = self.owners(items, &rows);
        let outcome = |row: &Option<usize>| match row.and_then(|row| rows.get(row)) {
            Some(row) => self.failed(row),
            None => self.of_unlisted(),
        };
        Pushed::Each(owners.iter().map(outcome).collect())
    }

    fn row(&self, row: &Element<'_>, told: i64) -> Outcome {
        match self.failure(row) {
            Some(outcome) => outcome,
            None if self.verify == Verify::Echo => self.echoed(row, told),
            None => self.yes(),
        }
    }

    /// Whether a row, or the answer, says no; and how it says it.
    fn failure(&self, element: &Element<'_>) -> Option<Outcome> {
        let ok = self.ok.as_ref()?;
        if ok.holds(element) { None } else { Some(self.failed(element)) }
    }

    fn failed(&self, element: &Element<'_>) -> Outcome {
        let text = |pointer: &Option<Pointer>| {
            let value = pointer.as_ref().and_then(|p| element.find(p)).filter(|value| !value.is_null());
            value.map(|value| excerpt(plain(value).as_bytes()))
        };
        let said = self.ok.as_ref().and_then(|ok| element.find(&ok.at)).filter(|v| v.is_number() || v.is_string()).map(plain);
        let code = text(&self.code).or(said);
        let message = text(&self.message).or_else(|| code.clone()).unwrap_or_else(|| "refused without a reason".to_owned());
        let is = |codes: &[String]| code.as_ref().is_some_and(|code| codes.iter().any(|known| like(known, code)));
        match () {
            () if is(&self.retry_codes) => Outcome::Retry { after: self.retry_after, throttled: false, code, message },
            () if is(&self.auth_codes) => Outcome::Auth { message },
            // Where the file says what is final, anything else may pass; where it says nothing, nothing is tried for ever: the
            // item's next version is tried anyway.
            () if self.permanent_codes.is_empty() || is(&self.permanent_codes) => Outcome::Permanent { code, message },
            () => Outcome::Retry { after: self.retry_after, throttled: false, code, message },
        }
    }

    fn echoed(&self, element: &Element<'_>, told: i64) -> Outcome {
        let shown = self.echo_qty.as_ref().and_then(|pointer| element.find(pointer)).and_then(whole_number);
        match shown {
            Some(shown) if shown == told => self.yes(),
            Some(shown) => unknown(format!("it answered {shown} to {told}")),
            None => unknown(format!("it did not say its number when told {told}")),
        }
    }

    fn of_unlisted(&self) -> Outcome {
        let message = "the answer does not speak of it".to_owned();
        match self.unlisted {
            Unlisted::Unknown => unknown(message),
            Unlisted::Applied => self.yes(),
            Unlisted::Retry => Outcome::Retry { after: self.retry_after, throttled: false, code: None, message },
            Unlisted::Permanent => Outcome::Permanent { code: None, message },
        }
    }

    fn yes(&self) -> Outcome {
        if self.verify == Verify::ReadBack { Outcome::Accepted } else { Outcome::Applied }
    }

    /// A refusal of the whole request that one item may be the reason of.
    fn split(&self, answer: &Answer, outcome: Outcome) -> Outcome {
        let Answer::Response { status, body, .. } = answer else { return outcome };
        if !is_one_of(*status, &self.split_on) {
            return outcome;
        }
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let code = self.code.as_ref().and_then(|pointer| Element::root(&value).find(pointer)).map(plain);
        Outcome::Permanent {
            code: code.or_else(|| Some(status.to_string())),
            message: format!("answered {status}: {}", excerpt(body)),
        }
    }
}

type Names = Vec<Option<String>>;

/// Whether all that both name is the same, and something is.
fn same(own: &Names, said: &Names) -> bool {
    let mut both = own.iter().zip(said).filter_map(|(own, said)| Some((own.as_ref()?, said.as_ref()?))).peekable();
    both.peek().is_some() && both.all(|(own, said)| own == said)
}

fn unknown(message: String) -> Outcome {
    Outcome::Unknown { message }
}

/// Whether a code is of a kind; one that ends in `*` is a beginning.
fn like(known: &str, code: &str) -> bool {
    known.strip_suffix('*').map_or(known == code, |head| code.starts_with(head))
}

fn keys(node: &crate::settings::tree::Node) -> Result<Vec<(&'static str, Pointer)>, String> {
    let pairs = read::named_picks(node)?;
    let pointer = |(name, pick): (&'static str, super::pointer::Pick)| match pick {
        super::pointer::Pick::At(super::pointer::Where::Pointer(pointer)) => Ok((name, pointer)),
        _ => Err("each pair is a name and a pointer".to_owned()),
    };
    pairs.into_iter().map(pointer).collect()
}

impl Yes {
    fn read(s: &mut In<'_, '_, '_>) -> Option<Self> {
        let at = s.opt("ok", read::pointer);
        let equals = s.opt("ok_equals", read::word);
        let range = s.opt("ok_range", |node| {
            let numbers: Option<Vec<i64>> = read::words(node)?.iter().map(|word| word.parse().ok()).collect();
            match numbers.as_deref() {
                Some([from, to]) if from <= to => Ok((*from, *to)),
                _ => Err("must be two numbers, the first and the last".to_owned()),
            }
        });
        let or_absent = s.opt("ok_absent", crate::settings::parse::boolean).unwrap_or(false);
        let place = s.at.clone();
        let test = match (equals, range) {
            (Some(value), None) => OkTest::Equals { value, or_absent },
            (None, Some((from, to))) => OkTest::Range { from, to, or_absent },
            (None, None) if or_absent => OkTest::Absent,
            (None, None) => OkTest::Present,
            (Some(_), Some(_)) => {
                s.fault("ok_range", &place, "and ok_equals exclude each other");
                OkTest::Present
            }
        };
        at.map(|at| Self { at, test })
    }

    fn holds(&self, element: &Element<'_>) -> bool {
        let value = element.find(&self.at).filter(|value| !value.is_null());
        match (&self.test, value) {
            (OkTest::Absent, value) => value.is_none(),
            (OkTest::Present, value) => value.is_some(),
            (OkTest::Equals { or_absent, .. } | OkTest::Range { or_absent, .. }, None) => *or_absent,
            (OkTest::Equals { value, .. }, Some(said)) => plain(said) == *value,
            (OkTest::Range { from, to, .. }, Some(said)) => whole_number(said).is_some_and(|n| (*from..=*to).contains(&n)),
        }
    }
}
