//! A running hub as an operator sees it through its API: products and listings are made there, and at the end its numbers are read
//! to be held against the shops'. Loopback only, like everything here.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::sku::Sku;

use super::audit::HubFigure;
use super::http_client::{Answer, Client, ClientError, Target};
use super::kinds::connection::listing;
use super::marketplace::Marketplace;

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("{call}: {source}")]
    Call { call: String, source: ClientError },
    #[error("{call} was answered {status}: {body}")]
    Refused { call: String, status: u16, body: String },
    #[error("{call} was answered with something else than expected: {what}")]
    Odd { call: String, what: &'static str },
}

pub struct HubView {
    client: Client,
    authorization: String,
}

/// One product there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub available: i64,
    /// What each marketplace is to show, by its code.
    pub wanted: BTreeMap<String, i64>,
}

impl HubView {
    pub fn new(hub: Target, token: &str, timeout: Duration) -> Self {
        Self { client: Client::new(hub, timeout), authorization: format!("Bearer {token}") }
    }

    async fn call(&mut self, method: &str, path: &str, body: Option<Value>) -> Result<Answer, HubError> {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let headers = [("authorization", self.authorization.as_str())];
        let answer = self.client.send(method, path, &headers, &bytes).await;
        answer.map_err(|source| HubError::Call { call: format!("{method} {path}"), source })
    }

    /// Makes something; what is there already (409) stays as it is. `true` where it was made.
    async fn make(&mut self, path: &str, body: Value) -> Result<bool, HubError> {
        let answer = self.call("POST", path, Some(body)).await?;
        match answer.status {
            201 => Ok(true),
            409 => Ok(false),
            status => {
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                Err(HubError::Refused { call: format!("POST {path}"), status, body })
            }
        }
    }

    /// The products of these shops, each with its opening stock, and their listings. Gives how many products were new.
    pub async fn stock_up(&mut self, markets: &[std::sync::Arc<Marketplace>]) -> Result<usize, HubError> {
        let mut opening: BTreeMap<Sku, i64> = BTreeMap::new();
        for market in markets {
            opening.extend(market.state().items.into_iter().map(|item| (item.sku, item.opening)));
        }
        let mut made = 0;
        for (sku, stock) in &opening {
            let body = json!({ "sku": sku, "name": format!("Product {sku}"), "initial_stock": stock });
            made += usize::from(self.make("/v1/admin/products", body).await?);
        }
        for market in markets {
            let code = market.code();
            for listed in market.listed() {
                self.make("/v1/admin/listings", listing(&code, &listed)).await?;
            }
        }
        Ok(made)
    }

    pub async fn product(&mut self, sku: &str) -> Result<Seen, HubError> {
        let path = format!("/v1/admin/products/{}", escaped(sku));
        let answer = self.call("GET", &path, None).await?;
        let call = || format!("GET {path}");
        if answer.status != 200 {
            let (status, body) = (answer.status, String::from_utf8_lossy(&answer.body).into_owned());
            return Err(HubError::Refused { call: call(), status, body });
        }
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let available = value["available"].as_i64().ok_or_else(|| HubError::Odd { call: call(), what: "no `available`" })?;
        let listings = value["listings"].as_array().cloned().unwrap_or_default();
        let wanted = listings.iter().filter_map(|listing| {
            let code = listing["marketplace"].as_str()?;
            Some((code.to_owned(), listing["wanted"].as_i64()?))
        });
        Ok(Seen { available, wanted: wanted.collect() })
    }

    /// The hub's side of the audit, for what these shops sell.
    pub async fn figures(&mut self, markets: &[std::sync::Arc<Marketplace>]) -> Result<Vec<HubFigure>, HubError> {
        let mut opening: BTreeMap<Sku, i64> = BTreeMap::new();
        for market in markets {
            opening.extend(market.state().items.into_iter().map(|item| (item.sku, item.opening)));
        }
        let mut figures = Vec::with_capacity(opening.len());
        for (sku, opening) in opening {
            let Seen { available, wanted } = self.product(sku.as_str()).await?;
            figures.push(HubFigure { wanted, ..HubFigure::new(sku, opening, available) });
        }
        Ok(figures)
    }
}

fn escaped(segment: &str) -> String {
    url::form_urlencoded::byte_serialize(segment.as_bytes()).collect::<String>().replace('+', "%20")
}
