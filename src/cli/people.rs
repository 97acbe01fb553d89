//! `stockhub user`, `token revoke` and `secret rotate`: through the hub that runs, else through one of their own.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::hub::{Api, Said, with_hub};
use super::output::{err, out};
use super::tools::RoleName;
use crate::chance::secret_bytes;
use crate::http::auth::Role;
use crate::settings::{Env, SecretRef, Settings, parse_duration};

#[derive(Subcommand)]
pub(super) enum User {
    /// Let somebody sign in to the dashboard
    #[command(after_help = "Examples:\n  stockhub user add ann@example.com --role admin\n  \
        stockhub user add bob@example.com --role viewer --password file:bob.txt")]
    Add {
        email: String,
        #[arg(long, value_enum, default_value = "viewer")]
        role: RoleName,
        /// Shown to people; left out: the e-mail address
        #[arg(long)]
        name: Option<String>,
        /// env:NAME or file:PATH; left out: one is made and shown, once
        #[arg(long, value_name = "REFERENCE")]
        password: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Who may sign in
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let somebody in no more; their sessions end
    Remove {
        email: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
pub(super) enum SecretCommand {
    /// Give a marketplace a new secret; the old ones are believed for a while
    #[command(after_help = "Examples:\n  stockhub secret rotate uzum webhook_secret\n  \
        stockhub secret rotate ozon api_key --secret env:OZON_KEY --overlap 0s")]
    Rotate {
        /// The marketplace's code
        marketplace: String,
        /// As the adapter names it, like webhook_secret
        name: String,
        /// env:NAME or file:PATH; left out: one is made and shown, once
        #[arg(long, value_name = "REFERENCE")]
        secret: Option<String>,
        /// How long the old ones are still believed, like 24h
        #[arg(long, default_value = "24h")]
        overlap: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// The value behind env:NAME or file:PATH; on the command line itself others would see it.
fn referred(text: &str) -> anyhow::Result<String> {
    match SecretRef::parse(text) {
        SecretRef::Literal(_) => anyhow::bail!("give env:NAME or file:PATH: what stands on a command line can be seen by others"),
        reference => {
            let value = reference.resolve(&Env::of_process()).map_err(|error| anyhow::anyhow!("{reference} {error}"))?;
            Ok(value.expose().trim_end_matches(['\r', '\n']).to_owned())
        }
    }
}

pub(super) async fn user(settings: Settings, command: User) -> anyhow::Result<ExitCode> {
    with_hub(settings, move |api| async move {
        match command {
            User::Add { email, role, name, password, json } => {
                add(&api, &email, role.into(), name, password.as_deref(), json).await
            }
            User::List { json } => {
                let said = api.get("/v1/admin/users").await?;
                if said.status != 200 {
                    return Ok(said.refused());
                }
                for one in said.body["items"].as_array().into_iter().flatten() {
                    if json { out(&one.to_string()) } else { out(&line(one)) }
                }
                Ok(ExitCode::SUCCESS)
            }
            User::Remove { email, json } => remove(&api, &email, json).await,
        }
    })
    .await
}

fn line(user: &Value) -> String {
    let text = |name: &str| user[name].as_str().unwrap_or("").to_owned();
    let state = if user["disabled"] == true { "disabled" } else { "" };
    format!(
        "{:<32} {:<9} {:<9} last here {}",
        text("email"),
        text("role"),
        state,
        user["last_login_at"].as_str().unwrap_or("never")
    )
}

async fn add(
    api: &Api,
    email: &str,
    role: Role,
    name: Option<String>,
    password: Option<&str>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let made = password.is_none();
    let password = match password {
        Some(reference) => referred(reference)?,
        None => hex::encode(secret_bytes::<12>()?),
    };
    let mut body = json!({"email": email, "role": role.as_str(), "password": password});
    if let Some(name) = name {
        body["name"] = name.into();
    }
    let said = api.post("/v1/admin/users", &body).await?;
    if said.status != 201 {
        return Ok(said.refused());
    }
    if json {
        let mut shown = said.body;
        if made {
            shown["password"] = password.into();
        }
        out(&shown.to_string());
    } else {
        out(&format!("{} may sign in as {}", said.body["email"].as_str().unwrap_or(email), role.as_str()));
        if made {
            err("This is the only time the password is shown:");
            out(&password);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn remove(api: &Api, email: &str, json: bool) -> anyhow::Result<ExitCode> {
    let all = api.get("/v1/admin/users").await?;
    let wanted = email.trim().to_lowercase();
    let found = all.body["items"].as_array().into_iter().flatten().find(|user| user["email"] == wanted.as_str());
    let Some(id) = found.and_then(|user| user["id"].as_str()) else {
        err(&format!("error: nobody has the e-mail address {email}; `stockhub user list` names them"));
        return Ok(ExitCode::from(2));
    };
    done(&api.delete(&format!("/v1/admin/users/{id}")).await?, &format!("{wanted} is let in no more"), json)
}

fn done(said: &Said, words: &str, json: bool) -> anyhow::Result<ExitCode> {
    if said.status != 200 {
        return Ok(said.refused());
    }
    out(&if json { said.body.to_string() } else { words.to_owned() });
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn revoke_token(settings: Settings, id: String, json: bool) -> anyhow::Result<ExitCode> {
    with_hub(settings, move |api| async move {
        done(&api.delete(&format!("/v1/admin/tokens/{id}")).await?, &format!("{id} is revoked"), json)
    })
    .await
}

pub(super) async fn secret(settings: Settings, command: SecretCommand) -> anyhow::Result<ExitCode> {
    let SecretCommand::Rotate { marketplace, name, secret, overlap, json } = command;
    let overlap = parse_duration(&overlap).map_err(|error| anyhow::anyhow!("--overlap {error}"))?;
    let mut body = json!({"name": name, "overlap_seconds": overlap.as_secs()});
    if let Some(reference) = &secret {
        body["secret"] = referred(reference)?.into();
    }
    with_hub(settings, move |api| async move {
        let said = api.post(&format!("/v1/admin/marketplaces/{marketplace}/rotate-secret"), &body).await?;
        if said.status != 200 {
            return Ok(said.refused());
        }
        if json {
            out(&said.body.to_string());
            return Ok(ExitCode::SUCCESS);
        }
        let key = said.body["key_id"].as_str().unwrap_or("");
        match said.body["old_valid_until"].as_str() {
            Some(until) => err(&format!("{marketplace} has a new {name} ({key}); the old one is believed until {until}")),
            None => err(&format!("{marketplace} has a {name} now ({key})")),
        }
        if let Some(made) = said.body["secret"].as_str() {
            err("This is the only time it is shown:");
            out(made);
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}
