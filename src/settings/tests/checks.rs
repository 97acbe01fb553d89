use super::*;

#[test]
fn secrets_that_cannot_be_had_name_the_setting_and_the_variable() {
    let secret = |value: &str| fault(&shop(&format!("[marketplaces.secrets]\nwebhook_secret = {value}\n")));
    let path = "hub.toml:5: marketplaces.uzum.secrets.webhook_secret";
    assert_eq!(secret("\"env:ABSENT\""), format!("{path}: environment variable ABSENT is not set"));
    assert_eq!(secret("[\"env:UZUM_SECRET\", \"env:BLANK\"]"), format!("{path}[1]: environment variable BLANK is empty"));
    assert!(secret("\"file:/nonexistent/x\"").contains("file /nonexistent/x cannot be read"));
    assert_eq!(secret("[]"), format!("{path}: is an empty list; leave the key out"));
    assert_eq!(secret("3"), format!("{path}: expected a reference or a list of them, found a whole number"));
    assert_eq!(secret("\"\""), format!("{path}: is empty"));
}

#[test]
fn weak_secrets_are_refused_where_strangers_can_knock() {
    let open = "[server]\nbind = \"0.0.0.0:80\"\ntrusted_proxies = [\"10.0.0.1\"]\n";
    for (value, part) in [
        ("env:WEAK_SECRET", "is a sample secret"),
        ("env:SHORT", "has 10 bytes; at least 24 are needed"),
        (GOOD, "is written in the file itself"),
    ] {
        let text = shop(&format!("[marketplaces.secrets]\nwebhook_secret = \"{value}\"\n"));
        let env = with(&[("WEAK_SECRET", "changeme-changeme-changeme"), ("SHORT", "x9Kq2mP7zR")]);
        let (_, warnings) = Settings::from_texts(&[("hub.toml", &text)], &env).unwrap();
        assert_has(&warnings.iter().map(Warning::to_string).collect::<Vec<_>>(), part);
        let error = Settings::from_texts(&[("open.toml", open), ("hub.toml", &text)], &env).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains(GOOD), "{error}");
    }
    let fine =
        format!("{open}{}", shop("[marketplaces.secrets]\nwebhook_secret = \"env:UZUM_SECRET\"\napi_key = \"env:BRIEF\"\n"));
    let env = with(&[("UZUM_SECRET", GOOD), ("BRIEF", "x9Kq2mP7zR")]);
    let (settings, warnings) = Settings::from_texts(&[("hub.toml", &fine)], &env).unwrap();
    assert_eq!(warnings, [], "an API key is as long as its marketplace makes it");
    assert!(!settings.security.allow_private_targets);
}

#[test]
fn one_secret_for_two_doors_is_noticed() {
    let two = format!(
        "{}{}",
        shop("[marketplaces.secrets]\nwebhook_secret = [\"env:UZUM_SECRET\", \"env:UZUM_SECRET\"]\n"),
        "[[marketplaces]]\ncode = \"ozon\"\nadapter = \"ozon\"\n[marketplaces.secrets]\nhook_path = \"env:UZUM_SECRET\"\n"
    );
    assert_has(
        &warnings(&two),
        "hub.toml:10: marketplaces.ozon.secrets.hook_path: is the same secret as marketplaces.uzum.secrets.webhook_secret[0]",
    );
    assert!(load(&format!("[server]\nbind = \"0.0.0.0:80\"\n{two}")).unwrap_err().to_string().contains("is the same secret"));
}

#[test]
fn the_bootstrap_token_is_long_everywhere() {
    let short = with(&[("STOCKHUB__AUTH__BOOTSTRAP_ADMIN_TOKEN", "x9Kq2mP7zRx9Kq2mP7zRx9Kq2mP7zR1")]);
    let message = Settings::from_texts(&[], &short).unwrap_err().to_string();
    assert!(message.contains("auth.bootstrap_admin_token: must have at least 32 characters, has 31"), "{message}");
    let digits = with(&[("STOCKHUB__AUTH__BOOTSTRAP_ADMIN_TOKEN", "39275110482216573909128845510273")]);
    let (settings, warnings) = Settings::from_texts(&[], &digits).unwrap();
    assert_eq!(settings.auth.bootstrap_admin_token.unwrap().expose().len(), 32);
    assert_eq!(warnings, [], "a value in a variable is not written in a file");
    let keys =
        with(&[("STOCKHUB__AUTH__STOREFRONT_KEYS", "[\"env:A\", \"env:B\"]"), ("A", GOOD), ("B", "Zq7-wLr2kX9vTn4bYc6mHs8p")]);
    assert_eq!(Settings::from_texts(&[], &keys).unwrap().0.auth.storefront_keys.len(), 2);
}

