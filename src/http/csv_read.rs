//! Reading a table (RFC 4180) as it comes, piece by piece: rows go out as soon as they are whole, and nothing is kept of them.
//! Where a comma is part of numbers, spreadsheets part cells by semicolons, and what is copied from them by tabs: whichever of the
//! three comes first does.

use super::csv::is_formula;

/// Bytes of one cell at most.
const CELL_MAX: usize = 64 * 1024;
/// Cells of one row at most.
const CELLS_MAX: usize = 256;

/// A row: the line it begins on, and its cells.
pub type Row = (usize, Vec<String>);

/// Why a table cannot be read, and on which line.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken {
    pub line: usize,
    pub code: &'static str,
    pub message: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before a cell's first byte.
    Start,
    Plain,
    Quoted,
    /// After a quote inside quotes: the end of them, or half of a doubled one.
    Quote,
}

pub struct Reader {
    at: At,
    /// What parts cells, once it is known: at the end of the first row it is.
    separator: Option<u8>,
    cell: Vec<u8>,
    cells: Vec<String>,
    line: usize,
    begun: usize,
    /// Of the whole table, to know its first bytes.
    seen: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self { at: At::Start, separator: None, cell: Vec::new(), cells: Vec::new(), line: 1, begun: 1, seen: 0 }
    }
}

impl Reader {
    /// Takes the next piece; whole rows go into `rows`.
    pub fn push(&mut self, bytes: &[u8], rows: &mut Vec<Row>) -> Result<(), Broken> {
        for byte in bytes {
            self.byte(*byte, rows)?;
            self.seen += 1;
        }
        Ok(())
    }

