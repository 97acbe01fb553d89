//! The promise of the table, under any disorder: every reader ends with the last version and never goes back.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn sku(n: u8) -> Sku {
    Sku::from_storage(&format!("S{n}"))
}

fn published(n: u8, version: i64, quantity: i64) -> Published {
    Published { sku: sku(n), quantity, version, removed: false }
}

fn texts(changes: &Changes) -> Vec<String> {
    changes.changes.iter().map(|c| String::from_utf8_lossy(&c.json).into_owned()).collect()
}

#[test]
fn an_item_is_encoded_as_storefronts_read_it() {
    let mut table = Table::new(8, Some(20));
    table.publish(&published(1, 12, 47), Instant::now());
    table.publish(&Published { sku: Sku::from_storage("a\"b"), quantity: 9, version: 3, removed: true }, Instant::now());
    table.publish(&published(3, 1, -5), Instant::now());
    let all = table.since(0, Scope::All, 10).map(|c| texts(&c)).unwrap_or_default();
    assert_eq!(
        all,
        [
            r#"{"sku":"S1","stock":20,"version":12,"in_stock":true,"more":true}"#,
            r#"{"sku":"a\"b","stock":0,"version":3,"in_stock":false,"removed":true}"#,
            r#"{"sku":"S3","stock":0,"version":1,"in_stock":false}"#,
        ]
    );
    assert_eq!(table.listed(), 2);
}

#[test]
fn an_older_or_equal_version_changes_nothing() {
    let mut table = Table::new(8, None);
    assert!(table.publish(&published(1, 5, 10), Instant::now()));
    assert!(!table.publish(&published(1, 5, 99), Instant::now()));
    assert!(!table.publish(&published(1, 4, 99), Instant::now()));
    assert_eq!((table.head(), table.listed()), (1, 1));
}

#[test]
fn a_cursor_outside_the_ring_is_not_covered() {
    let mut table = Table::new(2, None);
    for version in 1..=4 {
        table.publish(&published(1, version, version), Instant::now());
    }
    assert!(table.since(1, Scope::All, 10).is_none());
    assert_eq!(table.since(2, Scope::All, 10).map(|c| c.changes.len()), Some(1));
    assert!(table.since(5, Scope::All, 10).is_none(), "a future cursor");
}

#[test]
fn followed_offsets_may_have_holes_but_not_go_back() {
    let mut table = Table::new(8, None);
    assert!(table.follow(10, &published(1, 2, 1), Instant::now()));
    assert!(!table.follow(10, &published(1, 3, 1), Instant::now()));
    assert!(!table.follow(20, &published(1, 1, 1), Instant::now()));
    assert_eq!(table.head(), 20);
    assert_eq!(table.since(10, Scope::All, 10).map(|c| (c.upto, c.changes.len())), Some((20, 0)));
}

#[test]
fn the_ring_knows_since_when_a_reader_is_behind() {
    let mut table = Table::new(3, None);
    let start = Instant::now();
    for version in 1..=4 {
        let at = start + std::time::Duration::from_secs(u64::try_from(version).unwrap());
        table.publish(&published(u8::from(version == 3), version, 1), at);
    }
    let seconds = |at: Option<Instant>| at.map(|at| (at - start).as_secs());
    assert_eq!(seconds(table.moved_after(1)), Some(2));
    // The second change was overtaken by the fourth: only the third and the fourth are still anybody's state.
    assert_eq!(seconds(table.behind_since(1, Scope::All)), Some(3));
    assert_eq!(seconds(table.behind_since(1, Scope::Some(&[0]))), Some(4));
    assert_eq!(seconds(table.behind_since(3, Scope::Some(&[1]))), None, "nothing of its own is missing");
    assert_eq!(seconds(table.behind_since(0, Scope::All)), None, "the ring does not reach back that far");
    assert_eq!(table.span(), 3);
}

