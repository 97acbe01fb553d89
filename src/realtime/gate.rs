//! Who may come in: limits per process and per address. A permit is given back when it is dropped, whatever ended the connection.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::settings::RealtimeSettings;

#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    total: usize,
    by_address: HashMap<u128, usize>,
}

#[derive(Debug)]
pub(crate) struct Permit {
    gate: Gate,
    address: Option<u128>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the hub is at its connection limit")]
    Full,
    #[error("too many connections from this address")]
    Address,
    #[error("the hub is shutting down")]
    Closing,
}

impl Gate {
    pub(crate) fn enter(&self, address: Option<IpAddr>, settings: &RealtimeSettings) -> Result<Permit, Refusal> {
        let address = address.and_then(counted);
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.total >= settings.max_connections {
            return Err(Refusal::Full);
        }
        if let Some(address) = address {
            let count = inside.by_address.entry(address).or_default();
            if *count >= settings.max_connections_per_ip {
                return Err(Refusal::Address);
            }
            *count += 1;
        }
        inside.total += 1;
        Ok(Permit { gate: self.clone(), address })
    }

    /// Beside the limits: for the hub itself.
    pub(crate) fn extra(&self) -> Permit {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).total += 1;
        Permit { gate: self.clone(), address: None }
    }

    pub(crate) fn total(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).total
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inside = self.gate.0.lock().unwrap_or_else(PoisonError::into_inner);
        inside.total = inside.total.saturating_sub(1);
        let Some(address) = self.address else { return };
        if let Some(count) = inside.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                inside.by_address.remove(&address);
            }
        }
    }
}

/// The number an address is counted under: an IPv6 customer owns a /64, so single addresses would be no limit. Loopback is not
/// counted: it is a proxy or a test.
fn counted(address: IpAddr) -> Option<u128> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V4(v4) => Some(u128::from(u32::from(v4))),
        IpAddr::V6(v6) => Some(u128::from(v6) >> 64 << 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_addresses_and_gives_places_back() {
        let gate = Gate::default();
        let settings = RealtimeSettings { max_connections: 4, max_connections_per_ip: 1, ..Default::default() };
        let enter = |text: &str| gate.enter(Some(text.parse().unwrap()), &settings);
        let first = enter("10.0.0.1").unwrap();
        assert_eq!(enter("10.0.0.1").unwrap_err(), Refusal::Address);
        assert_eq!(enter("::ffff:10.0.0.1").unwrap_err(), Refusal::Address);
        let _six = enter("2001:db8::1").unwrap();
        assert_eq!(enter("2001:db8::2").unwrap_err(), Refusal::Address);
        let _loopbacks = (enter("127.0.0.1").unwrap(), enter("127.0.0.1").unwrap());
        assert_eq!(enter("10.0.0.9").unwrap_err(), Refusal::Full);
        drop(first);
        assert!(enter("10.0.0.1").is_ok());
    }
}
