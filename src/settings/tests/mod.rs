mod checks;
mod marketplaces;

use super::*;

const GOOD: &str = "T9x!kd82LmQz-71bvWq0sYpR4-uJ5hNc";

fn env() -> Env {
    [
        ("UZUM_SECRET", GOOD),
        ("OTHER_SECRET", "Zq7-wLr2kX9vTn4bYc6mHs8pJd3fGa1e"),
        ("PATH_SECRET", "Bw5-xTq8nM3rKz7vHc2yFj9sLd6gPa4e"),
        ("WEAK_SECRET", "changeme"),
        ("BLANK", ""),
    ]
    .into_iter()
    .collect()
}

fn with(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().copied().collect()
}

fn load(text: &str) -> Result<(Settings, Vec<Warning>), SettingsError> {
    Settings::from_texts(&[("hub.toml", text)], &env())
}

fn faults(text: &str) -> Vec<String> {
    load(text).unwrap_err().faults.iter().map(Fault::to_string).collect()
}

/// The one fault of `text`.
fn fault(text: &str) -> String {
    let all = faults(text);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.into_iter().next().unwrap()
}

fn warnings(text: &str) -> Vec<String> {
    load(text).unwrap().1.iter().map(Warning::to_string).collect()
}

fn assert_has(lines: &[String], part: &str) {
    assert!(lines.iter().any(|line| line.contains(part)), "{part:?} is not in {lines:#?}");
}

fn shop(more: &str) -> String {
    format!("[[marketplaces]]\ncode = \"uzum\"\nadapter = \"generic\"\n{more}")
}

#[test]
fn the_defaults_load_without_a_word() {
    let (settings, warnings) = Settings::from_texts(&[], &Env::default()).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(settings.server.bind.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.ingest.body_max_bytes, 262_144);
    assert_eq!(settings.push.backoff_cap().as_secs(), 15);
    assert_eq!(settings.realtime.ring, 65_536);
    assert_eq!(settings.rule.max_listed, None);
    assert!(settings.security.allow_private_targets, "bound to loopback");
    assert!(settings.bus.url.is_none() && settings.auth.bootstrap_admin_token.is_none());
    assert!(settings.marketplaces.is_empty());
}

/// That every key is read, and every key read is there, follows from loading: unread keys and missing keys are both faults.
#[test]
fn every_default_is_explained() {
    let mut above = "";
    let mut keys = 0;
    for line in DEFAULTS.lines() {
        if !line.starts_with('#') && line.contains(" = ") {
            assert!(above.starts_with("# ") && above.len() > 20, "{line} has no comment");
            keys += 1;
        }
        above = line;
    }
    let known = Layers::new().known;
    assert_eq!(keys, known.len());
    assert!(known.contains("realtime.ring"));
}

/// The commented example in the defaults must stay true.
#[test]
fn the_example_marketplace_loads() {
    let example: Vec<&str> =
        DEFAULTS.lines().skip_while(|line| *line != "# [[marketplaces]]").map(|line| line.trim_start_matches("# ")).collect();
    let text =
        example.join("\n").replace("file:/run/secrets/uzum_old", "env:OTHER_SECRET").replace("env:UZUM_PATH", "env:PATH_SECRET");
    let (settings, warnings) = load(&text).unwrap();
    assert_eq!(warnings, []);
    let uzum = settings.marketplaces.first().unwrap();
    assert_eq!((uzum.code.as_str(), uzum.stock_feed), ("uzum", Some(StockFeed::Delta)));
    assert_eq!(uzum.account.get("read"), Some(&serde_json::json!(true)));
    assert_eq!(uzum.secrets.get("webhook_secret").map(Vec::len), Some(2));
    assert_eq!(uzum.secret("webhook_secret").unwrap().expose(), GOOD);
    assert_eq!(uzum.policy.clock_tolerance.unwrap().as_secs(), 2);
    assert_eq!(uzum.policy.rule.max_listed, Some(Bound::At(50)));
    assert_eq!(uzum.policy.own_cancel_restock, Some(OwnCancelRestock::Unknown));
}

