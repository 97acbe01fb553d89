use super::*;

#[test]
fn marketplaces_are_named_well_and_once() {
    for (text, part) in [
        ("[[marketplaces]]\ncode = \"marketplaces\"\nadapter = \"generic\"", "is reserved"),
        (
            "[[marketplaces]]\ncode = \"U\"\nadapter = \"generic\"",
            "hub.toml:2: marketplaces[0].code: must be 2 to 32 of a-z, 0-9 and -",
        ),
        ("[[marketplaces]]\nadapter = \"generic\"", "hub.toml:1: marketplaces[0].code: is missing"),
        ("[[marketplaces]]\ncode = \"uzum\"", "marketplaces.uzum.adapter: is missing"),
        ("[[marketplaces]]\ncode = \"store\"\nadapter = \"generic\"", "marketplaces.store.adapter: the built-in store has none"),
        (&format!("{}{}", shop(""), shop("")), "hub.toml:5: marketplaces.code: \"uzum\" is declared twice, first at hub.toml:2"),
        (&shop("currency = \"usd\""), "marketplaces.uzum.currency: currency must be three capital letters"),
        (&shop("stock_feed = \"order\""), "did you mean orders?"),
        (&shop("name = \" x\""), "marketplaces.uzum.name: must have 1 to 100"),
        (
            &shop("[marketplaces.account]\ntrust = 2026-01-01"),
            "marketplaces.uzum.account.trust: a date or time must be written as text",
        ),
    ] {
        let message = fault(text);
        assert!(message.contains(part), "{message}");
    }
    let (settings, _) =
        load("[[marketplaces]]\ncode = \"store\"\nname = \"Shop\"\n[marketplaces.policy]\nmax_listed = 5\n").unwrap();
    assert_eq!(settings.marketplaces.first().map(|m| (m.code.as_str(), m.adapter.as_deref())), Some((STORE, None)));
}

#[test]
fn a_later_file_adjusts_a_marketplace_by_its_code() {
    let first = shop("base_url = \"https://a.example\"\n[marketplaces.policy]\nbuffer = 1\nmax_listed = 9\n");
    let second = "[[marketplaces]]\ncode = \"uzum\"\nenabled = false\n[marketplaces.policy]\nbuffer = 2\n\
                  [[marketplaces]]\ncode = \"ozon\"\nadapter = \"ozon\"\n";
    let (settings, _) = Settings::from_texts(&[("a.toml", &first), ("b.toml", second)], &env()).unwrap();
    let [uzum, ozon] = settings.marketplaces.as_slice() else { unreachable!("two marketplaces") };
    assert_eq!((uzum.enabled, uzum.base_url.as_deref()), (Some(false), Some("https://a.example")));
    assert_eq!((uzum.policy.rule.buffer, uzum.policy.rule.max_listed), (Some(2), Some(Bound::At(9))));
    assert_eq!((ozon.code.as_str(), ozon.enabled), ("ozon", None));
}

#[test]
fn base_urls_lead_where_they_may() {
    let url = |bind: &str, security: &str, url: &str| {
        load(&format!("[server]\nbind = \"{bind}\"\n{security}\n{}", shop(&format!("base_url = \"{url}\"\n"))))
    };
    let (local, open) = ("127.0.0.1:0", "0.0.0.0:80");
    let on_purpose = "[security]\nallow_private_targets = true";
    for private in [
        "http://127.0.0.1:9001",
        "http://localhost:1",
        "http://[::1]:1",
        "https://10.1.2.3",
        "https://169.254.169.254",
        "https://[fd00::1]",
        "https://0x7f.1",
    ] {
        assert!(url(local, "", private).is_ok(), "{private}");
        assert!(url(open, "", private).unwrap_err().to_string().contains("allow_private_targets"), "{private}");
        assert!(url(open, on_purpose, private).is_ok(), "{private}");
        assert!(url(local, "[security]\nallow_private_targets = false", private).is_err(), "{private}");
    }
    for bad in [
        "ftp://a.example",
        "a.example",
        "https://user:pw@a.example",
        "https://a.example/?q=1",
        "https://a.example/#x",
        "https://",
    ] {
        let message = url(local, "", bad).unwrap_err().to_string();
        assert!(!message.contains("pw"), "{message}");
    }
    let (settings, warnings) = url(local, "", "http://a.example/api/").unwrap();
    assert_eq!(settings.marketplaces.first().unwrap().base_url.as_deref(), Some("http://a.example/api"));
    assert!(warnings.first().unwrap().message.contains("not encrypted"));
}

#[test]
fn policies_are_typed() {
    let policy = |text: &str| shop(&format!("[marketplaces.policy]\n{text}\n"));
    for (text, part) in [
        ("clock_tolerance = 2", "expected text with a unit, like \"30s\", found a whole number"),
        ("clock_tolerance = \"30\"", "needs a unit"),
        ("poll_every = \"0s\"", "must be at least 1000ms"),
        ("fulfilment = \"later\"", "must be one of instant, shipment"),
        ("own_cancel_restock = 1", "expected one of true, false, unknown"),
        ("locations = []", "is empty"),
        ("locations = [\"main\", \"main\"]", "is named twice"),
        ("share_percent = 101", "must be from 0 to 100, is 101"),
        ("fixed = 3\nshare_percent = 50", "fixed and share_percent exclude each other"),
        ("buffer = -1", "must be from 0 to 1000000000"),
    ] {
        let message = fault(&policy(text));
        assert!(message.contains(part), "{text}: {message}");
    }
    let (settings, _) =
        load(&policy("own_cancel_restock = true\nmax_listed = \"none\"\nlocations = [\"b\", \"a\"]\npoll_every = \"15m\""))
            .unwrap();
    let policy = &settings.marketplaces.first().unwrap().policy;
    assert_eq!(policy.own_cancel_restock, Some(OwnCancelRestock::Yes));
    assert_eq!(policy.rule.max_listed, Some(Bound::Lifted));
    assert_eq!(policy.locations.as_deref(), Some(["b".to_owned(), "a".to_owned()].as_slice()));
    assert_eq!(policy.poll_every.unwrap().as_secs(), 900);
}
