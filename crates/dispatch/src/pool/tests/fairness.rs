//! Who comes first when not everybody can.

use std::time::Duration;

use super::bench::{Bench, Step};
use crate::config::Config;
use crate::pool::admit::OVERTAKERS;
use crate::tests::functions::{function, memory, reused};

#[test]
fn functions_take_turns_when_the_node_is_full() {
    let mut bench = Bench::with_room(1);
    let (many, few) = (function("many", |_| {}), function("few", |_| {}));
    for _ in 0..20 {
        bench.arrive(&many, false);
    }
    let few = [0; 2].map(|_| bench.arrive(&few, false));
    for _ in 0..5 {
        bench.start_all();
        bench.finish_all();
    }
    let order: Vec<&str> = bench
        .launches
        .iter()
        .take(5)
        .map(|(_, name)| name.as_str())
        .collect();
    assert_eq!(order, ["many", "many", "few", "many", "few"]);
    assert!(few.iter().all(|caller| !bench.waiting.contains(caller)));
}

#[test]
fn idle_instances_of_others_make_room() {
    let mut bench = Bench::with_room(2);
    let (idle, hello) = (function("idle", reused), function("hello", |_| {}));
    for _ in 0..2 {
        bench.arrive(&idle, false);
    }
    bench.start_all();
    let oldest = bench.working()[0];
    bench.finish_all();
    let caller = bench.arrive(&hello, false);
    assert_eq!(
        bench.in_step(Step::Ending),
        [oldest],
        "one is enough, and it is the longest idle"
    );
    bench.start_all();
    bench.instance_of(caller);
}

#[test]
fn spares_make_room_for_callers_and_come_back_later() {
    let mut bench = Bench::with_room(1);
    let spare = function("spare", |function| function.settings.spares = 1);
    let hello = function("hello", |_| {});
    bench.set(&[&spare, &hello]);
    bench.start_all();
    let caller = bench.arrive(&hello, false);
    bench.start_all();
    bench.instance_of(caller);
    bench.finish_all();
    bench.start_all();
    assert_eq!(
        bench.launches.last().map(|(_, name)| name.as_str()),
        Some("spare")
    );
}

#[test]
fn a_busy_function_gives_memory_up_to_one_that_has_none() {
    let mut bench = Bench::with_room(4);
    let (busy, hello) = (function("busy", reused), function("hello", reused));
    for _ in 0..50 {
        bench.arrive(&busy, false);
    }
    bench.start_all();
    let caller = bench.arrive(&hello, false);
    bench.finish_all();
    bench.start_all();
    bench.instance_of(caller);
    let kept = bench
        .made
        .values()
        .filter(|made| made.function.name.as_str() == "busy")
        .count();
    assert_eq!(kept, 3, "no more than needed is taken from it");
}

#[test]
fn a_large_function_is_overtaken_only_so_often() {
    let mut bench = Bench::with_room(4);
    let small = function("small", |_| {});
    let large = function("large", |function| memory(function, Some(4)));
    for _ in 0..200 {
        bench.arrive(&small, false);
    }
    let caller = bench.arrive(&large, false);
    for _ in 0..100 {
        bench.start_all();
        // One at a time, so that never all four are free at once by themselves.
        if let Some(key) = bench.working().first() {
            bench.finish(*key, 0, crate::work::Fate::Reusable);
        }
        if !bench.waiting.contains(&caller) {
            break;
        }
    }
    bench.instance_of(caller);
    assert!(
        bench.launches.len() <= OVERTAKERS as usize + 6,
        "{} launches",
        bench.launches.len()
    );
}

#[test]
fn asynchronous_work_gets_one_turn_in_eight_beside_waiting_callers() {
    let mut bench = Bench::with_room(1);
    let hello = function("hello", |function| function.settings.max = 1);
    for _ in 0..100 {
        bench.arrive(&hello, false);
        bench.arrive(&hello, true);
    }
    let background = |bench: &Bench| {
        bench
            .made
            .values()
            .flat_map(|made| &made.leases)
            .filter(|(_, background)| *background)
            .count()
    };
    let mut turns = 0;
    for _ in 0..80 {
        bench.start_all();
        turns += background(&bench);
        bench.finish_all();
    }
    assert_eq!(turns, 10);
}

#[test]
fn asynchronous_work_leaves_room_for_callers_who_wait() {
    let mut bench = Bench::with_room(8);
    let (work, hello) = (function("work", |_| {}), function("hello", |_| {}));
    for _ in 0..100 {
        bench.arrive(&work, true);
    }
    bench.start_all();
    assert_eq!(bench.made.len(), 6, "a quarter of the memory stays free");
    let caller = bench.arrive(&hello, false);
    bench.start_all();
    bench.instance_of(caller);
}

#[test]
fn asynchronous_work_leaves_instances_of_its_own_function_to_callers_who_wait() {
    let mut bench = Bench::with_room(100);
    let work = function("work", |function| function.settings.max = 8);
    for _ in 0..100 {
        bench.arrive(&work, true);
    }
    bench.start_all();
    assert_eq!(bench.made.len(), 6);
    let caller = bench.arrive(&work, false);
    bench.start_all();
    bench.instance_of(caller);
}

#[test]
fn asynchronous_work_is_not_kept_out_by_spares() {
    let mut bench = Bench::with_room(1);
    let spare = function("spare", |function| function.settings.spares = 1);
    let work = function("work", |_| {});
    bench.set(&[&spare, &work]);
    bench.start_all();
    let caller = bench.arrive(&work, true);
    bench.start_all();
    bench.instance_of(caller);
}

#[test]
fn asynchronous_work_evicts_only_what_has_been_idle_for_a_while() {
    let mut bench = Bench::with_room(4);
    let (idle, work) = (function("idle", reused), function("work", |_| {}));
    for _ in 0..2 {
        bench.arrive(&idle, false);
    }
    bench.start_all();
    bench.finish_all();
    for _ in 0..3 {
        bench.arrive(&work, true);
    }
    bench.start_all();
    let idle_ones = |bench: &Bench| {
        bench
            .made
            .values()
            .filter(|made| made.function.name.as_str() == "idle" && made.step == Step::Ready)
            .count()
    };
    assert_eq!(idle_ones(&bench), 2);
    bench.pass(Duration::from_secs(2));
    bench.start_all();
    assert_eq!(idle_ones(&bench), 1, "no more than is needed");
    assert!(bench.waiting.is_empty());
}

#[test]
fn the_engine_is_given_only_so_many_launches_at_once() {
    let mut bench = Bench::new(Config {
        concurrent_starts: 2,
        ..Config::new(100)
    });
    let hello = function("hello", |_| {});
    for _ in 0..10 {
        bench.arrive(&hello, false);
    }
    assert_eq!(bench.in_step(Step::Launching).len(), 2);
    bench.launched(bench.in_step(Step::Launching)[0]);
    assert_eq!(
        bench.in_step(Step::Launching).len(),
        2,
        "getting ready is not the engine's work"
    );
    assert_eq!(bench.launches.len(), 3);
}
