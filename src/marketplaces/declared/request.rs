//! Requests as a file describes them, and how they become values that can be sent: address, headers, proof of who we are.

use super::auth::Auth;
use super::file::AdapterFile;
use super::read::{self, In};
use super::template::{Place, Shape, Template, Writing, encoded};
use super::values::Values;
use crate::marketplaces::wire::Method;
use crate::marketplaces::{Call, Connection, Moment, Request, Unreadable};

#[derive(Clone, Debug)]
pub struct RequestSpec {
    pub method: Method,
    pub path: Template,
    /// One of `adapter.hosts`.
    pub host: Option<String>,
    pub query: Vec<(String, Template)>,
    pub body: Option<Shape>,
    pub headers: Vec<(String, Template)>,
    /// `None`: the limit called "all", where there is one.
    pub limits: Option<Vec<&'static str>>,
}

impl RequestSpec {
    /// What the `request` key says, which may be missing; the other keys are read all the same.
    pub fn read(s: &mut In<'_, '_, '_>, place: Place) -> Option<Self> {
        let shared = if place == Place::Push { Place::PushShared } else { place };
        // Of a request for one item the path may name that item.
        let in_path = if place == Place::Push { Place::Push } else { shared };
        let line = s.opt("request", move |node| {
            let (method, path) = read::request_line(&read::text(node)?)?;
            Template::parse(&path, in_path).map(|path| (method, path))
        });
        let spec = line.map(|(method, path)| Self {
            method,
            path,
            host: None,
            query: Vec::new(),
            body: None,
            headers: Vec::new(),
            limits: None,
        });
        let host = s.opt("host", read::text);
        let query = read::templates(s, "query", shared);
        let headers = read::templates(s, "headers", shared);
        let body = s.opt("body", |node| Shape::parse(&read::text(node)?, place));
        let limits = s.opt("limits", read::names).map(|names| names.iter().map(|name| super::intern::intern(name)).collect());
        Some(Self { host, query, body, headers, limits, ..spec? })
    }

    pub fn post(path: Template, body: Shape, limits: Vec<&'static str>) -> Self {
        let (query, headers) = (Vec::new(), Vec::new());
        Self { method: Method::Post, path, host: None, query, body: Some(body), headers, limits: Some(limits) }
    }

    /// The list below an element of this one: the same pages, another path.
    pub fn below(&self, line: &str) -> Result<Self, String> {
        let (method, path) = read::request_line(line)?;
        Ok(Self { method, path: Template::parse(&path, Place::Children)?, ..self.clone() })
    }

    /// Another list that is read alike: without a window.
    pub fn beside(&self, line: &str) -> Result<Self, String> {
        let (method, path) = read::request_line(line)?;
        Ok(Self { method, path: Template::parse(&path, Place::Orders)?, query: Vec::new(), body: None, ..self.clone() })
    }

    pub fn templates(&self) -> Vec<&Template> {
        let mut all = vec![&self.path];
        all.extend(self.query.iter().map(|(_, template)| template));
        all.extend(self.headers.iter().map(|(_, template)| template));
        all.extend(self.body.iter().flat_map(Shape::templates));
        all
    }
}

/// Where the requests of a connection go: its own address, the named host it chose, the request's host, the adapter's.
pub fn base(
    file: &AdapterFile,
    connection: &Connection,
    host: Option<&str>,
    now: crate::domain::time::Timestamp,
) -> Result<String, Unreadable> {
    if let Some(own) = connection.base_url.as_deref() {
        return Ok(own.trim_end_matches('/').to_owned());
    }
    let chosen = connection.account.get(HOST).and_then(serde_json::Value::as_str);
    let template = match chosen.or(host) {
        Some(name) => file.hosts.get(name).ok_or_else(|| {
            let known = file.hosts.keys().cloned().collect::<Vec<_>>().join(", ");
            Unreadable::new("unknown-host", format!("{} has no host {name:?}; it has {known}", file.id))
        })?,
        None => file.base_url.as_ref().ok_or_else(|| Unreadable::new("no-base-url", "base_url is not set"))?,
    };
    let writing = if template.is_single() { Writing::Plain } else { Writing::Host };
    let text = template.text(&Values::new(connection, now), writing)?.unwrap_or_default();
    checked(&text)
}

