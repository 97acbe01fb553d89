//! `stockhub webhook`: for engineers who connect a shop. Signs a body in any scheme that can be signed with a shared secret, sends
//! it, and says of a captured request which step of verification fails and why.

mod check;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::output::out;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::marketplaces::scheme::Scheme;
use crate::marketplaces::schemes;
use crate::marketplaces::wire::{Answer, Method, Request};
use crate::outbound::{Outbound, OutboundLimits};
use crate::pipeline::verify::Door;
use crate::pipeline::verify::sign::{Signing, sign};
use crate::settings::{Env, Secret, SecretRef};

#[derive(Subcommand)]
pub(super) enum Webhook {
    /// List the signature schemes
    Schemes,
    /// Print the headers that sign a body
    Sign(SignArguments),
    /// Sign a body and POST it
    Send {
        #[command(flatten)]
        signing: SignArguments,
        /// Where to, e.g. http://127.0.0.1:8080/webhooks/uzum
        #[arg(long)]
        url: String,
    },
    /// Check a captured request, and say which step fails and why
    Verify(check::VerifyArguments),
}

#[derive(Args)]
pub(super) struct SignArguments {
    /// The secret: env:NAME or file:PATH
    #[arg(long)]
    secret: String,
    #[command(flatten)]
    body: BodyArgument,
    /// See `stockhub webhook schemes`
    #[arg(long, default_value = "plain")]
    scheme: String,
    /// The delivery's id, where the scheme signs one: the same again is a repeat; default: a new one each time
    #[arg(long)]
    id: Option<String>,
    /// The address the sender was given, where the scheme signs it
    #[arg(long)]
    webhook_url: Option<String>,
}

#[derive(Args)]
struct BodyArgument {
    /// A file with the body; - or nothing: standard input
    #[arg(long)]
    body: Option<PathBuf>,
}

pub(super) async fn webhook(command: Webhook) -> ExitCode {
    super::finish(match command {
        Webhook::Schemes => Ok(list()),
        Webhook::Sign(signing) => print(&signing),
        Webhook::Send { signing, url } => send(&signing, url).await,
        Webhook::Verify(arguments) => check::verify(&arguments),
    })
}

fn list() -> ExitCode {
    for name in schemes::names() {
        let header = schemes::named(name).and_then(<[Scheme]>::first).map_or("", |scheme| scheme.header);
        let how = if header.is_empty() { "signs nothing: secret path, addresses and account" } else { header };
        out(&format!("{name:<18} {how}"));
    }
    ExitCode::SUCCESS
}

fn print(signing: &SignArguments) -> anyhow::Result<ExitCode> {
    let body = signing.body.read()?;
    for (name, value) in headers(signing, &body)? {
        out(&format!("{name}: {value}"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn send(signing: &SignArguments, url: String) -> anyhow::Result<ExitCode> {
    let body = signing.body.read()?;
    let limits = OutboundLimits {
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        response_max_bytes: 64 * 1024,
        allow_private_targets: true,
    };
    let mut all = vec![("content-type".to_owned(), "application/json".to_owned())];
    all.extend(headers(signing, &body)?.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let request = Request { method: Method::Post, url, headers: all, body: Some(body) };
    match Outbound::new(limits)?.send(request).await {
        Answer::Response { status, body, .. } => {
            out(&format!("{status} {}", String::from_utf8_lossy(&body)));
            if status == 401 {
                out(
                    "the sender is not told why: admins see it at /v1/admin/webhooks/rejected, and `stockhub webhook verify` shows it",
                );
            }
            Ok(if (200..300).contains(&status) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Answer::NotSent(why) => anyhow::bail!("it could not be sent: {why}"),
        Answer::NoAnswer(why) | Answer::Cut(why) => anyhow::bail!("no answer came: {why}"),
    }
}

impl BodyArgument {
    fn read(&self) -> anyhow::Result<Vec<u8>> {
        match self.body.as_ref().filter(|path| path.as_os_str() != "-") {
            Some(path) => std::fs::read(path).map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display())),
            None => {
                let mut body = Vec::new();
                std::io::stdin().lock().read_to_end(&mut body)?;
                Ok(body)
            }
        }
    }
}

fn scheme(name: &str) -> anyhow::Result<&'static [Scheme]> {
    schemes::named(name).ok_or_else(|| anyhow::anyhow!("there is no scheme {name:?}; `stockhub webhook schemes` lists them"))
}

fn secret(reference: &str) -> anyhow::Result<Secret> {
    Ok(SecretRef::parse(reference).resolve(&Env::of_process())?)
}

fn account(webhook_url: Option<&String>) -> Map<String, Value> {
    webhook_url.map(|url| (Scheme::WEBHOOK_URL.to_owned(), Value::from(url.as_str()))).into_iter().collect()
}

fn headers(signing: &SignArguments, body: &[u8]) -> anyhow::Result<Vec<(&'static str, String)>> {
    let scheme = scheme(&signing.scheme)?.first().ok_or_else(|| anyhow::anyhow!("the scheme is empty"))?;
    let secret = secret(&signing.secret)?;
    let door = Door { method: "POST", ..Door::default() };
    let now = Clock::system().now();
    let id = signing.id.clone().unwrap_or_else(|| format!("by-hand-{}", Chance::from_system().id(now).simple()));
    let signed = sign(&Signing {
        scheme,
        secret: secret.expose(),
        id: &id,
        at: now,
        body,
        account: &account(signing.webhook_url.as_ref()),
        door: &door,
    });
    signed.map_err(|error| match error {
        crate::pipeline::verify::Rejection::UnknownKey => anyhow::anyhow!("{} can only be signed by its sender", signing.scheme),
        crate::pipeline::verify::Rejection::NotConfigured(Scheme::WEBHOOK_URL) => {
            anyhow::anyhow!("{} signs the address too: give it with --webhook-url", signing.scheme)
        }
        crate::pipeline::verify::Rejection::NotConfigured(name) => {
            anyhow::anyhow!("{} signs the account's {name} too, which cannot be given here", signing.scheme)
        }
        other => anyhow::anyhow!("{other}"),
    })
}
