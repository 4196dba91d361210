//! Gateways that fight for one lease, on one made-up clock.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use skep_scale::{Holder, Lease, Seen, Step};

const TERM: Duration = Duration::from_secs(8);

/// The object on the Swarm.
#[derive(Default)]
struct Object(Option<Seen>);

impl Object {
    /// Does a step, if nobody was faster; tells whether it was done.
    fn write(&mut self, step: &Step) -> bool {
        let (holder, expected): (&Holder, Option<u64>) = match step {
            Step::Create(holder) => (holder, None),
            Step::Swap(holder, version) => (holder, Some(*version)),
            Step::Wait => return false,
        };
        let version = self.0.as_ref().map(|seen| seen.version);
        if version != expected {
            return false;
        }
        self.0 = Some(Seen {
            holder: Some(holder.clone()),
            version: version.unwrap_or(0) + 1,
        });
        true
    }
}

fn turn(lease: &mut Lease, object: &mut Object, now: Instant) {
    let step = lease.look(now, object.0.as_ref());
    if object.write(&step) {
        lease.written(now);
    } else if step != Step::Wait {
        lease.lost();
    }
}

fn gateways(count: usize) -> Vec<Lease> {
    (0..count)
        .map(|number| Lease::new(format!("gateway-{number}"), String::new(), TERM))
        .collect()
}

#[test]
fn the_first_takes_it_and_another_only_when_it_falls_silent() {
    let begin = Instant::now();
    let mut object = Object::default();
    let mut all = gateways(2);
    turn(&mut all[0], &mut object, begin);
    turn(&mut all[1], &mut object, begin);
    assert!(all[0].holds(begin) && !all[1].holds(begin));
    // The first renews for a minute.
    let mut now = begin;
    for _ in 0..30 {
        now += all[0].period();
        turn(&mut all[0], &mut object, now);
        turn(&mut all[1], &mut object, now);
        assert!(all[0].holds(now) && !all[1].holds(now));
    }
    // Then it is cut off.
    let silent = now;
    while !all[1].holds(now) {
        now += all[1].period();
        turn(&mut all[1], &mut object, now);
        assert!(now - silent <= TERM * 2);
    }
    assert!(now - silent >= TERM, "not before the term is over");
    assert!(!all[0].holds(now));
    // It comes back, and sees that another has it.
    turn(&mut all[0], &mut object, now);
    assert!(!all[0].holds(now));
    assert_eq!(object.0.unwrap().holder.unwrap().term, 2);
}

proptest! {
    /// Whatever turns come when, and whoever is cut off for how long: never two at once.
    #[test]
    fn two_never_decide_at_once(turns in prop::collection::vec((0usize..4, 0u64..6_000), 1..300)) {
        let mut now = Instant::now();
        let mut object = Object::default();
        let mut all = gateways(4);
        for (who, pause) in turns {
            now += Duration::from_millis(pause);
            turn(&mut all[who], &mut object, now);
            prop_assert!(all.iter().filter(|lease| lease.holds(now)).count() <= 1);
        }
    }
}