#[test]
fn the_master_key_is_32_bytes() {
    let key = |text: &str| Settings::from_texts(&[], &with(&[("STOCKHUB__SECURITY__MASTER_KEY", text)]));
    let hex = "b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184";
    assert_eq!(key(hex).unwrap().0.security.master_key_bytes().unwrap().first(), Some(&0xb1));
    assert!(key("sZRqySSS0jR8YjW00mERhLGUaskkktI0fGI1tNJhEYQ=").unwrap().0.security.master_key_bytes().is_some());
    for bad in ["short", &hex[1..], &format!("{hex}00")] {
        assert!(key(bad).unwrap_err().to_string().contains("must be 32 bytes"), "{bad}");
    }
}

#[test]
fn contradictory_limits_warn() {
    for (text, key) in [
        ("[push]\ntimeout_ms = 7500", "push.timeout_ms"),
        ("[push]\nconnect_timeout_ms = 7001", "push.connect_timeout_ms"),
        ("[push]\nbackoff_base_ms = 15001", "push.backoff_base_ms"),
        ("[push]\nzombie_window_ms = 1000", "push.zombie_window_ms"),
        ("[ingest]\nbody_deadline_ms = 30001", "ingest.body_deadline_ms"),
        ("[ingest]\nretry_cap_ms = 100", "ingest.retry_base_ms"),
        ("[realtime]\nring = 4096", "realtime.ring"),
        ("[realtime]\nping_ms = 5000", "realtime.pong_timeout_ms"),
        ("[realtime]\nshutdown_drain_ms = 30000", "realtime.shutdown_drain_ms"),
        ("[server]\nworkers = 1\nmax_connections_per_worker = 10", "realtime.max_connections"),
        ("[inventory]\nreservation_ttl_max_s = 60", "inventory.reservation_ttl_s"),
        ("[database]\nwrite_queue = 300\n[ingest]\nper_connection_in_flight = 301", "ingest.per_connection_in_flight"),
        ("[server]\ntrusted_proxies = [\"0.0.0.0/0\"]", "server.trusted_proxies"),
        ("[server]\nbind = \"0.0.0.0:80\"", "server.bind"),
    ] {
        let all = load(text).unwrap().1;
        let keys: BTreeSet<&str> = all.iter().map(|warning| warning.key.as_str()).collect();
        assert_eq!(keys, BTreeSet::from([key]), "{text}");
    }
    let shares = format!(
        "{}[[marketplaces]]\ncode = \"ozon\"\nadapter = \"ozon\"\npolicy = {{ share_percent = 50 }}\n",
        shop("policy = { share_percent = 60 }\n")
    );
    assert_has(&warnings(&shares), "110 percent (uzum 60, ozon 50)");
}

#[test]
fn the_effective_configuration_shows_everything_but_secrets() {
    let text = format!(
        "[server]\nworkers = 3\n[database]\nurl = \"postgres://hub:hunter2@db/hub\"\n{}",
        shop(
            "[marketplaces.account]\ntrust = \"full\"\n[marketplaces.secrets]\nwebhook_secret = [\"env:UZUM_SECRET\"]\n\
             api_key = \"file-less-literal-value\"\n"
        )
    );
    let env = with(&[("UZUM_SECRET", GOOD), ("STOCKHUB__AUTH__STOREFRONT_KEYS", "env:UZUM_SECRET")]);
    let (settings, _) = Settings::from_texts(&[("hub.toml", &text)], &env).unwrap();
    let shown = settings.effective_toml();
    for hidden in [GOOD, "hunter2", "file-less-literal-value"] {
        assert!(!shown.contains(hidden) && !format!("{settings:?}{env:?}").contains(hidden), "{hidden}");
    }
    let fingerprint = Secret::new(GOOD).fingerprint();
    assert!(shown.contains(&format!("webhook_secret = [\"*** (env:UZUM_SECRET, sha256 {fingerprint})\"]")), "{shown}");
    assert!(shown.contains("workers = 3  # hub.toml:2\n") && shown.contains("\nbacklog = 2048\n"), "{shown}");
    assert!(shown.contains("url = \"postgres://***@db/hub\"") && shown.contains("bootstrap_admin_token = \"\""), "{shown}");
    let parsed: toml::Table = shown.parse().unwrap();
    assert_eq!(
        parsed.get("marketplaces").and_then(|m| m.get(0)).and_then(|m| m.get("account")?.get("trust")?.as_str()),
        Some("full")
    );
    for key in Layers::new().known {
        let (section, key) = key.split_once('.').unwrap();
        assert!(parsed.get(section).and_then(|table| table.get(key)).is_some(), "{section}.{key}");
    }
}