#[test]
fn files_in_order_then_the_environment() {
    let first = "[server]\nworkers = 2\nbacklog = 100\n[push]\nbatch_max = 10\n";
    let second = "[server]\nworkers = 3\n";
    let env = with(&[
        ("STOCKHUB__PUSH__BATCH_MAX", "20"),
        ("STOCKHUB__SERVER__BIND", "127.0.0.1:0"),
        ("STOCKHUB__REALTIME__ALLOWED_ORIGINS", "[\"https://a.example\", \"https://b.example\"]"),
        ("STOCKHUB__SERVER__TRUSTED_PROXIES", "10.0.0.0/8"),
        ("STOCKHUB__BUS__PREFIX", "4711"),
        ("STOCKHUB__RULE__MAX_LISTED", "7"),
        ("STOCKHUB_ADMIN_TOKEN", "is not configuration"),
    ]);
    let (settings, _) = Settings::from_texts(&[("a.toml", first), ("b.toml", second)], &env).unwrap();
    assert_eq!((settings.server.workers, settings.server.backlog, settings.push.batch_max), (3, 100, 20));
    assert_eq!(settings.server.bind.port(), 0);
    assert_eq!(settings.realtime.allowed_origins, ["https://a.example", "https://b.example"]);
    assert_eq!(settings.server.trusted_proxies, [Cidr::parse("10.0.0.0/8").unwrap()]);
    assert_eq!(settings.bus.prefix, "4711", "text where text is asked for");
    assert_eq!(settings.rule.max_listed, Some(7));
}

#[test]
fn the_environment_is_held_to_the_same_rules() {
    let env = with(&[
        ("STOCKHUB__SERVER__BIMD", "x"),
        ("STOCKHUB__SERVER__WORKERS", "many"),
        ("STOCKHUB__SERVER", "x"),
        ("STOCKHUB__A__B__C", "x"),
        ("STOCKHUB__server__backlog", "1"),
        ("STOCKHUB__MARKETPLACES__UZUM", "x"),
        ("STOCKHUB__REALTIME__ALLOWED_ORIGINS", "[\"https://a.example\""),
    ]);
    let all: Vec<String> = Settings::from_texts(&[], &env).unwrap_err().faults.iter().map(Fault::to_string).collect();
    assert_eq!(all.len(), 7, "{all:#?}");
    assert_has(&all, "environment variable STOCKHUB__SERVER__BIMD: server.bimd: unknown key; did you mean bind?");
    assert_has(&all, "environment variable STOCKHUB__SERVER__WORKERS: server.workers: expected a whole number, found text");
    assert_has(&all, "STOCKHUB__SERVER: must have the form STOCKHUB__SECTION__KEY");
    assert_has(&all, "is written STOCKHUB__SERVER__BACKLOG");
    assert_has(&all, "realtime.allowed_origins: is not a TOML list");
}

#[test]
fn files_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let reason = |path: std::path::PathBuf| {
        let error = Settings::load(&[&path], &Env::default()).unwrap_err();
        let fault = error.faults.first().unwrap().clone();
        assert_eq!(fault.source, path.to_string_lossy());
        fault
    };
    assert_eq!(reason(folder.path().join("absent.toml")).message, "no such file");
    assert_eq!(reason(folder.path().to_owned()).message, "is a directory, not a file");
    let latin = reason(write("latin.toml", b"# caf\xe9\n"));
    assert_eq!((latin.message.as_str(), latin.line), ("is not UTF-8 text", Some(1)));
    assert!(reason(write("large.toml", &vec![b'#'; 1_048_577])).message.contains("larger than 1048576 bytes"));
    assert!(Settings::load(&[write("empty.toml", b"")], &Env::default()).is_ok());
    assert!(Settings::load(&[write("bom.toml", b"\xef\xbb\xbf[server]\r\nworkers = 1\r\n")], &Env::default()).is_ok());
    assert!(Settings::load(&[write("full.toml", &vec![b'\n'; 1_048_576])], &Env::default()).is_ok());
    // One bad file does not hide the faults of the next.
    let files = [folder.path().join("absent.toml"), write("bad.toml", b"[server]\nworkers = -1\n")];
    assert_eq!(Settings::load(&files, &Env::default()).unwrap_err().faults.len(), 2);
}

