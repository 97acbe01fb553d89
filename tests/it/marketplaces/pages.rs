//! The page of each marketplace in the book: its settings are taken as they stand there, and it names whatever its adapter asks for.

use std::collections::BTreeSet;
use std::path::Path;

use stockhub::marketplaces::catalogue::Catalogue;
use stockhub::settings::{Env, Settings};

/// Partners and people: their pages say it in their own way.
const OF_THEIR_OWN: [&str; 4] = ["generic", "manual", "polling-generic", "storefront"];

#[test]
fn every_page_has_settings_that_are_taken_and_names_what_a_listing_needs() {
    let adapters: Vec<_> = Catalogue::built_in().all();
    let of_marketplaces: Vec<_> = adapters.iter().filter(|adapter| !OF_THEIR_OWN.contains(&adapter.id())).collect();
    assert!(of_marketplaces.len() >= 9, "the list of those without a page is out of date");
    for adapter in of_marketplaces {
        let id = adapter.id();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/src/marketplaces/{id}.md"));
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let block = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of settings");
        let env: Env = block
            .split('"')
            .filter_map(|word| word.strip_prefix("env:"))
            .map(|name| (name.to_owned(), "a-secret-of-enough-letters".to_owned()))
            .collect();
        let loaded = Settings::from_texts(&[(id, block)], &env);
        let (settings, warnings) = loaded.unwrap_or_else(|faults| panic!("{id}: {faults}"));
        assert!(warnings.is_empty(), "{id}: {warnings:?}");
        let marketplace =
            settings.marketplaces.iter().find(|one| one.adapter.as_deref() == Some(id)).expect("the page is about it");
        let told = |needed: &[&str], named: BTreeSet<&str>| needed.iter().all(|name| named.contains(name));
        let about = adapter.about();
        assert!(told(about.account_needed, marketplace.account.keys().map(String::as_str).collect()), "{id}: the account");
        assert!(told(adapter.secrets(), marketplace.secrets.keys().map(String::as_str).collect()), "{id}: the secrets");
        for name in adapter.account() {
            assert!(block.contains(&format!("{name} = ")), "{id}: its settings do not show account.{name}");
        }
        for name in adapter.refs().required {
            assert!(page.contains(&format!("`{name}`")), "{id}: its page does not name the ref {name}");
        }
    }
}
