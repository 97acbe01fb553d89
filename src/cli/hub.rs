//! For commands that let a hub do something: through the one that runs, else through one of their own that lives as long as they do.
//! Either way the same code does it, and the leases see to it that an account is called once.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::output::err;
use crate::app::{App, Surroundings};
use crate::http::auth::new_token;
use crate::marketplaces::wire::{Answer, Method, Request};
use crate::outbound::{Outbound, OutboundLimits};
use crate::settings::{Secret, Settings};

/// A hub's API, as an admin.
pub(super) struct Api {
    base: String,
    token: Secret,
    outbound: Outbound,
}

/// What it answered.
pub(super) struct Said {
    pub status: u16,
    pub body: Value,
}

impl Said {
    /// What a problem document says, for people.
    pub fn why(&self) -> String {
        let text = |name: &str| self.body[name].as_str().map(str::to_owned);
        text("detail").or_else(|| text("title")).unwrap_or_else(|| format!("the hub answered {}", self.status))
    }

    /// Bad words of the command line are answered as such.
    pub fn refused(&self) -> ExitCode {
        err(&format!("error: {}", self.why()));
        if matches!(self.status, 404 | 422) { ExitCode::from(2) } else { ExitCode::FAILURE }
    }
}

fn client() -> anyhow::Result<Outbound> {
    let limits = OutboundLimits {
        timeout: Duration::from_secs(600),
        connect_timeout: Duration::from_secs(2),
        response_max_bytes: 1024 * 1024 * 1024,
        allow_private_targets: true,
    };
    Ok(Outbound::new(limits)?)
}

impl Api {
    pub async fn get(&self, path: &str) -> anyhow::Result<Said> {
        self.send(Method::Get, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Said> {
        self.send(Method::Post, path, Some(body.to_string().into_bytes())).await
    }

    pub async fn delete(&self, path: &str) -> anyhow::Result<Said> {
        self.send(Method::Delete, path, None).await
    }

    /// A table, and what is said of it.
    pub async fn post_table(&self, path: &str, table: Vec<u8>) -> anyhow::Result<Said> {
        self.send_as(Method::Post, path, Some(("text/csv", table))).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> anyhow::Result<Said> {
        self.send_as(method, path, body.map(|body| ("application/json", body))).await
    }

    async fn send_as(&self, method: Method, path: &str, body: Option<(&str, Vec<u8>)>) -> anyhow::Result<Said> {
        let mut headers = vec![("authorization".to_owned(), format!("Bearer {}", self.token.expose()))];
        let body = body.map(|(kind, body)| {
            headers.push(("content-type".to_owned(), kind.to_owned()));
            body
        });
        let request = Request { method, url: format!("{}{path}", self.base), headers, body };
        match self.outbound.send(request).await {
            Answer::Response { status, body, .. } => {
                let body = serde_json::from_slice(&body).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body)));
                Ok(Said { status, body })
            }
            Answer::NotSent(why) | Answer::NoAnswer(why) | Answer::Cut(why) => {
                anyhow::bail!("the hub at {} did not answer: {why}", self.base)
            }
        }
    }
}

/// Does some work with a hub.
pub(super) async fn with_hub<F, R>(settings: Settings, work: F) -> anyhow::Result<ExitCode>
where
    F: FnOnce(Api) -> R,
    R: Future<Output = anyhow::Result<ExitCode>>,
{
    if let Some(api) = running(&settings).await? {
        return work(api).await;
    }
    let mut settings = settings;
    // A hub of our own: on a free port of this machine, with a token that nobody else knows.
    settings.server.bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let token = Secret::new(new_token()?);
    settings.auth.bootstrap_admin_token = Some(token.clone());
    let app = App::build(settings, Surroundings::default()).await?;
    let api = Api { base: format!("http://{}", app.address), token, outbound: client()? };
    let stop = CancellationToken::new();
    let told = stop.clone();
    let serving = app.run(async move { told.cancelled().await });
    let working = async {
        let done = work(api).await;
        stop.cancel();
        done
    };
    let (served, done) = tokio::join!(serving, working);
    served?;
    done
}

/// The hub that runs with these settings; `None`: nobody answers there.
async fn running(settings: &Settings) -> anyhow::Result<Option<Api>> {
    let mut bind = settings.server.bind;
    if bind.port() == 0 {
        return Ok(None);
    }
    if bind.ip().is_unspecified() {
        bind.set_ip(if bind.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    let (outbound, base) = (client()?, format!("http://{bind}"));
    let alive = Request { method: Method::Get, url: format!("{base}/healthz"), headers: Vec::new(), body: None };
    match outbound.send(alive).await {
        Answer::Response { status: 200, .. } => {}
        _ => return Ok(None),
    }
    let Some(token) = settings.auth.bootstrap_admin_token.clone() else {
        anyhow::bail!("a hub runs at {bind}: auth.bootstrap_admin_token is needed to ask it");
    };
    Ok(Some(Api { base, token, outbound }))
}
