//! Tables out, as comma-separated values (RFC 4180). How they come in: `csv_read.rs`.

use std::future::Future;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;

use crate::context::Context;
use crate::db::DbError;

/// Pieces of a table that wait for a slow reader.
const PIECES: usize = 2;

/// A table that is made a piece at a time: the next one is asked for when there is room for it, so that a long table takes no more
/// memory than a short one, and no connection to the database waits for who reads it.
pub trait Pieces: Send + 'static {
    /// The next lines, or none for now; `None` at the end.
    fn next(&mut self, ctx: &Context) -> impl Future<Output = Result<Option<String>, DbError>> + Send;
}

pub fn is_wanted(request: &HttpRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    accept.split(',').any(|kind| kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("text/csv"))
}

/// A table that is there already.
impl Pieces for Option<String> {
    async fn next(&mut self, _: &Context) -> Result<Option<String>, DbError> {
        Ok(self.take())
    }
}

/// What is on its way to whoever reads a table; `None` once all of it was said.
type Sent = mpsc::Receiver<Option<String>>;

/// A table as an answer, kept as a file.
pub fn answer(ctx: &web::Data<Context>, name: &str, columns: &[&str], mut pieces: impl Pieces) -> HttpResponse {
    let (sender, sent) = mpsc::channel(PIECES);
    // There is room for the first piece.
    let _ = sender.try_send(Some(line(columns.iter().copied())));
    let (workers, ctx) = (ctx.workers.clone(), ctx.clone());
    workers.start(async move {
        let stopping = ctx.workers.stopping().clone();
        loop {
            let piece = match pieces.next(&ctx).await {
                Ok(piece) => piece,
                Err(error) => return tracing::warn!(%error, "a table broke off"),
            };
            let ends = piece.is_none();
            let read = tokio::select! {
                sent = sender.send(piece) => sent.is_ok(),
                () = stopping.cancelled() => false,
            };
            if ends || !read {
                return;
            }
        }
    });
    let mut response = HttpResponse::Ok();
    response.content_type("text/csv; charset=utf-8");
    response.insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.csv\"")));
    response.streaming(Box::pin(stream::unfold(Some(sent), body)))
}

/// The next piece of the body. A table whose end was not said breaks the connection off: it must not look whole.
async fn body(sent: Option<Sent>) -> Option<(Result<Bytes, std::io::Error>, Option<Sent>)> {
    let mut sent = sent?;
    match sent.recv().await {
        Some(Some(lines)) => Some((Ok(lines.into()), Some(sent))),
        Some(None) => None,
        None => Some((Err(std::io::Error::other("the table broke off")), None)),
    }
}

/// Whether a spreadsheet would take a text for a formula.
pub fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '@', '\t', '\r']) || (text.starts_with('-') && text.parse::<f64>().is_err())
}

/// One line of a table. A cell that a spreadsheet would take for a formula is led by an apostrophe: names come from outside. So is one
/// that begins as if it had been, or its own apostrophe would be lost when it is read.
pub fn line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for (n, cell) in cells.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        let cell = if is_formula(cell.trim_start_matches('\'')) { format!("'{cell}") } else { cell.to_owned() };
        if cell.contains(['"', ',', '\n', '\r']) {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(&cell);
        }
    }
    out.push_str("\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_no_spreadsheet_runs() {
        assert_eq!(line(["a", "b,c", "say \"x\"", "=1+1", "-5", "-A"]), "a,\"b,c\",\"say \"\"x\"\"\",'=1+1,-5,'-A\r\n");
        for cell in ["=1+1", "'=1+1", "''@x", "-A", "'-A", "-5", "'-5", "'quoted'", "it's"] {
            let written = line([cell]);
            assert_eq!(super::super::csv_read::plain(written.trim_end().to_owned()), cell, "{written}");
        }
    }
}
