//! Examples at the end of every command's `--help`: one table, of which a test runs each line through the parser.

use clap::Command;

/// The command, by its words, and how it is called. A command that has more to say there says it itself (`after_help`).
const EXAMPLES: &[(&str, &[&str])] = &[
    ("serve", &["stockhub serve --config hub.toml", "STOCKHUB__SERVER__BIND=0.0.0.0:8080 stockhub serve"]),
    ("demo", &["stockhub demo", "stockhub demo --rate 5 --bind 127.0.0.1:9000"]),
    ("simulate", &["stockhub simulate", "stockhub simulate --hub http://127.0.0.1:8080 --token env:ADMIN_TOKEN --create"]),
    ("migrate", &["stockhub migrate --config hub.toml"]),
    ("check-config", &["stockhub check-config --config hub.toml", "stockhub check-config --json"]),
    ("verify", &["stockhub verify --config hub.toml", "stockhub verify --repair --json"]),
    ("explain", &["stockhub explain PHONE-001", "stockhub explain PHONE-001 ozon --json"]),
    ("sync", &["stockhub sync --marketplace ozon --dry-run", "stockhub sync --marketplace ozon --sku PHONE-001 --sku CASE-002"]),
    ("reconcile", &["stockhub reconcile --marketplace ozon --dry-run", "stockhub reconcile --marketplace ozon --json"]),
    ("doctor", &["stockhub doctor", "stockhub doctor ozon --json"]),
    ("adapters list", &["stockhub adapters list"]),
    ("adapters check", &["stockhub adapters check", "stockhub adapters check ./my-adapters"]),
    ("adapters show", &["stockhub adapters show ozon", "stockhub adapters show ozon --requests"]),
    ("token create", &["stockhub token create --name till --role operator --expires-in-days 90"]),
    ("token list", &["stockhub token list"]),
    ("token revoke", &["stockhub token revoke 0196a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"]),
    ("user list", &["stockhub user list --json"]),
    ("user remove", &["stockhub user remove ann@example.com"]),
    (
        "products import",
        &[
            "stockhub products import stock.csv --dry-run",
            "stockhub products import stock.csv",
            "stockhub products export | stockhub products import -",
        ],
    ),
    (
        "listings import",
        &["stockhub listings import listings.csv --dry-run", "stockhub listings export | stockhub listings import -"],
    ),
    ("rules import", &["stockhub rules import rules.csv --dry-run", "stockhub rules export | stockhub rules import -"]),
    ("rules export", &["stockhub rules export > rules.csv"]),
    ("counts import", &["stockhub counts import shelves.csv --dry-run", "stockhub counts import shelves.csv"]),
    ("counts export", &["stockhub counts export > shelves.csv"]),
    ("products export", &["stockhub products export > products.csv"]),
    ("listings export", &["stockhub listings export > listings.csv"]),
    ("webhook schemes", &["stockhub webhook schemes"]),
    ("webhook sign", &["stockhub webhook sign --secret env:SHOP_SECRET --body order.json"]),
    (
        "webhook send",
        &["stockhub webhook send --secret env:SHOP_SECRET --url http://127.0.0.1:8080/webhooks/shop --body order.json"],
    ),
    (
        "webhook verify",
        &["stockhub webhook verify --secret env:SHOP_SECRET --scheme standard --body order.json --headers headers.txt"],
    ),
    ("bench ingest", &["stockhub bench ingest --database sqlite --senders 64,256"]),
    ("bench push", &["stockhub bench push --connections 100 --listings 1000"]),
    ("bench catalogue", &["stockhub bench catalogue --products 10000 --movements 1000000 --import 10000"]),
    ("bench fanout", &["stockhub bench fanout --bind 127.0.0.1:8090"]),
];

/// Puts them where `--help` shows them.
pub(super) fn with_examples(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (words, lines)| {
        let words: Vec<&str> = words.split(' ').collect();
        at(command, &words, &format!("Examples:\n  {}", lines.join("\n  ")))
    })
}

fn at(command: Command, words: &[&str], text: &str) -> Command {
    match words {
        [] => command.after_help(text.to_owned()),
        [first, rest @ ..] => command.mut_subcommand(first, |sub| at(sub, rest, text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Arguments;
    use clap::CommandFactory as _;

    /// Every command that has no commands of its own, by its words.
    fn leaves(command: &Command, words: &str) -> Vec<(String, String)> {
        let own: Vec<&Command> = command.get_subcommands().filter(|sub| sub.get_name() != "help").collect();
        if own.is_empty() {
            let said = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            return vec![(words.to_owned(), said)];
        }
        own.into_iter().flat_map(|sub| leaves(sub, format!("{words} {}", sub.get_name()).trim())).collect()
    }

    #[test]
    fn every_command_has_examples_and_each_is_understood() {
        let command = with_examples(Arguments::command());
        let all = leaves(&command, "");
        assert!(all.len() > 25, "{all:?}");
        for (words, said) in all {
            let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("  ") && line.contains("stockhub ")).collect();
            assert!(said.starts_with("Examples:\n") && !lines.is_empty(), "`stockhub {words} --help` ends without examples");
            for line in lines {
                // Settings before it, and what a shell makes of the rest, are not the program's.
                for part in line.split(" | ").filter_map(|part| part.split_once("stockhub ")) {
                    let arguments = part.1.split(" > ").next().unwrap_or_default().split_whitespace();
                    let read = command.clone().try_get_matches_from(std::iter::once("stockhub").chain(arguments));
                    assert!(read.is_ok(), "{line}: {}", read.unwrap_err());
                    assert!(part.1.starts_with(&words) || line.contains(" | "), "{line} stands under {words}");
                }
            }
        }
    }
}
