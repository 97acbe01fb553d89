//! `stockhub verify`: reads only, in one snapshot, also beside a running hub. With `--repair` it first brings every level back to
//! its ledger: through the hub where one is running, else by itself under the file lock.

use std::process::ExitCode;
use std::time::Duration;

use super::output::out;
use crate::app::Surroundings;
use crate::app::{db_options, kit};
use crate::db::{DatabaseUrl, Db, OpenError, WriteConnection, verify};
use crate::marketplaces::wire::{Answer, Method, Request};
use crate::outbound::{Outbound, OutboundLimits};
use crate::pipeline::repair::Repair;
use crate::pipeline::writer::Command as _;
use crate::pipeline::{Effects, Tx, setup};
use crate::settings::Settings;

pub(super) async fn verify(settings: Settings, json: bool, repair: bool) -> anyhow::Result<ExitCode> {
    let url = DatabaseUrl::parse(settings.database.url.expose())?;
    let repaired = if repair { mend(&settings, &url).await? } else { Vec::new() };
    let db = Db::open_readers(db_options(&settings, url)).await?;
    let mut reader = db.read().await?;
    reader.begin_snapshot().await?;
    let counts = verify::counts(&mut reader.conn()).await?;
    let findings = verify::findings(&mut reader.conn()).await?;
    reader.end_snapshot().await?;
    drop(reader);
    db.close().await;
    if json {
        let clean = findings.is_empty();
        out(&serde_json::json!({ "clean": clean, "counts": counts, "findings": findings, "repaired": repaired }).to_string());
    } else {
        for level in &repaired {
            let (sku, place) = (level["sku"].as_str().unwrap_or(""), level["location"].as_str().unwrap_or(""));
            out(&format!("repaired {sku} at {place}: on hand {} → {}", level["on_hand_found"], level["on_hand"]));
        }
        out(&format!(
            "{} products, {} movements, {} log rows ({} processed, {} waiting, {} for a person)",
            counts.products, counts.movements, counts.webhooks, counts.processed, counts.waiting, counts.to_handle
        ));
        for f in &findings {
            out(&format!("{} {}: {} (found {}, wanted {})", f.subject, f.place, f.wrong, f.found, f.wanted));
        }
        out(if findings.is_empty() { "clean" } else { "NOT clean" });
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Gives what was repaired, as the API shows it.
async fn mend(settings: &Settings, url: &DatabaseUrl) -> anyhow::Result<Vec<serde_json::Value>> {
    // A hub on PostgreSQL holds no lock that could be seen here: ask whether one answers.
    if !url.is_sqlite()
        && let Some(done) = through_the_hub(settings).await?
    {
        return Ok(done);
    }
    match Db::open(db_options(settings, url.clone())).await {
        Ok((db, writer)) => by_itself(settings, &db, writer).await,
        Err(OpenError::Locked { path }) => {
            let done = through_the_hub(settings).await?;
            done.ok_or_else(|| anyhow::anyhow!("a hub holds {path}, but does not answer at {}", settings.server.bind))
        }
        Err(error) => Err(error.into()),
    }
}

/// `None`: nobody answers there.
async fn through_the_hub(settings: &Settings) -> anyhow::Result<Option<Vec<serde_json::Value>>> {
    let Some(token) = &settings.auth.bootstrap_admin_token else {
        anyhow::bail!("a running hub may be using this database: auth.bootstrap_admin_token is needed to ask it");
    };
    let limits = OutboundLimits {
        timeout: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(2),
        response_max_bytes: 1024 * 1024,
        allow_private_targets: true,
    };
    let mut bind = settings.server.bind;
    if bind.ip().is_unspecified() {
        bind.set_ip(if bind.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    let request = Request {
        method: Method::Post,
        url: format!("http://{bind}/v1/admin/verify/repair"),
        headers: vec![("authorization".to_owned(), format!("Bearer {}", token.expose()))],
        body: Some(Vec::new()),
    };
    match Outbound::new(limits)?.send(request).await {
        Answer::NotSent(_) => Ok(None),
        Answer::NoAnswer(why) | Answer::Cut(why) => anyhow::bail!("the running hub did not answer: {why}"),
        Answer::Response { status: 200, body, .. } => {
            let mut answer: serde_json::Value = serde_json::from_slice(&body)?;
            Ok(Some(serde_json::from_value(answer["repaired"].take())?))
        }
        Answer::Response { status, body, .. } => {
            anyhow::bail!("the running hub answered {status}: {}", String::from_utf8_lossy(&body))
        }
    }
}

async fn by_itself(settings: &Settings, db: &Db, mut writer: WriteConnection) -> anyhow::Result<Vec<serde_json::Value>> {
    let kit = kit(settings, Surroundings::default());
    let mut reader = db.read().await?;
    setup::look(&kit, &mut reader.conn(), settings).await?;
    drop(reader);
    writer.begin().await?;
    let mut tx = Tx { conn: writer.conn(), kit: &kit, now: kit.clock.now(), effects: Effects::default() };
    let done = Repair { actor: "command line".into() }.run(&mut tx).await;
    match &done {
        Ok(_) => writer.commit().await?,
        Err(_) => writer.rollback().await,
    }
    writer.close().await;
    db.close().await;
    done?.into_iter().map(|level| serde_json::to_value(level).map_err(Into::into)).collect()
}
