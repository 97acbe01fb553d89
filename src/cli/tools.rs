//! Small commands: migrate, tokens.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use super::output::{err, out};
use crate::app::db_options;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::db::{Conn, DatabaseUrl, Db, DbError, tokens};
use crate::http::auth::{Role, hash, new_token};
use crate::settings::Settings;

pub(super) async fn migrate(settings: Settings, json: bool) -> anyhow::Result<ExitCode> {
    let url = DatabaseUrl::parse(settings.database.url.expose())?;
    let (db, writer) = Db::open(db_options(&settings, url)).await?;
    let url = db.url().to_string();
    out(&if json {
        serde_json::json!({"database": url, "migrated": true}).to_string()
    } else {
        format!("{url} has this version's tables")
    });
    db.close().await;
    writer.close().await;
    Ok(ExitCode::SUCCESS)
}

#[derive(Subcommand)]
pub(super) enum Token {
    /// Make a token and show it, once (while the hub is stopped; a running one takes POST /v1/admin/tokens)
    Create {
        /// For people: what uses it
        #[arg(long)]
        name: String,
        #[arg(long, value_enum)]
        role: RoleName,
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a token in no more (through the hub where one is running)
    Revoke {
        /// Its id, as `token list` shows it
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Which tokens there are
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum RoleName {
    Storefront,
    Viewer,
    Operator,
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Storefront => Self::Storefront,
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
        }
    }
}

pub(super) async fn token(settings: Settings, command: Token) -> anyhow::Result<ExitCode> {
    let url = DatabaseUrl::parse(settings.database.url.expose())?;
    match command {
        Token::Revoke { id, json } => return super::people::revoke_token(settings, id, json).await,
        Token::Create { name, role, expires_in_days, json } => {
            let (db, mut writer) = Db::open(db_options(&settings, url)).await?;
            let token = new_token()?;
            let lifetime = expires_in_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
            insert(&mut writer.conn(), &name, role.into(), &token, lifetime).await?;
            db.close().await;
            writer.close().await;
            if json {
                out(&serde_json::json!({"name": name, "token": token}).to_string());
            } else {
                err("This is the only time the token is shown:");
                out(&token);
            }
        }
        Token::List { json } => {
            let db = Db::open_readers(db_options(&settings, url)).await?;
            let rows = tokens::list(&mut db.read().await?.conn()).await?;
            for t in rows {
                if json {
                    let line = serde_json::json!({"id": t.id, "name": t.name, "role": t.role, "prefix": t.prefix,
                        "created_at": t.created_at, "expires_at": t.expires_at, "revoked_at": t.revoked_at});
                    out(&line.to_string());
                } else {
                    let state = if t.revoked_at.is_some() { "revoked" } else { "live" };
                    out(&format!("{} {:<10} {:<8} {}…  {}", t.id, t.role, state, t.prefix, t.name));
                }
            }
            db.close().await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn insert(conn: &mut Conn<'_>, name: &str, role: Role, token: &str, lifetime: Option<Duration>) -> Result<(), DbError> {
    let now = Clock::system().now();
    let new = tokens::NewToken {
        id: Chance::from_system().id(now),
        name,
        hash: &hash(token),
        prefix: &token.chars().take(8).collect::<String>(),
        role: role.as_str(),
        created_by: "command line",
        expires_at: lifetime.map(|span| now.plus(span)),
    };
    tokens::insert(conn, &new, now).await
}
