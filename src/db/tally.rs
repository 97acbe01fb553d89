//! How many statements and transactions this thread has run. A counter per thread costs next to nothing and is exact on a runtime
//! of one thread, where a test asks what a sale costs; across threads it means nothing, and nothing else reads it.

use std::cell::Cell;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Without BEGIN, COMMIT and savepoints.
    pub statements: u64,
    pub transactions: u64,
}

thread_local! {
    static TALLY: Cell<Tally> = const { Cell::new(Tally { statements: 0, transactions: 0 }) };
}

/// Since this thread began.
pub fn tally() -> Tally {
    TALLY.get()
}

impl Tally {
    pub fn since(self, earlier: Tally) -> Tally {
        Tally { statements: self.statements - earlier.statements, transactions: self.transactions - earlier.transactions }
    }
}

pub(super) fn statement() {
    TALLY.set(Tally { statements: TALLY.get().statements + 1, ..TALLY.get() });
}

pub(super) fn transaction() {
    TALLY.set(Tally { transactions: TALLY.get().transactions + 1, ..TALLY.get() });
}