#[test]
fn unknown_keys_are_faults_with_a_suggestion() {
    assert_eq!(fault("[server]\n\nbimd = \"127.0.0.1:1\"\n"), "hub.toml:3: server.bimd: unknown key; did you mean bind?");
    assert_eq!(fault("[sever]\nbind = \"x\"\n"), "hub.toml:1: sever: unknown key; did you mean server?");
    assert_eq!(fault("[server]\nmax_skus = 5\n"), "hub.toml:2: server.max_skus: unknown key; did you mean realtime.max_skus?");
    assert_eq!(fault("[server]\nzzzzzzzz = 5\n"), "hub.toml:2: server.zzzzzzzz: unknown key");
    assert_eq!(fault("push.batch-max = 5\n"), "hub.toml:1: push.batch-max: unknown key; did you mean batch_max?");
    assert_eq!(fault("[server]\n\"a\\n\\u001b[31m\" = 5\n"), "hub.toml:2: server.\"a\\n\\u{1b}[31m\": unknown key");
    assert_eq!(
        fault(&shop("[marketplaces.policy]\nbufer = 1\n")),
        "hub.toml:5: marketplaces.uzum.policy.bufer: unknown key; did you mean buffer?"
    );
    assert_eq!(fault(&shop("buffer = 1\n")), "hub.toml:4: marketplaces.uzum.buffer: unknown key; did you mean policy.buffer?");
}

#[test]
fn syntax_errors_and_duplicates_name_the_line() {
    let duplicate = fault("[server]\nworkers = 1\nworkers = 2\n");
    assert!(duplicate.starts_with("hub.toml:3: ") && duplicate.contains("duplicate key"), "{duplicate}");
    let all = faults("[server]\nworkers = 1\nworkers = 2\nbimd = 1\n");
    assert_eq!(all.len(), 2, "{all:#?}");
    let broken = faults("[server]\nworkers =\nbacklog = 99999999999999999999\n");
    assert!(broken.iter().any(|line| line.starts_with("hub.toml:2: ")), "{broken:#?}");
    assert_has(&broken, "hub.toml:3: server.backlog: number is too large");
    for hostile in ["[", "a = \"", "=", "\0", "[[[[", "a.b.c.d = {", &"[".repeat(10_000), &format!("a = {}", "[".repeat(10_000))]
    {
        assert!(load(hostile).is_err(), "{hostile:.20?}");
    }
}

