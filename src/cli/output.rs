//! Writing to the terminal. A reader that goes away (`| head`) is not an error.

use std::io::Write as _;

pub(super) fn out(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end_matches('\n'));
}

pub(super) fn err(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end_matches('\n'));
}