/// The account's choice among the hosts of the adapter.
pub const HOST: &str = "host";

/// An address that was put together: https, or http to this machine for tests, and nothing beside it.
fn checked(text: &str) -> Result<String, Unreadable> {
    let wrong = |why: &str| Unreadable::new("invalid-base-url", format!("base_url {why}"));
    let url = url::Url::parse(text).map_err(|_| wrong("is not an address"))?;
    let loopback = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if loopback => {}
        _ => return Err(wrong("must begin with https://")),
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must hold no user, query or fragment"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Whether an address that an answer named leads to where we asked.
pub fn same_origin(base: &str, next: &str) -> Option<String> {
    let base = url::Url::parse(&format!("{}/", base.trim_end_matches('/'))).ok()?;
    let next = base.join(next).ok()?;
    (next.origin() == base.origin() && next.username().is_empty() && next.password().is_none()).then(|| next.to_string())
}

pub fn build(file: &AdapterFile, moment: &Moment, spec: &RequestSpec, values: &Values<'_>) -> Result<Call, Unreadable> {
    let base = base(file, values.connection, spec.host.as_deref(), moment.now)?;
    let path = spec.path.text(values, Writing::Encoded)?.unwrap_or_default();
    let mut query = Vec::new();
    for (name, template) in &spec.query {
        if let Some(value) = template.text(values, Writing::Encoded)?.filter(|value| !value.is_empty()) {
            query.push(format!("{}={value}", encoded(name)));
        }
    }
    let url = if query.is_empty() { format!("{base}{path}") } else { format!("{base}{path}?{}", query.join("&")) };
    let body = match &spec.body {
        None => None,
        Some(shape) => shape.render(values)?.map(|body| body.to_string().into_bytes()),
    };
    finish(file, moment, spec, values, url, body)
}

/// The page whose whole address the one before gave.
pub fn follow(
    file: &AdapterFile,
    moment: &Moment,
    spec: &RequestSpec,
    values: &Values<'_>,
    next: &str,
) -> Result<Call, Unreadable> {
    let base = base(file, values.connection, spec.host.as_deref(), moment.now)?;
    let url = same_origin(&base, next)
        .ok_or_else(|| Unreadable::new("foreign-page", "the next page is on another host: it is not asked"))?;
    finish(file, moment, spec, values, url, None)
}

fn finish(
    file: &AdapterFile,
    moment: &Moment,
    spec: &RequestSpec,
    values: &Values<'_>,
    url: String,
    body: Option<Vec<u8>>,
) -> Result<Call, Unreadable> {
    let mut headers = Vec::new();
    if body.is_some() {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    headers.extend(shared_headers(file, values)?);
    for (name, template) in &spec.headers {
        headers.extend(template.text(values, Writing::Plain)?.map(|value| (name.to_ascii_lowercase(), value)));
    }
    let mut request = Request { method: spec.method, url, headers, body };
    file.auth.sign(&mut request, moment, values)?;
    if let Some((name, _)) = request.headers.iter().find(|(_, value)| value.chars().any(char::is_control)) {
        return Err(Unreadable::new("invalid-value", format!("the header {name} would hold control characters")));
    }
    let limits =
        spec.limits.clone().unwrap_or_else(|| file.limits.iter().map(|l| l.name).filter(|name| *name == "all").collect());
    Ok(Call { request, limits })
}

/// The headers that every request of this adapter carries.
pub fn shared_headers(file: &AdapterFile, values: &Values<'_>) -> Result<Vec<(String, String)>, Unreadable> {
    let mut headers = Vec::new();
    if let Some(agent) = &file.http.user_agent {
        headers.extend(agent.text(values, Writing::Plain)?.map(|value| ("user-agent".to_owned(), value)));
    }
    for (name, template) in &file.http.headers {
        headers.extend(template.text(values, Writing::Plain)?.map(|value| (name.to_ascii_lowercase(), value)));
    }
    Ok(headers)
}

impl Auth {
    /// The text of a method, as it is signed.
    pub const fn method(method: Method) -> &'static str {
        match method {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}