#[test]
fn wrong_types_say_what_was_expected() {
    for (text, message) in [
        ("[server]\nworkers = \"2\"", "hub.toml:2: server.workers: expected a whole number, found text"),
        ("[server]\nworkers = 2.5", "hub.toml:2: server.workers: expected a whole number, found a decimal number"),
        ("[server]\nworkers = -1", "hub.toml:2: server.workers: must be from 0 to 1024, is -1"),
        ("[server]\nbind = 8080", "hub.toml:2: server.bind: expected text, found a whole number"),
        ("[rule]\npaused = \"yes\"", "hub.toml:2: rule.paused: expected true or false, found text"),
        ("server = 3", "hub.toml:1: server: expected a table, found a whole number"),
        ("[server]\nbind = { port = 1 }", "hub.toml:2: server.bind: expected text, found a table"),
        (
            "[realtime]\nallowed_origins = \"https://a.example\"",
            "hub.toml:2: realtime.allowed_origins: expected a list of texts, found text",
        ),
        (
            "[realtime]\nallowed_origins = [1]",
            "hub.toml:2: realtime.allowed_origins: expected a list of texts, found a whole number in it",
        ),
        ("[rule]\nmax_listed = \"lots\"", "hub.toml:2: rule.max_listed: expected a whole number or \"none\", found text"),
        (
            "[security]\nallow_private_targets = 1",
            "hub.toml:2: security.allow_private_targets: expected true, false or \"auto\", found a whole number",
        ),
        ("[log]\nformat = \"jsn\"", "hub.toml:2: log.format: must be one of auto, pretty, json, is \"jsn\"; did you mean json?"),
        (
            "[log]\nlevel = \"verbose\"",
            "hub.toml:2: log.level: \"verbose\" is no level; levels are off, error, warn, info, debug, trace",
        ),
        ("[log]\nlevel = 2026-01-01", "hub.toml:2: log.level: expected text, found a date or time"),
        (
            "[database]\nurl = \"mysql://db\"",
            "hub.toml:2: database.url: must begin with sqlite:// or postgres:// or postgresql://",
        ),
        ("[database]\nurl = \"\"", "hub.toml:2: database.url: must begin with sqlite:// or postgres:// or postgresql://"),
        ("marketplaces = 3", "hub.toml:1: marketplaces: expected a list of tables ([[marketplaces]]), found a whole number"),
    ] {
        assert_eq!(fault(text), message);
    }
}

#[test]
fn every_fault_is_reported_at_once() {
    let text = "[server]\nbind = \"127.0.0.1:70000\"\nbimd = 1\n[push]\ntimeout_ms = \"10s\"\n\
                [auth]\nbootstrap_admin_token = \"env:ABSENT\"\n";
    let error = load(&format!("{text}{}", shop("[marketplaces.policy]\ndrift_policy = \"hub\"\n"))).unwrap_err();
    assert_eq!(error.faults.len(), 5, "{error}");
    assert_eq!(error.to_string().lines().count(), 5);
    let lines: Vec<_> = error.faults.iter().map(|fault| fault.line).collect();
    assert!(lines.is_sorted(), "{lines:?}");
    let many: String = (0..300).map(|n| format!("zz{n} = 1\n")).collect();
    assert!(load(&many).unwrap_err().to_string().ends_with("and 200 more"));
}

#[test]
fn bind_is_an_address_and_a_port() {
    let bind = |text: &str| load(&format!("[server]\nbind = \"{text}\"\n"));
    for good in ["127.0.0.1:8080", "127.0.0.1:0", "[::1]:8080", "0.0.0.0:80"] {
        assert_eq!(bind(good).unwrap().0.server.bind.to_string(), good);
    }
    for (bad, part) in [
        ("127.0.0.1:70000", "port 70000 does not exist"),
        ("127.0.0.1", "has no port"),
        ("::1", "has no port"),
        ("127.0.0.1:", "has no port"),
        ("127.0.0.1:http", "has no port"),
        (":8080", "write 0.0.0.0:8080"),
        ("localhost:8080", "write 127.0.0.1:8080"),
        ("hub.example:8080", "is not an IP address"),
        ("", "has no port"),
    ] {
        let message = bind(bad).unwrap_err().to_string();
        assert!(message.contains(part), "{bad:?}: {message}");
    }
}

#[test]
fn no_order_of_bytes_makes_it_stumble() {
    // Every beginning of a full file, as a crash while writing it leaves it.
    let text = format!("{DEFAULTS}\n{}", shop("[marketplaces.policy]\nbuffer = 1\nlocations = [\"main\"]\n"));
    for end in (0..text.len()).step_by(37).filter(|end| text.is_char_boundary(*end)) {
        let _ = load(&text[..end]);
    }
}
