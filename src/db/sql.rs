//! One statement, one text, two databases.
//!
//! A statement is written once, with a few tokens where the dialects differ in words but not in sense; each is rendered once per
//! process and dialect. Where the sense differs too, both texts stand side by side (`Sql::split`). The prepare-all test walks
//! every list `ALL` on both migrated databases, so a misspelt column is named before anything runs.
//!
//! | token | SQLite | PostgreSQL |
//! |---|---|---|
//! | `{rows}` | `jsonb_each($1) AS r` | `jsonb_array_elements(CAST($1 AS jsonb)) AS r(value)` |
//! | `{id N}` `{bytes N}` `{int N}` `{text N}` `{bool N}` | column N of such a row, typed | the same |
//! | `{ids $N}` `{texts $N}` | a one-column subquery over a JSON array | the same |
//! | `{made K, T, N}` | a UUIDv7 of kind K, made at T (microseconds), number N | the same |
//! | `{blob}` | `BLOB` | `BYTEA` |
//! | `{like}` | `LIKE`: the case of ASCII letters does not count | `ILIKE`: no letter's case counts that the locale knows |
//! | `{for update}` | nothing: one writer | `FOR NO KEY UPDATE`: who writes a row that refers to it need not wait |

use std::sync::OnceLock;

use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// A named statement.
pub struct Sql {
    pub name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
    rendered: OnceLock<[&'static str; 2]>,
}

impl Sql {
    pub const fn both(name: &'static str, text: &'static str) -> Self {
        Self { name, sqlite: text, postgres: text, rendered: OnceLock::new() }
    }

    /// For the few whose sense differs by database: say which clause, in a comment at the statement.
    pub const fn split(name: &'static str, sqlite: &'static str, postgres: &'static str) -> Self {
        Self { name, sqlite, postgres, rendered: OnceLock::new() }
    }

    pub fn text(&self, dialect: Dialect) -> &'static str {
        let both = self.rendered.get_or_init(|| {
            // A statement is rendered once per process: the texts live as long as it does.
            let keep = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
            [keep(render(self.sqlite, Dialect::Sqlite)), keep(render(self.postgres, Dialect::Postgres))]
        });
        match dialect {
            Dialect::Sqlite => both[0],
            Dialect::Postgres => both[1],
        }
    }
}

/// A pattern for `LIKE … ESCAPE '!'`: anything that holds this text.
pub fn holding(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(letter);
    }
    pattern + "%"
}

fn render(text: &str, dialect: Dialect) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let close = rest[open..].find('}').map_or(rest.len(), |at| open + at);
        out.push_str(&rest[..open]);
        out.push_str(&token(&rest[open + 1..close], dialect));
        rest = rest.get(close + 1..).unwrap_or("");
    }
    out.push_str(rest);
    out
}

fn token(token: &str, dialect: Dialect) -> String {
    let lite = dialect == Dialect::Sqlite;
    let (word, argument) = token.split_once(' ').unwrap_or((token, ""));
    let column = format!("r.value->>{argument}");
    match (word, lite) {
        // The binary form: every column is then found in a row without reading its text again.
        ("rows", true) => "jsonb_each($1) AS r".into(),
        ("rows", false) => "jsonb_array_elements(CAST($1 AS jsonb)) AS r(value)".into(),
        ("id" | "bytes", true) => format!("unhex({column})"),
        ("id", false) => format!("CAST({column} AS UUID)"),
        ("bytes", false) => format!("decode({column}, 'hex')"),
        ("int", _) => format!("CAST({column} AS BIGINT)"),
        ("bool", true) | ("text", _) => format!("({column})"),
        ("bool", false) => format!("CAST({column} AS BOOLEAN)"),
        ("ids", true) => format!("(SELECT unhex(value) FROM json_each({argument}))"),
        ("ids", false) => format!("(SELECT CAST(value AS UUID) FROM jsonb_array_elements_text(CAST({argument} AS jsonb)))"),
        ("texts", true) => format!("(SELECT value FROM json_each({argument}))"),
        ("texts", false) => format!("(SELECT value FROM jsonb_array_elements_text(CAST({argument} AS jsonb)))"),
        ("blob", true) => "BLOB".into(),
        ("blob", false) => "BYTEA".into(),
        ("made", _) => made(argument, lite),
        ("like", true) => "LIKE".into(),
        ("like", false) => "ILIKE".into(),
        ("for", true) => String::new(),
        ("for", false) => format!("FOR NO KEY {}", argument.to_uppercase()),
        // An unknown token makes a statement that no database prepares: the prepare-all test names it.
        _ => format!("<unknown token {token}>"),
    }
}

/// An id whose parts are worked out by the database.
fn made(argument: &str, lite: bool) -> String {
    let parts: Vec<&str> = argument.split(", ").collect();
    let [kind, at, number] = parts[..] else { return format!("<a made id has three parts, not {argument}>") };
    if lite {
        format!("unhex(printf('%012x7%03x8000%012x', ({at}) / 1000, {kind}, {number}))")
    } else {
        format!(
            "CAST(lpad(to_hex(CAST({at} AS BIGINT) / 1000), 12, '0') || '7' || lpad(to_hex({kind}), 3, '0') || '8000' || \
             lpad(to_hex(CAST({number} AS BIGINT)), 12, '0') AS UUID)"
        )
    }
}

