//! `stockhub webhook`: for engineers who connect a shop. Signs a body as the generic schema does, and sends it.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::output::out;
use crate::clock::Clock;
use crate::marketplaces::wire::{Answer, Method, Request};
use crate::outbound::{Outbound, OutboundLimits};
use crate::settings::{Env, SecretRef};
use std::time::Duration;

#[derive(Subcommand)]
pub(super) enum Webhook {
    /// Print the headers that sign a body
    Sign(Signing),
    /// Sign a body and POST it
    Send {
        #[command(flatten)]
        signing: Signing,
        /// Where to, e.g. http://127.0.0.1:8080/webhooks/uzum
        #[arg(long)]
        url: String,
    },
}

#[derive(Args)]
pub(super) struct Signing {
    /// The secret: env:NAME or file:PATH
    #[arg(long)]
    secret: String,
    /// A file with the body; - or nothing: standard input
    #[arg(long)]
    body: Option<PathBuf>,
    /// Which shape of signature
    #[arg(long, value_enum, default_value = "plain")]
    scheme: Shape,
    /// The delivery's id, where the shape signs one
    #[arg(long, default_value = "by-hand-1")]
    id: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shape {
    /// X-Webhook-Signature over the body
    Plain,
    /// X-Webhook-Signature over id.timestamp.body
    Stamped,
}

pub(super) async fn webhook(command: Webhook) -> ExitCode {
    super::finish(run(command).await)
}

async fn run(command: Webhook) -> anyhow::Result<ExitCode> {
    let (signing, url) = match command {
        Webhook::Sign(signing) => (signing, None),
        Webhook::Send { signing, url } => (signing, Some(url)),
    };
    let body = read(signing.body.as_ref())?;
    let secret = SecretRef::parse(&signing.secret).resolve(&Env::of_process())?;
    let headers = sign(&signing, secret.expose().as_bytes(), &body)?;
    let Some(url) = url else {
        for (name, value) in &headers {
            out(&format!("{name}: {value}"));
        }
        return Ok(ExitCode::SUCCESS);
    };
    let limits = OutboundLimits {
        timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(5),
        response_max_bytes: 64 * 1024,
        allow_private_targets: true,
    };
    let mut all = vec![("content-type", "application/json".to_owned())];
    all.extend(headers);
    let request = Request { method: Method::Post, url, headers: all, body: Some(body) };
    match Outbound::new(limits)?.send(request).await {
        Answer::Response { status, body, .. } => {
            out(&format!("{status} {}", String::from_utf8_lossy(&body)));
            Ok(if (200..300).contains(&status) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Answer::NotSent(why) => anyhow::bail!("it could not be sent: {why}"),
        Answer::NoAnswer(why) => anyhow::bail!("no answer came: {why}"),
    }
}

fn read(path: Option<&PathBuf>) -> anyhow::Result<Vec<u8>> {
    match path.filter(|path| path.as_os_str() != "-") {
        Some(path) => std::fs::read(path).map_err(|error| anyhow::anyhow!("cannot read {}: {error}", path.display())),
        None => {
            let mut body = Vec::new();
            std::io::stdin().lock().read_to_end(&mut body)?;
            Ok(body)
        }
    }
}

fn sign(signing: &Signing, secret: &[u8], body: &[u8]) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret)?;
    match signing.scheme {
        Shape::Plain => {
            mac.update(body);
            Ok(vec![("x-webhook-signature", hex::encode(mac.finalize().into_bytes()))])
        }
        Shape::Stamped => {
            let stamp = Clock::system().now().seconds().to_string();
            mac.update(format!("{}.{stamp}.", signing.id).as_bytes());
            mac.update(body);
            let tag = hex::encode(mac.finalize().into_bytes());
            Ok(vec![("x-webhook-id", signing.id.clone()), ("x-webhook-timestamp", stamp), ("x-webhook-signature", tag)])
        }
    }
}
