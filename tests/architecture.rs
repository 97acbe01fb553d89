//! The rules of the house, kept by a test instead of by memory (ARCHITECTURE.md, "What may not name what").
//!
//! A rule about names is one row of `RULES`: which words, where they are looked for, which places may use them, and why.
//! The few rules that are not about names (sizes, head comments, pairs of migrations) are a test each, below.
//! Nothing here uses the crate: the tree is read as text, so this suite runs even where the crate does not compile.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

/// What of a file a rule reads.
#[derive(Clone, Copy, PartialEq)]
enum Reads {
    /// Code without comments and without texts in quotes.
    Code,
    /// As `Code`, without the unit tests at the end of a file: a test may do what the product may not.
    Product,
    /// The file as it is written.
    Text,
}

struct Rule {
    /// Names or paths, matched whole; one that ends in `*` matches whatever follows.
    words: &'static [&'static str],
    reads: Reads,
    /// Files or folders the rule is about; `.` is the whole tree.
    within: &'static [&'static str],
    /// Files or folders of these that it leaves alone.
    except: &'static [&'static str],
    why: &'static str,
}

#[rustfmt::skip]
const RULES: &[Rule] = &[
    Rule { words: &["sqlx"], reads: Reads::Code, within: &["src"], except: &["src/db"],
        why: "only the database room knows the driver; elsewhere a statement is a function of src/db" },
    Rule { words: &["actix*"], reads: Reads::Code, within: &["src"],
        except: &["src/http", "src/realtime", "src/simulator", "src/app.rs"],
        why: "the web framework stays at the edge: handlers and sockets translate, everything behind them is plain Rust" },
    Rule { words: &["reqwest*"], reads: Reads::Code, within: &["src"], except: &["src/outbound.rs"],
        why: "one client for all calls out: its time limits, size caps and address checks must hold everywhere" },
    Rule { words: &["lettre"], reads: Reads::Code, within: &["src"], except: &["src/alerts/mail.rs"],
        why: "one mailer: its time limit and its rule for TLS must hold for every mail" },
    Rule { words: &["async", "await", "tokio", "futures_util", "sqlx", "actix*", "reqwest*"], reads: Reads::Code,
        within: &["src/domain"], except: &[],
        why: "the domain is pure values and rules; what waits, stores or calls belongs to the pipeline" },
    Rule { words: &["SystemTime", "time::Instant", "Instant::now", "crate::clock", "fastrand", "getrandom"], reads: Reads::Code,
        within: &["src/domain"], except: &[],
        why: "time and chance are parameters of the domain, so that a test can choose them" },
    Rule { words: &["async", "await", "tokio", "futures_util", "sqlx", "actix*", "reqwest*"], reads: Reads::Code,
        within: &["src/marketplaces"], except: &[],
        why: "an adapter builds requests and reads answers as values; the core sends, limits, retries and stores" },
    Rule { words: &["SystemTime", "time::Instant", "Instant::now", "crate::clock"], reads: Reads::Code,
        within: &["src/marketplaces"], except: &[],
        why: "an adapter is told the time, so that its fixtures give the same bytes every day" },
    Rule { words: &["SystemTime::now"], reads: Reads::Code, within: &["src"], except: &["src/clock.rs"],
        why: "there is one place that reads time; everything else takes it as a parameter, so that tests can move it" },
    // Sockets and fake shops are paced by the runtime's own timer, which a test can pause; std's is refused there by clippy.toml.
    Rule { words: &["Instant::now"], reads: Reads::Code, within: &["src"],
        except: &["src/clock.rs", "src/realtime", "src/simulator"],
        why: "there is one place that reads time; everything else takes it as a parameter, so that tests can move it" },
    Rule { words: &["tokio::spawn", "tokio::task::spawn"], reads: Reads::Product, within: &["src"], except: &["src/workers.rs"],
        why: "a task nobody owns is not stopped, not counted and loses its panic: use the spawner of src/workers.rs" },
    Rule { words: &["crate::simulator", "stockhub::simulator"], reads: Reads::Code, within: &["src"],
        except: &["src/simulator", "src/cli", "src/bench"],
        why: "fake marketplaces are never on the production path: only commands, measurements and tests start them" },
    // Written in two halves, or this file would break the rule.
    Rule { words: &[concat!("/wo", "rk/*"), concat!("/fa", "rm/*"), concat!("/tmp/", "wt*")], reads: Reads::Text,
        within: &["."], except: &[],
        why: "a path of one machine means nothing on another" },
];

/// A file may be longer than this when it has a good reason; the list is printed so that somebody looks.
const LINES_SOFT_MAX: usize = 400;
/// A file longer than this is more than one thing.
const LINES_HARD_MAX: usize = 600;
/// A file this short (`fn main() {}`) has nothing to explain yet.
const LINES_OF_A_STUB: usize = 3;