    /// The end: a last row may have no line end.
    pub fn finish(&mut self, rows: &mut Vec<Row>) -> Result<(), Broken> {
        if self.at == At::Quoted {
            return Err(Broken { line: self.begun, code: "csv-syntax", message: "quotes are opened and never closed" });
        }
        if !self.cell.is_empty() || !self.cells.is_empty() || self.at == At::Quote {
            self.end_row(rows)?;
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8, rows: &mut Vec<Row>) -> Result<(), Broken> {
        if byte == 0 {
            return Err(self.broken("csv-syntax", "holds a zero byte: is it UTF-8 text?"));
        }
        match (self.at, byte) {
            (At::Quoted, b'"') => self.at = At::Quote,
            (At::Quoted, byte) => {
                self.line += usize::from(byte == b'\n');
                self.keep(byte)?;
            }
            (At::Quote, b'"') => {
                self.at = At::Quoted;
                self.keep(b'"')?;
            }
            (At::Start, b'"') => self.at = At::Quoted,
            (_, byte) if self.parts(byte) => {
                self.end_cell()?;
                self.at = At::Start;
            }
            (_, b'\n') => self.end_row(rows)?,
            // The first half of a line end.
            (_, b'\r') => {}
            (At::Quote, _) => return Err(self.broken("csv-syntax", "text follows closed quotes")),
            (_, byte) => {
                self.at = At::Plain;
                self.keep(byte)?;
                // A byte order mark is no part of the first cell.
                if self.seen == 2 && self.cell == [0xef, 0xbb, 0xbf] {
                    self.cell.clear();
                    self.at = At::Start;
                }
            }
        }
        Ok(())
    }

    fn parts(&mut self, byte: u8) -> bool {
        if self.separator.is_none() && matches!(byte, b',' | b';' | b'\t') {
            self.separator = Some(byte);
        }
        self.separator == Some(byte)
    }

    fn keep(&mut self, byte: u8) -> Result<(), Broken> {
        if self.cell.len() >= CELL_MAX {
            return Err(self.broken("csv-syntax", "a cell is larger than 65536 bytes"));
        }
        self.cell.push(byte);
        Ok(())
    }

    fn end_cell(&mut self) -> Result<(), Broken> {
        if self.cells.len() >= CELLS_MAX {
            return Err(self.broken("csv-syntax", "a row has more than 256 cells"));
        }
        let text = String::from_utf8(std::mem::take(&mut self.cell));
        let text = text.map_err(|_| self.broken("csv-encoding", "is not UTF-8: save the table as CSV UTF-8"))?;
        self.cells.push(plain(text));
        Ok(())
    }

    fn end_row(&mut self, rows: &mut Vec<Row>) -> Result<(), Broken> {
        self.end_cell()?;
        self.separator.get_or_insert(b',');
        let cells = std::mem::take(&mut self.cells);
        // An empty line is no row.
        if cells.len() > 1 || cells.first().is_some_and(|cell| !cell.is_empty()) {
            rows.push((self.begun, cells));
        }
        self.at = At::Start;
        self.line += 1;
        self.begun = self.line;
        Ok(())
    }

    fn broken(&self, code: &'static str, message: &'static str) -> Broken {
        Broken { line: self.line, code, message }
    }
}

/// Without the apostrophe that our own tables put before what a spreadsheet would take for a formula.
pub(super) fn plain(text: String) -> String {
    match text.strip_prefix('\'') {
        Some(rest) if is_formula(rest.trim_start_matches('\'')) => rest.to_owned(),
        _ => text,
    }
}

/// A whole table: its columns, and its rows. The error is the line that cannot be read.
pub fn read_table(text: &str) -> Result<(Vec<String>, Vec<Vec<String>>), usize> {
    let (mut reader, mut rows) = (Reader::default(), Vec::new());
    reader.push(text.as_bytes(), &mut rows).map_err(|broken| broken.line)?;
    reader.finish(&mut rows).map_err(|broken| broken.line)?;
    let mut rows = rows.into_iter().map(|(_, cells)| cells);
    Ok((rows.next().unwrap_or_default(), rows.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], piece: usize) -> Result<Vec<Row>, Broken> {
        let (mut reader, mut rows) = (Reader::default(), Vec::new());
        for bytes in text.chunks(piece) {
            reader.push(bytes, &mut rows)?;
        }
        reader.finish(&mut rows)?;
        Ok(rows)
    }

    fn cells(list: &[&str]) -> Vec<String> {
        list.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn reads_the_same_whatever_the_pieces() {
        let text = "\u{feff}sku,name\r\n\"A,\"\"1\"\"\",\"two\nlines\"\n\nB,\r\n'=C,д".as_bytes();
        let wanted = vec![
            (1, cells(&["sku", "name"])),
            (2, cells(&["A,\"1\"", "two\nlines"])),
            (5, cells(&["B", ""])),
            (6, cells(&["=C", "д"])),
        ];
        for piece in [1, 2, 3, 7, 1_000] {
            assert_eq!(read(text, piece).as_ref(), Ok(&wanted), "pieces of {piece}");
        }
        assert_eq!(read(b"", 9), Ok(vec![]));
        assert_eq!(read(b"\"\"", 9), Ok(vec![]));
    }

    #[test]
    fn the_first_that_may_part_cells_parts_them_all() {
        let wanted = vec![(1, cells(&["sku", "name"])), (2, cells(&["A;1", "one, two\tthree"])), (3, cells(&["B", "x, y"]))];
        assert_eq!(read("\u{feff}sku;name\n\"A;1\";one, two\tthree\n\"B\";\"x, y\"".as_bytes(), 2).as_ref(), Ok(&wanted));
        assert_eq!(read(b"sku\tname\nA\tb;c,d\n", 5), Ok(vec![(1, cells(&["sku", "name"])), (2, cells(&["A", "b;c,d"]))]));
        assert_eq!(
            read(b"sku\nA;B\n", 5),
            Ok(vec![(1, cells(&["sku"])), (2, cells(&["A;B"]))]),
            "one column is parted by nothing"
        );
        assert_eq!(read(b"\"a;b\",c\n", 5), Ok(vec![(1, cells(&["a;b", "c"]))]));
    }

    #[test]
    fn says_where_it_cannot_be_read() {
        let broken = |text: &[u8]| read(text, 3).map_err(|b| (b.line, b.code));
        assert_eq!(broken(b"a\n\"b\n\n"), Err((2, "csv-syntax")));
        assert_eq!(broken(b"a\n\"b\"c"), Err((2, "csv-syntax")));
        assert_eq!(broken(b"a\nb\0"), Err((2, "csv-syntax")));
        assert_eq!(broken(b"a\n\xe9t\xe9"), Err((2, "csv-encoding")));
        assert_eq!(broken(b"\xff\xfea\0"), Err((1, "csv-syntax")));
        assert_eq!(broken(&vec![b'x'; CELL_MAX + 1]), Err((1, "csv-syntax")));
        assert_eq!(broken(&vec![b','; CELLS_MAX + 1]), Err((1, "csv-syntax")));
    }
}
