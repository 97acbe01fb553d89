//! `stockhub verify`: reads only, in one snapshot, also beside a running hub.

use std::process::ExitCode;

use super::output::out;
use crate::app::db_options;
use crate::db::{DatabaseUrl, Db, verify};
use crate::settings::Settings;

pub(super) async fn verify(settings: Settings, json: bool) -> anyhow::Result<ExitCode> {
    let url = DatabaseUrl::parse(settings.database.url.expose())?;
    let db = Db::open_readers(db_options(&settings, url)).await?;
    let mut reader = db.read().await?;
    reader.begin_snapshot().await?;
    let counts = verify::counts(&mut reader.conn()).await?;
    let findings = verify::findings(&mut reader.conn()).await?;
    reader.end_snapshot().await?;
    drop(reader);
    db.close().await;
    if json {
        out(&serde_json::json!({ "clean": findings.is_empty(), "counts": counts, "findings": findings }).to_string());
    } else {
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