/// Rows for a set statement, as the one JSON text that both databases unpack.
#[derive(Default)]
pub struct Rows {
    text: String,
    count: usize,
}

pub struct Row<'a>(&'a mut String);

impl Rows {
    pub fn new() -> Self {
        Self { text: String::from("["), count: 0 }
    }

    pub fn push(&mut self, fill: impl FnOnce(&mut Row<'_>)) {
        self.text.push_str(if self.count == 0 { "[" } else { ",[" });
        fill(&mut Row(&mut self.text));
        self.text.push(']');
        self.count += 1;
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn finish(mut self) -> String {
        if self.text.is_empty() {
            self.text.push('[');
        }
        self.text.push(']');
        self.text
    }
}

/// A JSON array of ids, for `{ids $N}`.
pub fn ids(list: impl IntoIterator<Item = Uuid>) -> String {
    let mut rows = String::from("[");
    for id in list {
        Row(&mut rows).id(id);
    }
    rows.push(']');
    rows
}

/// A JSON array of texts, for `{texts $N}`.
pub fn texts<'a>(list: impl IntoIterator<Item = &'a str>) -> String {
    let mut rows = String::from("[");
    for text in list {
        Row(&mut rows).text(text);
    }
    rows.push(']');
    rows
}

impl Row<'_> {
    fn next(&mut self) -> &mut String {
        if !self.0.ends_with('[') {
            self.0.push(',');
        }
        self.0
    }

    pub fn id(&mut self, id: impl Into<Uuid>) -> &mut Self {
        let mut buffer = Uuid::encode_buffer();
        let hex: &str = id.into().simple().encode_lower(&mut buffer);
        let out = self.next();
        out.push('"');
        out.push_str(hex);
        out.push('"');
        self
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let out = self.next();
        out.reserve(bytes.len() * 2 + 2);
        out.push('"');
        for byte in bytes {
            out.push(DIGITS[usize::from(byte >> 4)] as char);
            out.push(DIGITS[usize::from(byte & 15)] as char);
        }
        out.push('"');
        self
    }

    pub fn int(&mut self, value: i64) -> &mut Self {
        use std::fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = write!(self.next(), "{value}");
        self
    }

    /// NUL cannot be stored as text by PostgreSQL; it becomes the replacement character. Raw bytes are kept elsewhere.
    pub fn text(&mut self, text: &str) -> &mut Self {
        let out = self.next();
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\0' => out.push('\u{fffd}'),
                c if u32::from(c) < 0x20 => {
                    use std::fmt::Write as _;
                    let _ = write!(out, "\\u{:04x}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        out.push('"');
        self
    }

    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.next().push_str(if value { "true" } else { "false" });
        self
    }

    pub fn null(&mut self) -> &mut Self {
        self.next().push_str("null");
        self
    }

    pub fn opt_id(&mut self, id: Option<impl Into<Uuid>>) -> &mut Self {
        match id {
            Some(id) => self.id(id),
            None => self.null(),
        }
    }

    pub fn opt_int(&mut self, value: Option<i64>) -> &mut Self {
        match value {
            Some(value) => self.int(value),
            None => self.null(),
        }
    }

    pub fn opt_text(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }
}

/// Declares named statements and the list `ALL` of them. `both` is the rule; `split` takes the SQLite text, then PostgreSQL's.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $kind:ident($($text:expr),+ $(,)?);)*) => {
        $($(#[$doc])* pub(super) static $name: $crate::db::sql::Sql =
            $crate::db::sql::Sql::$kind(concat!(module_path!(), "::", stringify!($name)), $($text),+);)*
        pub(super) static ALL: &[&$crate::db::sql::Sql] = &[$(&$name),*];
    };
}
pub(super) use statements;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_render_for_both() {
        let sql = Sql::both("t", "INSERT INTO t (a, b) SELECT {id 0}, {int 1} FROM {rows} WHERE a IN {ids $2} {for update}");
        assert_eq!(
            sql.text(Dialect::Sqlite),
            "INSERT INTO t (a, b) SELECT unhex(r.value->>0), CAST(r.value->>1 AS BIGINT) FROM jsonb_each($1) AS r WHERE a IN \
             (SELECT unhex(value) FROM json_each($2)) "
        );
        assert!(sql.text(Dialect::Postgres).ends_with("FOR NO KEY UPDATE"));
    }

    #[test]
    fn rows_are_json() {
        let mut rows = Rows::new();
        rows.push(|r| {
            r.id(Uuid::nil()).text("a\"\\\n\0é").int(-5).opt_int(None).bool(true).bytes(&[0, 255]);
        });
        rows.push(|r| {
            r.int(1);
        });
        let text = rows.finish();
        let back: Result<serde_json::Value, _> = serde_json::from_str(&text);
        assert_eq!(
            back.ok(),
            Some(serde_json::json!([["00000000000000000000000000000000", "a\"\\\n\u{fffd}é", -5, null, true, "00ff"], [1]]))
        );
    }
}
