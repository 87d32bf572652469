//! How many connections may be open: in all, and of one client.
//!
//! A probe is a connection like any other until it has sent its request. So connections beyond the
//! limits are accepted too, but only for a moment, and answered only if they ask for a probe; when
//! there are too many of them, the oldest ones make room. Silent connections therefore cannot keep
//! the probes from being answered. A connection makes room when nothing that it has received is
//! unanswered, so that no request is lost.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use tokio::sync::watch;

use super::head::Admission;
use super::limits::client_key;

/// Connections beyond the limits.
pub(super) const SPARE: usize = 64;

/// The connections of one listener. Cheap to clone.
#[derive(Clone)]
pub(super) struct Slots(Arc<Shared>);

struct Shared {
    limit: usize,
    limit_per_client: usize,
    /// Proxies, behind which all clients are.
    unlimited: Vec<IpNet>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_client: HashMap<IpAddr, usize>,
    /// The spare connections, the oldest first. Some have ended. What is dropped here makes room.
    spare: VecDeque<watch::Sender<()>>,
}

/// The place of one connection, until it is dropped.
pub(super) struct Slot {
    slots: Slots,
    kind: Kind,
}

enum Kind {
    OfClient(IpAddr),
    /// Its sender is dropped when the connection has to make room.
    Spare(watch::Receiver<()>),
}

impl Slots {
    /// One client gets three quarters of `limit`, unless it is one of `proxies`.
    pub fn new(limit: usize, proxies: &[IpNet]) -> Self {
        Self(Arc::new(Shared {
            limit,
            limit_per_client: (limit - limit / 4).max(1),
            unlimited: proxies.to_vec(),
            open: Mutex::default(),
        }))
    }

    /// A place for a connection from `peer`. If it is a spare one, and there are too many of these,
    /// the oldest one has to make room.
    pub fn admit(&self, peer: IpAddr) -> Slot {
        let peer = peer.to_canonical();
        let client = client_key(peer);
        let mut open = self.open();
        let own = open.by_client.get(&client).copied().unwrap_or(0);
        let is_proxy = || self.0.unlimited.iter().any(|net| net.contains(&peer));
        let has_room = open.total < self.0.limit && (own < self.0.limit_per_client || is_proxy());
        let kind = if has_room {
            open.total += 1;
            open.by_client.insert(client, own + 1);
            Kind::OfClient(client)
        } else {
            Kind::Spare(open.add_spare())
        };
        Slot {
            slots: self.clone(),
            kind,
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // Nothing panics while it is locked.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn add_spare(&mut self) -> watch::Receiver<()> {
        if self.spare.len() >= SPARE {
            self.spare.retain(|one| !one.is_closed());
        }
        if self.spare.len() >= SPARE {
            self.spare.pop_front();
        }
        let (place, connection) = watch::channel(());
        self.spare.push_back(place);
        connection
    }
}

impl Slot {
    /// What is answered on the connection.
    pub fn admission(&self) -> Admission {
        match self.kind {
            Kind::OfClient(_) => Admission::All,
            Kind::Spare(_) => Admission::ProbesOnly,
        }
    }

    /// Waits until the connection has to make room for another one.
    pub async fn must_make_room(&self) {
        match &self.kind {
            Kind::OfClient(_) => std::future::pending().await,
            // Nothing is ever sent.
            Kind::Spare(place) => {
                let _ = place.clone().changed().await;
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Kind::OfClient(client) = &self.kind else {
            return;
        };
        let mut open = self.slots.open();
        open.total -= 1;
        if let Some(own) = open.by_client.get_mut(client) {
            *own -= 1;
            if *own == 0 {
                open.by_client.remove(client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_full(slot: &Slot) -> bool {
        slot.admission() == Admission::ProbesOnly
    }

    #[test]
    fn one_client_gets_three_quarters() {
        let slots = Slots::new(8, &["10.0.0.0/8".parse().unwrap()]);
        // A whole /64 is one client, and so is an address in both of its forms.
        let six = |number: u16| slots.admit(address(&format!("2001:db8::{number:x}")));
        let held: Vec<Slot> = (0..6).map(six).collect();
        assert!(!held.iter().any(is_full));
        assert!(is_full(&six(7)));
        let other = slots.admit(address("192.0.2.1"));
        assert!(!is_full(&other));
        drop(held);
        let proxy: Vec<Slot> = (0..7)
            .map(|_| slots.admit(address("::ffff:10.1.2.3")))
            .collect();
        assert!(!proxy.iter().any(is_full));
        assert!(is_full(&slots.admit(address("10.1.2.3"))), "eight in all");
        drop((proxy, other));
        let open = slots.open();
        assert_eq!((open.total, open.by_client.len()), (0, 0));
    }

    #[test]
    fn the_oldest_spare_connection_makes_room() {
        let slots = Slots::new(1, &[]);
        let has_to_go = |slot: &Slot| slot.must_make_room().now_or_never().is_some();
        let admit = || slots.admit(address("192.0.2.1"));
        let held = admit();
        let mut spare: Vec<Slot> = (0..=SPARE).map(|_| admit()).collect();
        assert!(spare.iter().all(is_full));
        assert!(has_to_go(&spare[0]));
        assert!(!spare[1..].iter().any(has_to_go));
        assert!(!has_to_go(&held));
        // Those that have ended count no longer.
        spare.drain(..10);
        spare.push(admit());
        assert!(!spare.iter().any(has_to_go));
    }
}
