//! What the stock must be once everything is known, worked out one order after the other from the words of the rules: what was
//! ordered less what was cancelled is sold; what came back is on the shelf again, sellable or not; a return counts only as far as
//! something was sold; an order that was cancelled whole sold nothing, whatever came first. Knows nothing of the code under test.

use std::collections::{BTreeMap, BTreeSet};

/// The counters of one product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    pub on_hand: i64,
    pub committed: i64,
    pub unsellable: i64,
}

impl Stock {
    pub fn available(self) -> i64 {
        self.on_hand - self.committed - self.unsellable
    }
}

/// When a sale takes goods off the shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    AtOnce,
    /// They are set aside and leave when they are shipped, which here nobody tells; only what came back has surely left.
    WhenShipped,
}

/// One thing a marketplace says of an order; quantities are totals so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Created { lines: Vec<(u32, usize, i64)> },
    Cancelled { lines: Vec<(u32, i64)> },
    CancelledWhole,
    Returned { lines: Vec<(u32, i64)>, sellable: bool },
}

/// Everything one order was told to be, whenever.
#[derive(Clone, Debug, Default)]
pub struct OrderStory {
    pub said: Vec<Said>,
}

impl OrderStory {
    fn line_ids(&self) -> BTreeSet<u32> {
        let named = |said: &Said| match said {
            Said::Created { lines } => lines.iter().map(|(line, ..)| *line).collect(),
            Said::Cancelled { lines } | Said::Returned { lines, .. } => lines.iter().map(|(line, _)| *line).collect(),
            Said::CancelledWhole => Vec::new(),
        };
        self.said.iter().flat_map(named).collect()
    }

    fn largest(&self, line: u32, of: impl Fn(&Said) -> Option<&Vec<(u32, i64)>>) -> i64 {
        let all = self.said.iter().filter_map(of).flatten();
        all.filter(|(id, _)| *id == line).map(|(_, n)| *n).max().unwrap_or(0)
    }

    /// What this order does to the stock of each product.
    fn effects(&self, leaves: Leaves) -> Vec<(usize, Stock)> {
        let whole = self.said.contains(&Said::CancelledWhole);
        let mut effects = Vec::new();
        for line in self.line_ids() {
            let creates = self.said.iter().filter_map(|said| if let Said::Created { lines } = said { Some(lines) } else { None });
            let created = creates.flatten().find(|(id, ..)| *id == line);
            // Nothing was sold that was not ordered: cancels and returns of it wait for ever.
            let Some((_, product, ordered)) = created else { continue };
            let cancelled = self.largest(line, |said| if let Said::Cancelled { lines } = said { Some(lines) } else { None });
            let sold = if whole { 0 } else { (ordered - cancelled).max(0) };
            let back = |wanted: bool| {
                self.largest(line, |said| match said {
                    Said::Returned { lines, sellable } if *sellable == wanted => Some(lines),
                    _ => None,
                })
            };
            let broken = back(false).min(sold);
            let fine = back(true).min(sold - broken);
            let back = fine + broken;
            let left = if leaves == Leaves::AtOnce { sold } else { back };
            effects.push((*product, Stock { on_hand: back - left, committed: sold - left, unsellable: broken }));
        }
        effects
    }
}

fn opened(openings: &[i64]) -> Vec<Stock> {
    openings.iter().map(|on_hand| Stock { on_hand: *on_hand, ..Stock::default() }).collect()
}

/// The stock of each product after all of these orders.
pub fn stock_after(openings: &[i64], orders: &[OrderStory], leaves: Leaves) -> Vec<Stock> {
    let mut stock = opened(openings);
    for (product, effect) in orders.iter().flat_map(|order| order.effects(leaves)) {
        stock[product].on_hand += effect.on_hand;
        stock[product].committed += effect.committed;
        stock[product].unsellable += effect.unsellable;
    }
    stock
}

/// One change that a marketplace of the other kind reports; only sales, cancels and returns count, each once.
#[derive(Clone, Debug)]
pub struct Reported {
    pub event: String,
    pub product: usize,
    pub change: i64,
    pub reason: &'static str,
}

pub fn stock_after_changes<'r>(openings: &[i64], reported: impl IntoIterator<Item = &'r Reported>) -> Vec<Stock> {
    let once: BTreeMap<&str, &Reported> = reported.into_iter().map(|r| (r.event.as_str(), r)).collect();
    let mut stock = opened(openings);
    for r in once.values().filter(|r| ["sold", "cancelled", "returned"].contains(&r.reason)) {
        stock[r.product].on_hand += r.change;
    }
    stock
}
