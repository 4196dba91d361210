//! How many connections there may be at once: on one listener, and there from one caller.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gateway::Door;

/// Functions have one address each, and no more than this part of what there is: the others are to find room too.
/// Behind one address of the public there may be many.
const SHARE: usize = 4;

/// The room of one listener. A clone is the same one.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    /// The most from one address, where that is bounded.
    share: Option<usize>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    from: HashMap<IpAddr, usize>,
}

/// A connection's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Room,
    from: Option<IpAddr>,
}

impl Room {
    pub(crate) fn new(door: Door, most: usize) -> Self {
        let share = match door {
            Door::Public => None,
            Door::Call => Some((most / SHARE).max(1)),
        };
        let taken = Mutex::default();
        Self(Arc::new(Inner { most, share, taken }))
    }

    /// A place for a connection from there, if there is one left.
    pub(crate) fn take(&self, peer: IpAddr) -> Option<Seat> {
        let mut taken = self.lock();
        if taken.all >= self.0.most {
            return None;
        }
        let from = self.0.share.map(|_| peer);
        if let Some(share) = self.0.share {
            let count = taken.from.entry(peer).or_default();
            if *count >= share {
                return None;
            }
            *count += 1;
        }
        taken.all += 1;
        let room = self.clone();
        Some(Seat { room, from })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.room.lock();
        taken.all -= 1;
        if let Some(from) = self.from
            && let Some(count) = taken.from.get_mut(&from)
        {
            *count -= 1;
            if *count == 0 {
                taken.from.remove(&from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn a_function_leaves_room_for_the_others() {
        let room = Room::new(Door::Call, 8);
        let (first, second) = (room.take(ONE), room.take(ONE));
        assert!(first.is_some() && second.is_some());
        assert!(room.take(ONE).is_none(), "more than its share");
        let other = room.take(OTHER);
        assert!(other.is_some());
        drop(first);
        assert!(room.take(ONE).is_some(), "given back");
        drop((second, other));
        assert!(room.lock().from.is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn the_public_may_all_come_from_one_proxy_and_is_bounded_as_a_whole() {
        let room = Room::new(Door::Public, 2);
        let (first, second) = (room.take(ONE), room.take(ONE));
        assert!(first.is_some() && second.is_some() && room.take(OTHER).is_none());
        drop(first);
        assert!(room.take(OTHER).is_some());
    }
}
