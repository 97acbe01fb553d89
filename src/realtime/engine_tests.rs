//! The engine's promise, whatever the network does: every client ends with the last version of every SKU it asked for, and never
//! goes back.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn engine(ring: usize) -> Engine {
    Engine::new(Uuid::from_u128(1), Uuid::from_u128(2), RealtimeLimits { ring, public_cap: None })
}

fn state(sku: &str, quantity: i64, version: i64) -> Published {
    Published { sku: Sku::parse(sku).unwrap(), quantity, version, removed: false }
}

#[test]
fn answers_by_cursor_until_the_ring_forgets() {
    let engine = engine(2);
    let ask = Interest::Skus(vec![Sku::parse("A").unwrap()]);
    engine.fill([state("A", 5, 1), state("B", 5, 1)]);
    let start = engine.snapshot(&ask);
    assert_eq!((start.items.len(), start.newest), (1, 1));
    assert!(matches!(engine.since(&start.cursor, &ask), Since::Resumed { items, .. } if items.is_empty()));
    engine.publish(vec![state("A", 4, 2), state("B", 4, 2)]);
    assert!(matches!(engine.since(&start.cursor, &ask), Since::Resumed { items, .. } if items.len() == 1));
    engine.publish(vec![state("B", 3, 3)]);
    assert!(matches!(engine.since(&start.cursor, &ask), Since::Snapshot(_)));
    assert!(matches!(engine.since("elsewhere:1", &ask), Since::Snapshot(_)));
}

#[tokio::test]
async fn the_head_moves_only_when_something_was_taken() {
    let engine = engine(8);
    let mut head = engine.head();
    engine.publish(vec![state("A", 5, 1)]);
    assert!(head.has_changed().unwrap());
    head.mark_unchanged();
    engine.publish(vec![state("A", 9, 1)]);
    assert!(!head.has_changed().unwrap());
}

const SKUS: u8 = 6;
const CLIENTS: usize = 3;

/// What happens. `Disturb` is the network: answers wait in it, and arrive in any order, twice, or never.
#[derive(Clone, Debug)]
enum Step {
    Publish {
        sku: u8,
        quantity: i64,
        removed: bool,
    },
    /// A commit's news once more, or late.
    Stale {
        sku: u8,
    },
    Ask {
        client: usize,
    },
    Arrive {
        client: usize,
        pick: usize,
        twice: bool,
    },
    Lose {
        client: usize,
        pick: usize,
    },
    /// The client's connection breaks; what is on its way is lost.
    Break {
        client: usize,
    },
    /// The hub restarts: same data, another stream.
    Restart,
    /// A backup is restored: an older state, another generation.
    Restore,
    Nonsense {
        client: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = || 0..CLIENTS;
    let step = prop_oneof![
        8 => (0..SKUS, 0..50_i64, proptest::bool::weighted(0.2)).prop_map(|(sku, quantity, removed)| Step::Publish { sku, quantity, removed }),
        1 => (0..SKUS).prop_map(|sku| Step::Stale { sku }),
        6 => client().prop_map(|client| Step::Ask { client }),
        6 => (client(), 0..4_usize, any::<bool>()).prop_map(|(client, pick, twice)| Step::Arrive { client, pick, twice }),
        2 => (client(), 0..4_usize).prop_map(|(client, pick)| Step::Lose { client, pick }),
        1 => client().prop_map(|client| Step::Break { client }),
        1 => Just(Step::Restart),
        1 => Just(Step::Restore),
        1 => client().prop_map(|client| Step::Nonsense { client }),
    ];
    proptest::collection::vec(step, 0..150)
}

/// What the database holds: per SKU its version, quantity, and whether it is removed.
type Rows = BTreeMap<u8, (i64, i64, bool)>;

struct World {
    engine: Engine,
    rows: Rows,
    backup: Rows,
    generation: u128,
    stream: u128,
    ring: usize,
}

impl World {
    fn start(&mut self) {
        self.stream += 1;
        let ids = (Uuid::from_u128(self.generation), Uuid::from_u128(self.stream));
        self.engine = Engine::new(ids.0, ids.1, RealtimeLimits { ring: self.ring, public_cap: None });
        self.engine.fill(self.rows.iter().map(|(n, row)| row_of(*n, *row)));
    }
}

fn name(n: u8) -> Sku {
    Sku::from_storage(&format!("S{n}"))
}

fn row_of(n: u8, (version, quantity, removed): (i64, i64, bool)) -> Published {
    Published { sku: name(n), quantity, version, removed }
}

struct Answer {
    number: usize,
    generation: u128,
    cursor: String,
    /// Of a snapshot: what it speaks for and does not name is gone.
    whole: bool,
    items: Vec<Value>,
}

struct Client {
    interest: Interest,
    generation: u128,
    cursor: Option<String>,
    versions: BTreeMap<String, i64>,
    shown: BTreeMap<String, (i64, bool)>,
    on_the_way: Vec<Answer>,
    asked: usize,
    /// The newest question of which the answer came.
    answered: usize,
}

impl Client {
    fn ask(&mut self, world: &World) {
        let engine = &world.engine;
        let answer = match &self.cursor {
            Some(cursor) => engine.since(cursor, &self.interest),
            None => Since::Snapshot(engine.snapshot(&self.interest)),
        };
        let (whole, cursor, items) = match answer {
            Since::Resumed { cursor, items } => (false, cursor, items),
            Since::Snapshot(snapshot) => (true, snapshot.cursor, snapshot.items),
        };
        let items = items.iter().map(|item| serde_json::from_slice(item).unwrap()).collect();
        self.asked += 1;
        self.on_the_way.push(Answer { number: self.asked, generation: world.generation, cursor, whole, items });
    }

