//! The ports of instances that share a network namespace: one each, for as long as the instance is there.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_sys::NetworkNamespace;

/// Below the ports that the kernel gives to outgoing connections unless it is told otherwise (from 32768 on). One of
/// those could be any connection's by the time the instance listens, Skep's own to another instance among them; and
/// who connects to one while nothing listens there may be connected to itself. Above what programs are used to.
const RANGE: RangeInclusive<u16> = 20_000..=32_767;

/// Gives out ports. An instance listens long after its port was found free, so the kernel can't know that it is taken.
#[derive(Debug)]
pub struct Ports {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What is tried next: each is given out again as late as can be.
    next: u16,
    held: HashSet<u16>,
}

/// A port that is given out to nobody else until this is dropped.
#[derive(Debug)]
pub struct HeldPort {
    ports: Arc<Ports>,
    number: u16,
}

impl Ports {
    /// All free. Another Skep may use the same namespace, so they don't all begin at the same one.
    pub fn new() -> Arc<Self> {
        let count = u64::from(RANGE.end() - RANGE.start()) + 1;
        let offset = RandomState::new().hash_one(count) % count;
        let next = RANGE.start() + u16::try_from(offset).unwrap_or_default();
        Arc::new(Self {
            state: Mutex::new(State {
                next,
                held: HashSet::new(),
            }),
        })
    }

    /// A port that nobody was given and nobody uses in the namespace.
    ///
    /// # Errors
    /// `AddrInUse` when there is none; what the kernel says where it can't be asked.
    pub async fn take(self: &Arc<Self>, namespace: &NetworkNamespace) -> io::Result<HeldPort> {
        for _ in RANGE {
            // One that turns out to be used by somebody else is let go at the end of its turn.
            let Some(port) = self.next() else { continue };
            if namespace.is_free(port.number).await? {
                return Ok(port);
            }
        }
        let message = format!("each port from {} to {} is in use", RANGE.start(), RANGE.end());
        Err(io::Error::new(io::ErrorKind::AddrInUse, message))
    }

    fn next(self: &Arc<Self>) -> Option<HeldPort> {
        let mut state = self.lock();
        let number = state.next;
        state.next = if number == *RANGE.end() {
            *RANGE.start()
        } else {
            number + 1
        };
        state.held.insert(number).then(|| HeldPort {
            ports: self.clone(),
            number,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeldPort {
    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for HeldPort {
    fn drop(&mut self) {
        self.ports.lock().held.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_comes_again_after_all_others_and_never_while_it_is_held() {
        let ports = Ports::new();
        let kept = ports.next().expect("all are free");
        let mut seen = HashSet::new();
        for _ in 1..RANGE.len() {
            let port = ports.next().expect("all others are free");
            assert!(RANGE.contains(&port.number()));
            assert!(seen.insert(port.number()), "{} came twice", port.number());
        }
        assert!(!seen.contains(&kept.number()));
        assert!(ports.next().is_none(), "the first one's turn, which is held");
        let number = kept.number();
        drop(kept);
        let again = RANGE
            .filter_map(|_| ports.next())
            .any(|port| port.number() == number);
        assert!(again, "{number} was let go");
    }

    #[tokio::test]
    async fn a_port_that_somebody_else_uses_is_passed_over() {
        let (ports, namespace) = (Ports::new(), NetworkNamespace::own().expect("/proc is mounted"));
        let first = ports.take(&namespace).await.expect("a free port");
        let used = if first.number() == *RANGE.end() {
            *RANGE.start()
        } else {
            first.number() + 1
        };
        // Whoever listens there already does as well.
        let _listener = std::net::TcpListener::bind(("0.0.0.0", used));
        let second = ports.take(&namespace).await.expect("a free port");
        assert_ne!(second.number(), used);
    }
}
