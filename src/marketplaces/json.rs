//! JSON from strangers, read strictly: bounded depth and size, and no key twice (two readers of `{"change":-1,"change":-9}` would
//! not agree). Fields are taken with errors that name them.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::Unreadable;
use crate::domain::quantity::QUANTITY_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub depth: usize,
    pub nodes: usize,
}

/// Reads a whole body as one JSON value.
pub fn parse(body: &[u8], limits: Limits) -> Result<Value, Unreadable> {
    // Some senders put a byte order mark first; it means nothing.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.is_empty() {
        return Err(Unreadable::new("empty-body", "the body is empty"));
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| Unreadable::new("invalid-utf8", format!("not UTF-8 at byte {}", error.valid_up_to())))?;
    let mut budget = limits.nodes;
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: limits.depth, nodes: &mut budget }.deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        let message = error.to_string();
        let code = ["duplicate-key", "too-deep", "too-many-items"].into_iter().find(|code| message.starts_with(code));
        Unreadable::new(code.unwrap_or("invalid-json"), message)
    })
}

struct Strict<'n> {
    depth: usize,
    nodes: &'n mut usize,
}

impl Strict<'_> {
    fn inner<E: serde::de::Error>(&mut self) -> Result<Strict<'_>, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("too-deep: nested deeper than allowed"))?;
        *self.nodes = self.nodes.checked_sub(1).ok_or_else(|| E::custom("too-many-items: more values than allowed"))?;
        Ok(Strict { depth, nodes: self.nodes })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self.inner()?)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self.inner()?)?;
            if object.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format!("duplicate-key: {key:?} stands twice in one object")));
            }
        }
        Ok(Value::Object(object))
    }
}

/// An object and where in the body it stands, so that an error can say `/items/2/quantity`.
#[derive(Clone, Copy)]
pub struct Fields<'v> {
    object: &'v Map<String, Value>,
    path: At<'v>,
}

#[derive(Clone, Copy)]
enum At<'v> {
    Root,
    Item(&'v str, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Item(list, index) => write!(f, "/{list}/{index}"),
        }
    }
}

impl<'v> Fields<'v> {
    pub fn root(value: &'v Value) -> Result<Self, Unreadable> {
        let object = value.as_object().ok_or_else(|| Unreadable::new("invalid-field", "the body must be a JSON object"))?;
        Ok(Self { object, path: At::Root })
    }

    fn wrong(&self, field: &str, what: &str) -> Unreadable {
        Unreadable::new("invalid-field", format!("{}/{field} {what}", self.path))
    }

    fn present(&self, field: &str) -> Option<&'v Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    /// A text of 1 to 256 characters without control characters.
    pub fn text(&self, field: &str) -> Result<Option<&'v str>, Unreadable> {
        let Some(value) = self.present(field) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.wrong(field, "must be text"))?;
        if text.is_empty() || text.chars().count() > 256 || text.chars().any(char::is_control) {
            return Err(self.wrong(field, "must have 1 to 256 characters, none of them control characters"));
        }
        Ok(Some(text))
    }

    /// Text, or a whole number taken as text: ids come both ways.
    pub fn id(&self, field: &str) -> Result<Option<String>, Unreadable> {
        match self.present(field) {
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(Some(number.to_string())),
            Some(Value::Number(_)) => Err(self.wrong(field, "must be text or a whole number")),
            _ => Ok(self.text(field)?.map(str::to_owned)),
        }
    }

    /// A whole number of at most a billion either way.
    pub fn whole(&self, field: &str) -> Result<Option<i64>, Unreadable> {
        let Some(value) = self.present(field) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number,
            _ => return Err(self.wrong(field, "must be a whole number")),
        };
        match number.as_i64() {
            Some(whole) if (-QUANTITY_MAX..=QUANTITY_MAX).contains(&whole) => Ok(Some(whole)),
            Some(_) => {
                Err(Unreadable::new("out-of-range", format!("{}/{field} must be between -1000000000 and 1000000000", self.path)))
            }
            None if number.is_f64() && number.as_f64().is_some_and(|n| n.fract() != 0.0) => {
                Err(self.wrong(field, "must be a whole number"))
            }
            None => {
                Err(Unreadable::new("out-of-range", format!("{}/{field} must be a whole number of at most a billion", self.path)))
            }
        }
    }

    pub fn bool(&self, field: &str) -> Result<Option<bool>, Unreadable> {
        match self.present(field) {
            None => Ok(None),
            Some(value) => value.as_bool().map(Some).ok_or_else(|| self.wrong(field, "must be true or false")),
        }
    }

    /// A list of objects.
    pub fn list(&self, field: &'v str) -> Result<Option<Vec<Fields<'v>>>, Unreadable> {
        let Some(value) = self.present(field) else { return Ok(None) };
        let list = value.as_array().ok_or_else(|| self.wrong(field, "must be a list"))?;
        let objects = list.iter().enumerate().map(|(index, item)| {
            let path = At::Item(field, index);
            let object = item.as_object().ok_or_else(|| Unreadable::new("invalid-field", format!("{path} must be an object")))?;
            Ok(Fields { object, path })
        });
        objects.collect::<Result<_, _>>().map(Some)
    }

    /// The value as it stands, for what may be written in several ways.
    pub fn raw(&self, field: &str) -> Option<&'v Value> {
        self.present(field)
    }

    pub fn missing(&self, field: &str) -> Unreadable {
        self.wrong(field, "is missing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { depth: 4, nodes: 20 };

    fn code(body: &str) -> Result<Value, &'static str> {
        parse(body.as_bytes(), LIMITS).map_err(|error| error.code)
    }

    #[test]
    fn names_what_is_wrong() {
        assert_eq!(code(""), Err("empty-body"));
        assert_eq!(code("{\"a\":1,}"), Err("invalid-json"));
        assert_eq!(code("{\"a\":1} {}"), Err("invalid-json"));
        assert_eq!(code("<html>"), Err("invalid-json"));
        assert_eq!(code("{\"a\":1,\"a\":1}"), Err("duplicate-key"));
        assert_eq!(code("[[[[[1]]]]]"), Err("too-deep"));
        assert_eq!(code(&format!("[{}1]", "1,".repeat(30))), Err("too-many-items"));
        assert_eq!(code(&"[".repeat(100_000)), Err("too-deep"));
        assert_eq!(parse(b"\xff\xfe", LIMITS).unwrap_err().code, "invalid-utf8");
        assert_eq!(code("\u{feff}{\"a\":1}"), Ok(serde_json::json!({"a": 1})));
        assert_eq!(code("{\"a\":1e999}"), Err("invalid-json"));
    }

    #[test]
    fn numbers_are_whole_and_in_range() {
        let value = parse(br#"{"a":5,"b":5.5,"c":"5","d":3000000000,"e":null,"f":-0}"#, LIMITS).unwrap();
        let fields = Fields::root(&value).unwrap();
        assert_eq!(fields.whole("a"), Ok(Some(5)));
        assert_eq!(fields.whole("b").unwrap_err().message, "/b must be a whole number");
        assert_eq!(fields.whole("c").unwrap_err().code, "invalid-field");
        assert_eq!(fields.whole("d").unwrap_err().code, "out-of-range");
        assert_eq!(fields.whole("e"), Ok(None));
        assert_eq!(fields.whole("f").unwrap_err().code, "out-of-range");
    }
}