#[test]
fn the_canary_is_seen_by_who_knows_it_only() {
    let mut table = Table::new(8, None);
    table.publish(&published(1, 1, 1), Instant::now());
    assert_eq!(table.publish_canary(Instant::now()), 1);
    assert_eq!(table.publish_canary(Instant::now()), 2);
    assert_eq!((table.head(), table.listed(), table.sorted_after(None).count()), (3, 1, 1));
    let seen = |scope| table.since(0, scope, 9).map(|c| c.changes.len());
    assert_eq!((seen(Scope::All), seen(Scope::Every), seen(Scope::Some(&[1]))), (Some(1), Some(2), Some(1)));
    assert!(Sku::parse(CANARY).is_err(), "nobody can ask for it");
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        sku: u8,
        version: i64,
        removed: bool,
    },
    /// Reader `reader` reads at most `limit` items.
    Read {
        reader: usize,
        limit: usize,
    },
    /// Its last answer was lost: it asks again from an older cursor.
    Forget {
        reader: usize,
        back: u64,
    },
    /// It asks with a cursor that was never ours.
    Future {
        reader: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..6_u8, 0..40_i64, any::<bool>()).prop_map(|(sku, version, removed)| Step::Publish { sku, version, removed }),
        3 => (0..3_usize, 1..5_usize).prop_map(|(reader, limit)| Step::Read { reader, limit }),
        1 => (0..3_usize, 0..20_u64).prop_map(|(reader, back)| Step::Forget { reader, back }),
        1 => (0..3_usize).prop_map(|reader| Step::Future { reader }),
    ];
    proptest::collection::vec(step, 0..120)
}

/// A reader of all SKUs, of some, and of one: applies an item only if its version is higher.
struct Reader {
    cursor: u64,
    interest: Option<Vec<SkuIndex>>,
    held: HashMap<SkuIndex, i64>,
}

impl Reader {
    fn read(&mut self, table: &Table, limit: usize) {
        let scope = self.interest.as_deref().map_or(Scope::All, Scope::Some);
        match table.since(self.cursor, scope, limit) {
            Some(answer) => {
                assert!(answer.changes.len() <= limit);
                self.apply(table, answer.changes.iter().map(|c| c.index));
                self.cursor = answer.upto;
            }
            None => {
                let all: Vec<SkuIndex> = (0..table.len()).collect();
                let wanted = self.interest.clone().unwrap_or(all);
                self.apply(table, wanted.into_iter());
                self.cursor = table.head();
            }
        }
    }

    fn apply(&mut self, table: &Table, indices: impl Iterator<Item = SkuIndex>) {
        for (index, entry) in indices.filter_map(|i| table.entry(i).map(|e| (i, e))) {
            let held = self.held.entry(index).or_insert(i64::MIN);
            *held = (*held).max(entry.version);
        }
    }
}

proptest! {
    #[test]
    fn every_reader_ends_with_the_last_version(steps in steps(), ring in 1..12_usize) {
        let mut table = Table::new(ring, None);
        let mut last: HashMap<u8, i64> = HashMap::new();
        let reader = |interest| Reader { cursor: 0, interest, held: HashMap::new() };
        let mut readers = [reader(None), reader(Some(vec![0, 2, 3])), reader(Some(vec![1]))];
        for step in steps {
            match step {
                Step::Publish { sku: n, version, removed } => {
                    let taken = table.publish(&Published { removed, ..published(n, version, version) }, Instant::now());
                    let highest = last.get(&n).copied().unwrap_or(i64::MIN);
                    prop_assert_eq!(taken, version > highest);
                    last.insert(n, highest.max(version));
                }
                Step::Read { reader, limit } => readers[reader].read(&table, limit),
                Step::Forget { reader, back } => readers[reader].cursor = readers[reader].cursor.saturating_sub(back),
                Step::Future { reader } => {
                    readers[reader].cursor = table.head() + 7;
                    readers[reader].read(&table, 3);
                }
            }
        }
        for reader in &mut readers {
            for _ in 0..200 {
                reader.read(&table, 2);
            }
            prop_assert_eq!(reader.cursor, table.head());
            for (n, version) in &last {
                let Some(index) = table.index_of(sku(*n).as_str()) else { continue };
                if reader.interest.as_ref().is_none_or(|i| i.contains(&index)) {
                    prop_assert_eq!(reader.held.get(&index), Some(version));
                }
            }
        }
    }
}
