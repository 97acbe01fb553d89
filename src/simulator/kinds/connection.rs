//! The other end of a shop: what a hub must be told to work with it. Settings as TOML, secrets by the names of environment
//! variables, and one listing per thing on the shelf.

use serde_json::{Value, json};

use super::super::shop::Listed;
use super::{Account, Kind, plain};

/// `[[marketplaces]]` for a shop at this address, and the environment it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSide {
    pub toml: String,
    pub environment: Vec<(String, String)>,
}

/// `webhook_secret` is what a generic shop signs with; the others sign with their own account's, or not at all.
pub fn hub_side(kind: Kind, code: &str, base_url: &str, account: &Account, webhook_secret: &str) -> HubSide {
    let mut toml = format!("[[marketplaces]]\ncode = {}\nadapter = \"{}\"\nbase_url = \"{base_url}\"\n", quoted(code), kind.id());
    if kind == Kind::Generic {
        toml += "stock_feed = \"delta\"\n";
    }
    let mut values = account.values.clone();
    if kind == Kind::WooCommerce {
        // Where the site stands is part of the account there.
        values.insert("site".into(), base_url.into());
    }
    if !values.is_empty() {
        let values = values.iter().map(|(name, value)| format!("{name} = {}\n", toml_value(value)));
        toml += "[marketplaces.account]\n";
        toml.extend(values);
    }
    let generic = [("webhook_secret".to_owned(), webhook_secret.to_owned())];
    let secrets: Vec<(String, String)> = match kind {
        Kind::Generic => generic.to_vec(),
        _ => account.secrets.iter().map(|(name, secret)| (name.clone(), secret.clone())).collect(),
    };
    let variable = |name: &str| format!("SIM_{code}_{name}").to_uppercase().replace('-', "_");
    toml += "[marketplaces.secrets]\n";
    toml.extend(secrets.iter().map(|(name, _)| format!("{name} = [\"env:{}\"]\n", variable(name))));
    let environment = secrets.into_iter().map(|(name, secret)| (variable(&name), secret)).collect();
    HubSide { toml, environment }
}

/// The body of `POST /v1/admin/listings`.
pub fn listing(code: &str, listed: &Listed) -> Value {
    let mut body = json!({ "marketplace": code, "sku": listed.sku, "marketplace_product_id": listed.marketplace_product_id });
    if !listed.refs.is_empty() {
        body["refs"] = Value::Object(listed.refs.clone());
    }
    body
}

fn quoted(text: &str) -> String {
    // A JSON string of plain text is a TOML string too.
    Value::from(text).to_string()
}

fn toml_value(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => plain(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_the_shop_is_and_keeps_its_secrets_out_of_the_file() {
        let account = Kind::Ozon.account("ozon-1");
        let HubSide { toml, environment } = hub_side(Kind::Ozon, "ozon-1", "http://127.0.0.1:9001", &account, "");
        assert!(toml.contains("adapter = \"ozon\"\nbase_url = \"http://127.0.0.1:9001\"\n[marketplaces.account]\n"), "{toml}");
        assert!(toml.contains("client_id = \"1234567\"\n") && toml.contains("seller_id = 1234567\n"), "{toml}");
        assert!(toml.contains("api_key = [\"env:SIM_OZON_1_API_KEY\"]"), "{toml}");
        assert!(environment.iter().all(|(_, secret)| !toml.contains(secret.as_str())));
        assert!(toml.parse::<toml::Table>().is_ok());
        let own = hub_side(Kind::Generic, "own", "http://127.0.0.1:9002", &Account::default(), "shared");
        assert_eq!(own.environment, [("SIM_OWN_WEBHOOK_SECRET".to_owned(), "shared".to_owned())]);
        assert!(own.toml.contains("stock_feed = \"delta\""));
    }
}