/// Folders that hold no text of ours, wherever they stand.
const FOLDERS_NOT_READ: [&str; 4] = [".git", "target", "node_modules", "artifacts"];

#[test]
fn names_stay_in_their_rooms() -> io::Result<()> {
    let mut faults = Vec::new();
    for file in tree()? {
        for rule in RULES.iter().filter(|rule| rule.covers(&file.path)) {
            faults.extend(rule.faults(&file));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    Ok(())
}

#[test]
fn every_rule_catches_what_it_forbids() {
    for rule in RULES {
        for word in rule.words {
            let path = format!("{}/made_up.rs", rule.within.first().copied().unwrap_or("."));
            let text = format!("//! Head.\n\nlet it = {}::thing();\n", word.trim_end_matches('*'));
            let file = File { path, text };
            assert_eq!(rule.faults(&file).len(), 1, "the rule against {word} did not see it in {:?}", file.text);
        }
    }
}

#[test]
fn comments_quotes_and_longer_names_are_not_code() {
    let text = "// sqlx\n/* sqlx /* sqlx */ sqlx */ let a = \"sqlx \\\" sqlx\"; let b = r#\"sqlx \" sqlx\"#;\n\
                let quote = '\"'; let tick = '\\''; fn f<'sqlx>(x: &'sqlx str) {} let my_sqlx = sqlx_like;\n";
    let code = code_of(text);
    assert_eq!(code.lines().count(), text.lines().count(), "a fault must name the right line");
    assert_eq!(code.lines().filter(|line| mentions(line, "sqlx")).count(), 1, "only the lifetime is left: {code}");
    assert!(mentions("use actix_web::web;", "actix*") && !mentions("use actix_web::web;", "actix"));
    assert!(!mentions("Fulfilment::Instant", "Instant::now"));
    assert_eq!(product_of("fn a() {}\n#[cfg(test)]\n#[expect(x)]\nmod tests {\n    fn b() {}\n}\n"), "fn a() {}\n");
}

#[test]
fn every_file_says_what_it_is() -> io::Result<()> {
    let faults: Vec<String> = tree()?
        .iter()
        // Unit tests in a file of their own belong to the file beside them, which says what both are about.
        .filter(|file| file.is_rust_under("src") && !file.is_unit_tests() && file.lines() > LINES_OF_A_STUB)
        .filter(|file| !file.text.starts_with("//!"))
        .map(|file| format!("{}:1: no `//!` head comment: module docs are how a newcomer finds the way", file.path))
        .collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    Ok(())
}

#[test]
fn files_are_small_enough_to_hold_in_mind() -> io::Result<()> {
    let mut faults = Vec::new();
    for file in tree()?.iter().filter(|file| file.is_rust_under("src") || file.is_rust_under("tests")) {
        let lines = file.lines();
        if lines > LINES_HARD_MAX {
            faults.push(format!("{}:{lines}: over {LINES_HARD_MAX} lines: a file is one thing; split it", file.path));
        } else if lines > LINES_SOFT_MAX {
            println!("{}: {lines} lines, over the soft cap of {LINES_SOFT_MAX}", file.path);
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    Ok(())
}

#[test]
fn migrations_come_in_pairs() -> io::Result<()> {
    let [sqlite, postgres] = ["sqlite", "postgres"].map(migration_names);
    let (sqlite, postgres) = (sqlite?, postgres?);
    let mut faults = Vec::new();
    for name in sqlite.symmetric_difference(&postgres) {
        let (has, lacks) = if sqlite.contains(name) { ("sqlite", "postgres") } else { ("postgres", "sqlite") };
        faults.push(format!("migrations/{has}/{name}:1: has no pair in migrations/{lacks}: both databases hold the same schema"));
    }
    for name in sqlite.union(&postgres) {
        if !is_migration_name(name) {
            faults.push(format!("migrations/*/{name}:1: is not NNNN_name.sql: the number is the order in which they run"));
        }
    }
    let numbers: BTreeSet<&str> = sqlite.iter().filter_map(|name| name.get(..4)).collect();
    if numbers.len() != sqlite.len() {
        faults.push("migrations/sqlite:1: two migrations share a number: their order would be chance".to_owned());
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    Ok(())
}

// ---- how a rule reads a file ------------------------------------------------------------------------------------------

impl Rule {
    /// Rules about code read Rust; rules about text read everything.
    fn covers(&self, path: &str) -> bool {
        let readable = self.reads == Reads::Text || path.ends_with(".rs");
        let within = self.within.iter().any(|place| is_under(path, place));
        readable && within && !self.except.iter().any(|place| is_under(path, place))
    }

    fn faults(&self, file: &File) -> Vec<String> {
        let read = match self.reads {
            Reads::Text => file.text.clone(),
            Reads::Code => code_of(&file.text),
            Reads::Product if file.is_unit_tests() => String::new(),
            Reads::Product => product_of(&code_of(&file.text)),
        };
        let mut faults = Vec::new();
        for (index, line) in read.lines().enumerate() {
            for word in self.words.iter().filter(|word| mentions(line, word)) {
                faults.push(format!("{}:{}: names `{word}`: {}", file.path, index + 1, self.why));
            }
        }
        faults
    }
}

fn is_under(path: &str, place: &str) -> bool {
    place == "." || path == place || path.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a line holds the word as a whole name, or as the beginning of one where the word ends in `*`.
fn mentions(line: &str, word: &str) -> bool {
    let (stem, any_ending) = word.strip_suffix('*').map_or((word, false), |stem| (stem, true));
    let continues = |next: Option<char>| next.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(stem).any(|(at, _)| {
        let (before, after) = (line[..at].chars().next_back(), line[at + stem.len()..].chars().next());
        !continues(before) && (any_ending || !continues(after))
    })
}

/// Code up to the `#[cfg(test)] mod … {` that closes a file.
fn product_of(code: &str) -> String {
    let lines: Vec<&str> = code.lines().collect();
    let begins_tests = |at: usize| {
        let following = lines[at..].iter().map(|line| line.trim()).find(|line| !line.starts_with("#["));
        lines[at].trim() == "#[cfg(test)]" && following.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
    };
    let end = (0..lines.len()).find(|at| begins_tests(*at)).unwrap_or(lines.len());
    lines[..end].iter().flat_map(|line| [*line, "\n"]).collect()
}

/// The text with every comment, string and character literal blanked. Lines keep their numbers.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        if let Some(end) = end_of_blank(&chars, at) {
            code.push(' ');
            code.extend(chars[at..end].iter().filter(|c| **c == '\n'));
            at = end;
        } else {
            code.push(chars[at]);
            at += 1;
        }
    }
    code
}

/// Where the comment or literal that begins at `at` ends; `None` when none begins there.
fn end_of_blank(chars: &[char], at: usize) -> Option<usize> {
    match &chars[at..] {
        ['/', '/', rest @ ..] => Some(at + 2 + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => Some(end_of_comment(chars, at)),
        ['"', ..] => Some(end_of_quote(chars, at, '"')),
        ['r', '"' | '#', ..] => end_of_raw(chars, at),
        // A lifetime has no closing quote; a character has one right behind it, or an escape.
        ['\'', '\\', ..] => Some(end_of_quote(chars, at, '\'')),
        ['\'', _, '\'', ..] => Some(at + 3),
        _ => None,
    }
}

fn end_of_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = start;
    while at < chars.len() {
        match &chars[at..] {
            ['/', '*', ..] => depth += 1,
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
    }
    chars.len()
}

fn end_of_quote(chars: &[char], start: usize, quote: char) -> usize {
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// The end of `r"…"` or `r#"…"#`; `None` for a raw name such as `r#type`.
fn end_of_raw(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let closes = |at: usize| chars[at] == '"' && chars[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    Some((open + 1..chars.len()).find(|at| closes(*at)).map_or(chars.len(), |at| at + 1 + hashes))
}

// ---- the tree ---------------------------------------------------------------------------------------------------------

struct File {
    /// From the top of the tree, with `/`.
    path: String,
    text: String,
}

impl File {
    fn lines(&self) -> usize {
        self.text.lines().count()
    }

    fn is_rust_under(&self, place: &str) -> bool {
        self.path.ends_with(".rs") && is_under(&self.path, place)
    }

    /// A file that is a test module as a whole: `tests.rs`, `…_tests.rs`, or a file in a folder `tests`.
    fn is_unit_tests(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.ends_with("_tests.rs") || self.path.contains("/tests/")
    }
}

fn tree() -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    read_folder(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut files)?;
    Ok(files)
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // A database somebody ran here is not part of the tree.
        if FOLDERS_NOT_READ.contains(&name.as_str()) || name.ends_with(".db") || name.contains(".db-") {
            continue;
        }
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            read_folder(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() {
            files.push(File { path, text: String::from_utf8_lossy(&fs::read(entry.path())?).into_owned() });
        }
    }
    Ok(())
}

fn migration_names(database: &str) -> io::Result<BTreeSet<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(database);
    fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect()
}

fn is_migration_name(name: &str) -> bool {
    let Some((number, rest)) = name.split_once('_') else { return false };
    let Some(words) = rest.strip_suffix(".sql") else { return false };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    number.len() == 4 && number.chars().all(|c| c.is_ascii_digit()) && !words.is_empty() && words.chars().all(plain)
}
