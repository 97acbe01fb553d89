//! `stockhub explain`: why a marketplace shows this number. Reads only, in one snapshot, also beside a running hub.

use std::process::ExitCode;

use serde_json::Value;

use super::output::{err, out};
use crate::app::{Surroundings, db_options, kit};
use crate::context::Question as _;
use crate::db::{DatabaseUrl, Db};
use crate::pipeline::explain::Explain;
use crate::pipeline::setup;
use crate::settings::Settings;

#[derive(clap::Args)]
pub(super) struct ExplainArguments {
    /// The product
    sku: String,
    /// Only this marketplace
    marketplace: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn explain(settings: Settings, arguments: ExplainArguments) -> anyhow::Result<ExitCode> {
    let url = DatabaseUrl::parse(settings.database.url.expose())?;
    let db = Db::open_readers(db_options(&settings, url)).await?;
    let kit = kit(&settings, Surroundings::default());
    let mut reader = db.read().await?;
    reader.begin_snapshot().await?;
    setup::look(&kit, &mut reader.conn(), &settings).await?;
    let question = Explain { sku: arguments.sku.clone(), marketplace: arguments.marketplace, kit };
    let found = question.ask(&mut reader.conn()).await?;
    reader.end_snapshot().await?;
    drop(reader);
    db.close().await;
    let Some(found) = found else {
        err(&format!("there is no product {}", arguments.sku));
        return Ok(ExitCode::FAILURE);
    };
    out(&if arguments.json { found.to_string() } else { words(&found) });
    Ok(ExitCode::SUCCESS)
}

fn words(found: &Value) -> String {
    let number = |value: &Value| value.as_i64().map_or("?".to_owned(), |n| n.to_string());
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let mut lines = vec![format!("{}: {} available in all", text(&found["sku"]), number(&found["available"]))];
    for l in found["listings"].as_array().into_iter().flatten() {
        lines.push(String::new());
        lines.push(format!(
            "{} {}: shows {} (wanted {}, sent {}, acknowledged {}, expected {}, observed {}; {})",
            text(&l["marketplace"]),
            text(&l["marketplace_product_id"]),
            number(&l["allocated"]),
            number(&l["wanted"]),
            number(&l["sent"]),
            number(&l["acknowledged"]),
            number(&l["expected"]),
            number(&l["observed"]),
            text(&l["state"])
        ));
        for step in l["trace"].as_array().into_iter().flatten() {
            let (name, detail) = (text(&step["step"]), text(&step["detail"]));
            lines.push(format!("  {name:<14} {:>10} → {:>10}  {detail}", number(&step["before"]), number(&step["after"])));
        }
    }
    lines.join("\n")
}
