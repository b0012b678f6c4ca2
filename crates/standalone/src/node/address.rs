//! Addresses of Pods: each has one of its own on the loopback network, so that two Pods can listen
//! on the same port.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

/// The second byte of the first node's addresses; node `n` has `127.(64+n).0.0/16`.
const FIRST_NETWORK: u8 = 64;

/// How many nodes have networks.
pub(super) const MAX_NODES: u8 = 128;

/// The addresses of one node's Pods.
#[derive(Debug)]
pub(super) struct Addresses {
    network: u8,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    taken: BTreeSet<u16>,
    next: u16,
}

/// A Pod's address, free again when dropped.
#[derive(Debug)]
pub(super) struct Address {
    addresses: Arc<Addresses>,
    host: u16,
}

impl Addresses {
    /// The network of one node. Where in it to begin follows from the data folder: two instances on
    /// one machine rarely meet.
    pub(super) fn new(ordinal: u8, data_dir: &Path) -> Self {
        let mut hasher = DefaultHasher::new();
        data_dir.hash(&mut hasher);
        let [low, high, ..] = hasher.finish().to_le_bytes();
        let next = u16::from_le_bytes([low, high]);
        Self {
            network: FIRST_NETWORK + ordinal % MAX_NODES,
            state: Mutex::new(State {
                taken: BTreeSet::new(),
                next,
            }),
        }
    }

    /// The network, as a Node tells it.
    pub(super) fn cidr(&self) -> String {
        format!("127.{}.0.0/16", self.network)
    }

    /// The address that a Pod had before, if it is still free, or else a new one; `None` when all
    /// are taken.
    pub(super) fn claim(self: &Arc<Self>, former: Option<&str>) -> Option<Address> {
        let mut state = self.state.lock();
        let former = former.and_then(|text| self.host(text));
        let host = match former.filter(|host| !state.taken.contains(host)) {
            Some(host) => host,
            None => state.free()?,
        };
        state.taken.insert(host);
        Some(Address {
            addresses: Arc::clone(self),
            host,
        })
    }

    fn host(&self, text: &str) -> Option<u16> {
        let [first, network, high, low] = text.parse::<Ipv4Addr>().ok()?.octets();
        let host = u16::from_be_bytes([high, low]);
        (first == 127 && network == self.network && is_usable(host)).then_some(host)
    }
}

impl State {
    /// The next free host, in a circle, so that an address rests before it is used again.
    fn free(&mut self) -> Option<u16> {
        for _ in 0..=u16::MAX {
            let host = self.next;
            self.next = self.next.wrapping_add(1);
            if is_usable(host) && !self.taken.contains(&host) {
                return Some(host);
            }
        }
        None
    }
}

/// All but the network's own address and its broadcast address.
fn is_usable(host: u16) -> bool {
    host != 0 && host != u16::MAX
}

impl Address {
    /// The address as text.
    pub(super) fn to_text(&self) -> String {
        let [high, low] = self.host.to_be_bytes();
        Ipv4Addr::new(127, self.addresses.network, high, low).to_string()
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        self.addresses.state.lock().taken.remove(&self.host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_get_distinct_addresses_and_keep_theirs() {
        let addresses = Arc::new(Addresses::new(1, Path::new("/data")));
        assert_eq!(addresses.cidr(), "127.65.0.0/16");
        let first = addresses.claim(None).unwrap();
        let second = addresses.claim(None).unwrap();
        assert_ne!(first.to_text(), second.to_text());
        assert!(first.to_text().starts_with("127.65."));

        let text = first.to_text();
        assert_ne!(
            addresses.claim(Some(&text)).unwrap().to_text(),
            text,
            "it is taken"
        );
        drop(first);
        assert_eq!(addresses.claim(Some(&text)).unwrap().to_text(), text);
    }

    #[test]
    fn a_foreign_address_is_not_kept() {
        let addresses = Arc::new(Addresses::new(0, Path::new("/data")));
        for foreign in ["10.0.0.1", "127.0.0.1", "127.64.0.0", "127.64.255.255", "x"] {
            assert_ne!(addresses.claim(Some(foreign)).unwrap().to_text(), foreign);
        }
    }
}
