//! Making, changing and removing people. The last admin stays: else nobody could let anybody in again.

use uuid::Uuid;

use crate::db::DbError;
use crate::db::users::{self, UserRow};
use crate::pipeline::writer::Command;
use crate::pipeline::{CommandError, Tx};

#[derive(Debug, thiserror::Error)]
pub enum UserError {
    #[error("no such user or session")]
    Unknown,
    #[error("somebody has this e-mail address")]
    EmailTaken,
    #[error("the last admin must stay")]
    LastAdmin,
    #[error("there are users already")]
    AlreadySetUp,
    #[error("the set-up token is wrong or was used")]
    WrongSetupToken,
    #[error(transparent)]
    Database(#[from] DbError),
}

impl CommandError for UserError {
    fn database(&self) -> Option<&DbError> {
        if let Self::Database(error) = self { Some(error) } else { None }
    }
}

/// An e-mail address as it is stored and looked up.
pub fn email(text: &str) -> Result<String, &'static str> {
    let text = text.trim().to_lowercase();
    let parts = text.split_once('@');
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    let good = parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    if good && plain && text.len() <= 254 { Ok(text) } else { Err("must be an e-mail address") }
}

/// What a password must be like; where it is kept is `password`.
pub fn fit_password(password: &str, email: &str, min_chars: usize) -> Result<(), String> {
    let count = password.chars().count();
    if count < min_chars || count > super::password::MAX_CHARS {
        return Err(format!("must have {min_chars} to {} characters", super::password::MAX_CHARS));
    }
    if password.to_lowercase() == email {
        return Err("must not be the e-mail address".into());
    }
    Ok(())
}

pub struct CreateUser {
    pub email: String,
    pub name: String,
    pub role: &'static str,
    pub password_hash: String,
}

impl Command for CreateUser {
    type Output = UserRow;
    type Error = UserError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<UserRow, UserError> {
        let user = UserRow {
            id: tx.id(),
            email: self.email.clone(),
            name: self.name.clone(),
            password_hash: self.password_hash.clone(),
            role: self.role.into(),
            created_at: tx.now,
            last_login_at: None,
            disabled_at: None,
        };
        users::insert(&mut tx.conn, &user).await.map_err(taken)?;
        Ok(user)
    }
}

/// What is to change of somebody; `None` stays.
#[derive(Default)]
pub struct ChangeUser {
    pub id: Uuid,
    pub email: Option<String>,
    pub name: Option<String>,
    pub role: Option<&'static str>,
    pub password_hash: Option<String>,
    pub disabled: Option<bool>,
    /// The session that asks, where they change themselves: it stays.
    pub keep_session: Option<Uuid>,
}

impl Command for ChangeUser {
    type Output = UserRow;
    type Error = UserError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<UserRow, UserError> {
        let old = users::lock(&mut tx.conn, self.id).await?.ok_or(UserError::Unknown)?;
        let mut user = old.clone();
        if let Some(email) = &self.email {
            user.email.clone_from(email);
        }
        if let Some(name) = &self.name {
            user.name.clone_from(name);
        }
        if let Some(role) = self.role {
            role.clone_into(&mut user.role);
        }
        if let Some(hash) = &self.password_hash {
            user.password_hash.clone_from(hash);
        }
        match self.disabled {
            Some(true) => user.disabled_at = old.disabled_at.or(Some(tx.now)),
            Some(false) => user.disabled_at = None,
            None => {}
        }
        if is_admin(&old) && !is_admin(&user) && users::admins_beside(&mut tx.conn, self.id).await? == 0 {
            return Err(UserError::LastAdmin);
        }
        users::update(&mut tx.conn, &user).await.map_err(taken)?;
        // Whoever knew the old password, or had more rights, is out.
        if user.password_hash != old.password_hash || user.disabled_at.is_some() {
            users::end_sessions_of(&mut tx.conn, self.id, self.keep_session).await?;
        }
        Ok(user)
    }
}

pub struct RemoveUser(pub Uuid);

impl Command for RemoveUser {
    type Output = ();
    type Error = UserError;

    async fn run(&mut self, tx: &mut Tx<'_>) -> Result<(), UserError> {
        let user = users::lock(&mut tx.conn, self.0).await?.ok_or(UserError::Unknown)?;
        if is_admin(&user) && users::admins_beside(&mut tx.conn, self.0).await? == 0 {
            return Err(UserError::LastAdmin);
        }
        users::end_sessions_of(&mut tx.conn, self.0, None).await?;
        users::delete(&mut tx.conn, self.0).await?;
        Ok(())
    }
}

fn is_admin(user: &UserRow) -> bool {
    user.role == "admin" && user.disabled_at.is_none()
}

fn taken(error: DbError) -> UserError {
    if matches!(error, DbError::Exists { .. }) { UserError::EmailTaken } else { error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_one_however_they_are_typed() {
        assert_eq!(email(" Ann@Example.COM "), Ok("ann@example.com".into()));
        for bad in
            ["", "ann", "@example.com", "ann@", "a@b@c", "a b@example.com", "a\n@example.com", &format!("{}@x", "a".repeat(300))]
        {
            assert!(email(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn passwords_have_a_length_and_are_not_the_address() {
        assert!(fit_password("correct horse", "ann@example.com", 10).is_ok());
        assert!(fit_password("short", "ann@example.com", 10).is_err());
        assert!(fit_password(&"x".repeat(129), "ann@example.com", 10).is_err());
        assert!(fit_password("Ann@example.com", "ann@example.com", 10).is_err());
    }
}
