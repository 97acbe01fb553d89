//! `stockhub backup`: a whole and consistent copy of the database, while the hub runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::output::{err, out};
use crate::app::db_options;
use crate::db::{DatabaseUrl, Db};
use crate::settings::Settings;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stockhub backup hub-2026-01-09.db\n\nTo restore, stop the hub and put the copy (and the key file) where database.url says. \
    The hub then knows that time was turned back, and tells every browser to start anew."
)]
pub(super) struct BackupArguments {
    /// The copy; must not exist yet
    file: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn backup(settings: Settings, arguments: BackupArguments) -> anyhow::Result<ExitCode> {
    let BackupArguments { file, json } = arguments;
    let url = DatabaseUrl::parse(settings.database.url.expose())?;
    let DatabaseUrl::Sqlite(path) = &url else {
        err(
            "error: a PostgreSQL database is copied by its own tool, also while the hub runs:\n\n    pg_dump --format=custom --file=hub.dump \"$DATABASE_URL\"\n\n\
             After pg_restore, say that it is a backup, so that browsers start anew:\n\n    \
             psql \"$DATABASE_URL\" -c \"INSERT INTO hub_meta VALUES ('is_backup', '1') ON CONFLICT DO NOTHING\"",
        );
        return Ok(ExitCode::from(2));
    };
    if file.exists() {
        anyhow::bail!("{} is there already; a backup overwrites nothing", file.display());
    }
    let key = PathBuf::from(format!("{path}.key"));
    let options = db_options(&settings, url.clone());
    let db = Db::open_readers(options.clone()).await?;
    db.copy_to(&file).await?;
    db.close().await;
    let bytes = check(&file, options).await?;
    let key = key.exists().then_some(key);
    if json {
        out(&serde_json::json!({"file": file, "bytes": bytes, "key_file": key}).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    out(&format!("{} holds a whole copy ({bytes} bytes)", file.display()));
    if let Some(key) = key {
        err(&format!(
            "Keep {} with it, apart from it: without that key its secrets and customers' data cannot be opened.",
            key.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// A copy that cannot be opened is none.
async fn check(file: &Path, options: crate::db::DbOptions) -> anyhow::Result<u64> {
    std::fs::File::open(file)?.sync_all()?;
    let url = DatabaseUrl::parse(&format!("sqlite://{}", file.display()))?;
    let copy = Db::open_readers(crate::db::DbOptions { url, ..options }).await?;
    copy.close().await;
    Ok(std::fs::metadata(file)?.len())
}
