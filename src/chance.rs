//! The one place that draws random numbers: ids, jitter, and secrets. A seeded one repeats itself, so a run can be repeated.

use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::domain::time::Timestamp;

#[derive(Clone)]
pub struct Chance {
    state: Arc<Mutex<State>>,
}

struct State {
    draw: fastrand::Rng,
    last_millis: i64,
    counter: u16,
}

impl Chance {
    pub fn from_system() -> Self {
        Self::with(fastrand::Rng::new())
    }

    pub fn seeded(seed: u64) -> Self {
        Self::with(fastrand::Rng::with_seed(seed))
    }

    fn with(draw: fastrand::Rng) -> Self {
        Self { state: Arc::new(Mutex::new(State { draw, last_millis: 0, counter: 0 })) }
    }

    /// A UUIDv7 that is greater than every one this process made before, even within a millisecond or after the clock stepped
    /// back: rows of one transaction then sort in the order they were made.
    pub fn id(&self, now: Timestamp) -> Uuid {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now.millis() > state.last_millis {
            state.last_millis = now.millis();
            state.counter = state.draw.u16(0..1024);
        } else if state.counter >= 0xfff {
            state.last_millis += 1;
            state.counter = 0;
        } else {
            state.counter += 1;
        }
        let millis = u64::try_from(state.last_millis).unwrap_or(0);
        let high = (millis << 16) | 0x7000 | u64::from(state.counter);
        let low = (state.draw.u64(..) >> 2) | (0b10 << 62);
        Uuid::from_u64_pair(high, low)
    }

    /// Uniform in [0, 1): for jitter.
    pub fn unit(&self) -> f64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).draw.f64()
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).draw.u64(0..bound.max(1))
    }
}

/// Bytes nobody can guess, from the operating system. For secrets and tokens, never repeated by a seed.
pub fn secret_bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_within_a_millisecond_and_when_the_clock_steps_back() {
        let chance = Chance::seeded(1);
        let times = [5_000, 5_000, 5_001, 4_000, 4_000].map(Timestamp::from_millis);
        let mut last = Uuid::nil();
        for at in times.iter().cycle().take(20_000) {
            let id = chance.id(*at);
            assert!(id > last);
            assert_eq!(id.get_version_num(), 7);
            last = id;
        }
    }
}