    /// As the browser client does it.
    fn learn(&mut self, answer: &Answer) {
        assert!(answer.generation >= self.generation, "a client never goes back to older data");
        if answer.generation != self.generation {
            (self.generation, self.versions) = (answer.generation, BTreeMap::new());
        }
        for item in &answer.items {
            let (sku, version) = (item["sku"].as_str().unwrap().to_owned(), item["version"].as_i64().unwrap());
            if self.versions.get(&sku).is_none_or(|held| *held < version) {
                self.versions.insert(sku.clone(), version);
                self.shown.insert(sku, (item["stock"].as_i64().unwrap(), item["removed"] == true));
            }
        }
        // Only the answer to a newer question may say that something is gone.
        if answer.whole && answer.number >= self.answered {
            let named: Vec<&str> = answer.items.iter().filter_map(|item| item["sku"].as_str()).collect();
            for (_, shown) in self.shown.iter_mut().filter(|(sku, _)| !named.contains(&sku.as_str())) {
                *shown = (0, true);
            }
        }
        self.answered = self.answered.max(answer.number);
        self.cursor = Some(answer.cursor.clone());
    }

    fn arrive(&mut self, pick: usize, twice: bool) {
        if pick >= self.on_the_way.len() {
            return;
        }
        let answer = self.on_the_way.remove(pick);
        let (generation, before) = (self.generation, self.versions.clone());
        self.learn(&answer);
        for (sku, held) in before.iter().filter(|_| self.generation == generation) {
            assert!(self.versions[sku] >= *held, "{sku} went back");
        }
        if twice {
            self.on_the_way.insert(0, answer);
        }
    }

    fn ends_with(&self, rows: &Rows) {
        for (n, (version, quantity, removed)) in rows {
            let sku = name(*n);
            if self.interest != Interest::All && !matches!(&self.interest, Interest::Skus(skus) if skus.contains(&sku)) {
                assert!(!self.shown.contains_key(sku.as_str()));
                continue;
            }
            let shown = self.shown.get(sku.as_str()).copied();
            if *removed {
                assert!(shown.is_none_or(|(_, gone)| gone), "{sku} is removed, and shown as {shown:?}");
            } else {
                assert_eq!(shown, Some((*quantity, false)), "{sku}");
                assert_eq!(self.versions.get(sku.as_str()), Some(version));
            }
        }
        let vanished = |sku: &&String| !rows.keys().any(|n| name(*n).as_str() == sku.as_str());
        assert!(self.shown.keys().filter(vanished).all(|sku| self.shown[sku].1), "what no longer exists is not shown");
    }
}

fn happen(step: Step, world: &mut World, clients: &mut [Client]) {
    match step {
        Step::Publish { sku, quantity, removed } => {
            let version = world.rows.get(&sku).map_or(1, |(version, ..)| version + 1);
            let quantity = if removed { 0 } else { quantity };
            world.rows.insert(sku, (version, quantity, removed));
            world.engine.publish(vec![row_of(sku, (version, quantity, removed))]);
            if version % 5 == 0 {
                world.backup = world.rows.clone();
            }
        }
        Step::Stale { sku } => {
            if let Some((version, ..)) = world.rows.get(&sku) {
                world.engine.publish(vec![row_of(sku, (version - 1, 77, false)), row_of(sku, (*version, 77, false))]);
            }
        }
        Step::Ask { client } => clients[client].ask(world),
        Step::Arrive { client, pick, twice } => clients[client].arrive(pick, twice),
        Step::Lose { client, pick } if pick < clients[client].on_the_way.len() => drop(clients[client].on_the_way.remove(pick)),
        Step::Lose { .. } => {}
        Step::Break { client } => clients[client].on_the_way.clear(),
        Step::Nonsense { client } => clients[client].cursor = Some("not:ours".to_owned()),
        Step::Restart | Step::Restore => {
            if matches!(step, Step::Restore) {
                world.generation += 1;
                world.rows = world.backup.clone();
            }
            world.start();
            clients.iter_mut().for_each(|client| client.on_the_way.clear());
        }
    }
}

proptest! {
    #[test]
    fn whatever_the_network_does_every_client_ends_with_the_last_state(steps in steps(), ring in 1..20_usize) {
        let mut world = World { engine: engine(ring), rows: Rows::new(), backup: Rows::new(), generation: 0, stream: 0, ring };
        world.start();
        let client = |interest| Client {
            interest,
            generation: 0,
            cursor: None,
            versions: BTreeMap::new(),
            shown: BTreeMap::new(),
            on_the_way: Vec::new(),
            asked: 0,
            answered: 0,
        };
        let mut clients = [
            client(Interest::All),
            client(Interest::Skus(vec![name(0), name(2), name(4)])),
            client(Interest::Skus(vec![name(5)])),
        ];
        for step in steps {
            happen(step, &mut world, &mut clients);
        }
        for client in &mut clients {
            // The network heals: what is on its way arrives or not, then one question is answered.
            while !client.on_the_way.is_empty() {
                client.arrive(0, false);
            }
            client.ask(&world);
            client.arrive(0, false);
            client.ends_with(&world.rows);
        }
    }
}
