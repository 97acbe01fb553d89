//! Comma-separated values (RFC 4180): tables in and tables out.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::table::Body;
use crate::context::Context;
use crate::db::DbError;

/// Pieces of a table that wait for a slow reader.
const PIECES: usize = 2;

pub fn is_wanted(request: &HttpRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    accept.split(',').any(|kind| kind.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("text/csv"))
}

/// A table that is sent while it is made.
pub struct Writer {
    sender: mpsc::Sender<Result<Bytes, std::io::Error>>,
    body: Option<Body>,
    stop: CancellationToken,
}

impl Writer {
    pub fn begin(ctx: &Context, columns: &[&str]) -> Self {
        let (sender, body) = mpsc::channel(PIECES);
        // There is room for the first piece.
        let _ = sender.try_send(Ok(Bytes::from(line(columns.iter().copied()))));
        Self { sender, body: Some(body), stop: ctx.workers.stopping().clone() }
    }

    /// What the reader gets; once.
    pub fn body(&mut self) -> Option<Body> {
        self.body.take()
    }

    /// False when nobody reads any more.
    pub async fn write(&self, text: String) -> bool {
        tokio::select! {
            sent = self.sender.send(Ok(Bytes::from(text))) => sent.is_ok(),
            () = self.stop.cancelled() => false,
        }
    }

    /// The reader shall see that it is not whole.
    pub async fn break_off(&self, error: &DbError) {
        tracing::warn!(%error, "a table broke off");
        let _ = self.sender.send(Err(std::io::Error::other("the table broke off"))).await;
    }
}

/// A table as an answer: shown by nothing, kept as a file.
pub fn response(name: &str, body: Option<Body>) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.content_type("text/csv; charset=utf-8");
    response.insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}.csv\"")));
    match body {
        Some(body) => response.streaming(Box::pin(futures_util::stream::unfold(body, |mut body| async {
            body.recv().await.map(|piece| (piece, body))
        }))),
        None => response.finish(),
    }
}

/// The cells of a text, row by row, each with the number of the line it begins on. A cell may stand in quotes; inside them two
/// quotes are one, and a line break belongs to the cell. A line number alone: the quotes opened there are never closed.
pub fn rows(text: &str) -> Result<Vec<(usize, Vec<String>)>, usize> {
    let mut rows = Vec::new();
    let (mut cells, mut cell) = (Vec::new(), String::new());
    let (mut line, mut begun, mut quoted) = (1, 1, false);
    let mut chars = text.trim_start_matches('\u{feff}').chars().peekable();
    let mut end = |cells: &mut Vec<String>, cell: &mut String, begun: usize| {
        cells.push(std::mem::take(cell));
        let row = std::mem::take(cells);
        // An empty line is no row.
        if row.len() > 1 || !row[0].trim().is_empty() {
            rows.push((begun, row));
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if cell.is_empty() => quoted = true,
            ',' if !quoted => cells.push(std::mem::take(&mut cell)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                end(&mut cells, &mut cell, begun);
                line += 1;
                begun = line;
            }
            c => {
                line += usize::from(c == '\n');
                cell.push(c);
            }
        }
    }
    if quoted {
        return Err(begun);
    }
    end(&mut cells, &mut cell, begun);
    Ok(rows)
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
    fn reads_quotes_breaks_and_empty_lines() {
        let read = rows("\u{feff}sku,count\r\n\"A,\"\"1\"\"\",5\n\n\"B\nC\",6\nD,7");
        let cells = |list: &[&str]| list.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
        let wanted = vec![
            (1, cells(&["sku", "count"])),
            (2, cells(&["A,\"1\"", "5"])),
            (4, cells(&["B\nC", "6"])),
            (6, cells(&["D", "7"])),
        ];
        assert_eq!(read, Ok(wanted));
        assert_eq!(rows("a\n\"b"), Err(2));
        assert_eq!(rows(""), Ok(Vec::new()));
    }

    #[test]
    fn writes_what_no_spreadsheet_runs() {
        assert_eq!(line(["a", "b,c", "say \"x\"", "=1+1", "-5", "-A"]), "a,\"b,c\",\"say \"\"x\"\"\",'=1+1,-5,'-A\r\n");
        for cell in ["=1+1", "'=1+1", "''@x", "-A", "'-A", "-5", "'-5", "'quoted'", "it's"] {
            let written = line([cell]);
            assert_eq!(super::super::csv_read::plain(written.trim_end().to_owned()), cell, "{written}");
        }
    }
}
