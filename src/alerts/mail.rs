//! Alerts by e-mail, over SMTP. The one file that names the mail library.

use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncTransport as _, Message, Tokio1Executor};

use super::Sent;
use crate::settings::{MailSettings, MailTls};

pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error("mail.from is no address: {0}")]
    From(#[from] lettre::address::AddressError),
    #[error("mail.host cannot be used: {0}")]
    Server(#[from] lettre::transport::smtp::Error),
}

/// One mail, to whoever is to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The same for every try: a mail that comes twice can be recognised.
    pub id: String,
    pub subject: String,
    pub text: String,
}

impl Mailer {
    /// `None` when no server is set.
    pub fn new(settings: &MailSettings) -> Result<Option<Self>, MailError> {
        if !settings.is_on() {
            return Ok(None);
        }
        let tls = || TlsParameters::new(settings.host.clone());
        let tls = match settings.tls {
            MailTls::None => Tls::None,
            // Required: a server that does not offer it is not spoken to in the clear.
            MailTls::StartTls => Tls::Required(tls()?),
            MailTls::Tls => Tls::Wrapper(tls()?),
        };
        let from: Mailbox = settings.from.parse()?;
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host.as_str())
            .port(settings.port)
            .tls(tls)
            .timeout(Some(settings.timeout()))
            .hello_name(ClientId::Domain(from.email.domain().to_owned()));
        if let Some(password) = settings.password.as_ref().filter(|_| !settings.username.is_empty()) {
            transport = transport.credentials(Credentials::new(settings.username.clone(), password.expose().to_owned()));
        }
        Ok(Some(Self { transport: transport.build(), from, timeout: settings.timeout() }))
    }

    pub async fn send(&self, to: &[String], mail: &Mail) -> Sent {
        let message = match self.message(to, mail) {
            Ok(message) => message,
            Err(why) => return Sent::Refused { status: None, why },
        };
        // The library's own limit is per command; this one is for the whole mail.
        match tokio::time::timeout(self.timeout, self.transport.send(message)).await {
            Ok(Ok(_)) => Sent::Delivered { status: Some(250) },
            Ok(Err(error)) => {
                let (status, why) = (error.status().map(u16::from), error.to_string());
                if error.is_permanent() { Sent::Refused { status, why } } else { Sent::Retry { status, why, after: None } }
            }
            Err(_) => Sent::Retry { status: None, why: "the mail server did not answer in time".into(), after: None },
        }
    }

    fn message(&self, to: &[String], mail: &Mail) -> Result<Message, String> {
        let id = format!("<{}@{}>", mail.id, self.from.email.domain());
        let subject: String = mail.subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
        let mut builder: MessageBuilder = Message::builder().from(self.from.clone()).message_id(Some(id)).subject(subject);
        for address in to {
            builder = builder.to(address.parse::<Mailbox>().map_err(|error| format!("{address:?} is no address: {error}"))?);
        }
        builder.header(ContentType::TEXT_PLAIN).body(mail.text.clone()).map_err(|error| error.to_string())
    }
}

/// Whether mail can be sent there.
pub fn is_address(text: &str) -> bool {
    text.parse::<Address>().is_ok()
}
