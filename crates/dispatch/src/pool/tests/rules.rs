//! The rules one by one.

use std::time::Duration;

use skep_model::{Function, ProblemCode, Recycle};

use super::bench::{Bench, Step};
use crate::config::Config;
use crate::tests::functions::{exec, function, memory, reused};
use crate::work::Fate;

#[test]
fn each_request_gets_an_instance_of_its_own_and_that_ends_with_it() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", |_| {});
    let (first, second) = (bench.arrive(&hello, false), bench.arrive(&hello, false));
    bench.start_all();
    assert_ne!(bench.instance_of(first), bench.instance_of(second));
    bench.finish_all();
    assert_eq!(bench.in_step(Step::Ending).len(), 2);
    bench.start_all();
    assert!(bench.made.is_empty());
}

#[test]
fn the_instance_used_last_is_reused_first() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", reused);
    let callers = [0; 3].map(|_| bench.arrive(&hello, false));
    bench.start_all();
    let [first, second, third] = callers.map(|caller| bench.instance_of(caller));
    for key in [third, first, second] {
        bench.finish(key, 0, Fate::Reusable);
    }
    let next = bench.arrive(&hello, false);
    assert_eq!(bench.instance_of(next), second);
}

#[test]
fn an_instance_ends_after_its_number_of_invocations() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", |function| function.settings.recycle = Recycle::After(2));
    let caller = bench.arrive(&hello, false);
    bench.start_all();
    let first = bench.instance_of(caller);
    bench.finish_all();
    let again = bench.arrive(&hello, false);
    assert_eq!(bench.instance_of(again), first);
    bench.finish_all();
    assert_eq!(bench.made[&first].step, Step::Ending);
}

#[test]
fn concurrency_fills_an_instance_before_another_is_launched() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", |function| {
        reused(function);
        function.settings.concurrency = 3;
    });
    let callers = [0; 4].map(|_| bench.arrive(&hello, false));
    assert_eq!(bench.launches.len(), 2);
    bench.start_all();
    let instances = callers.map(|caller| bench.instance_of(caller));
    assert!(instances[..3].iter().all(|key| *key == instances[0]));
    assert_ne!(instances[3], instances[0]);
}

#[test]
fn a_spent_instance_ends_when_its_last_user_is_done() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", |function| {
        reused(function);
        function.settings.concurrency = 2;
    });
    let callers = [0; 2].map(|_| bench.arrive(&hello, false));
    bench.start_all();
    let key = bench.instance_of(callers[0]);
    bench.finish(key, 0, Fate::Spent);
    assert_eq!(bench.made[&key].step, Step::Ready);
    let later = bench.arrive(&hello, false);
    bench.finish(key, 0, Fate::Reusable);
    assert_eq!(bench.made[&key].step, Step::Ending);
    bench.start_all();
    assert_ne!(bench.instance_of(later), key);
}

#[test]
fn a_caller_who_gives_up_ends_the_instance_only_where_it_serves_nobody_else() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", |function| {
        reused(function);
        function.settings.concurrency = 2;
    });
    let callers = [0; 2].map(|_| bench.arrive(&hello, false));
    bench.start_all();
    let key = bench.instance_of(callers[0]);
    bench.finish(key, 0, Fate::Abandoned);
    let later = bench.arrive(&hello, false);
    assert_eq!(bench.instance_of(later), key, "it serves on");
    bench.finish(key, 0, Fate::Abandoned);
    bench.finish(key, 0, Fate::Abandoned);
    assert_eq!(bench.made[&key].step, Step::Ending);
}

#[test]
fn beyond_max_callers_wait_and_beyond_the_queue_they_are_refused() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", |function| {
        (function.settings.max, function.settings.queue) = (1, 2)
    });
    let callers = [0; 4].map(|_| bench.arrive(&hello, false));
    assert_eq!(bench.launches.len(), 1);
    assert_eq!(bench.refusal(callers[3]), Some(ProblemCode::QueueFull));
    bench.start_all();
    bench.instance_of(callers[0]);
    bench.leave(callers[1]);
    bench.finish_all();
    bench.start_all();
    bench.instance_of(callers[2]);
}

#[test]
fn asynchronous_work_is_not_counted_against_the_queue() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", |function| {
        (function.settings.max, function.settings.queue) = (1, 0)
    });
    let callers = [0; 5].map(|_| bench.arrive(&hello, true));
    assert!(callers.iter().all(|caller| bench.refusal(*caller).is_none()));
}

#[test]
fn the_nodes_own_queue_is_bounded_too() {
    let mut bench = Bench::new(Config {
        queue: 1,
        ..Config::new(1)
    });
    let hello = function("hello", |_| {});
    let callers = [0; 3].map(|_| bench.arrive(&hello, false));
    assert_eq!(bench.refusal(callers[2]), Some(ProblemCode::NodeFull));
}

#[test]
fn the_wait_in_the_queue_is_bounded_by_the_timeout() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", |function| function.settings.max = 1);
    let first = bench.arrive(&hello, false);
    bench.start_all();
    bench.instance_of(first);
    bench.pass(Duration::from_secs(10));
    let (second, background) = (bench.arrive(&hello, false), bench.arrive(&hello, true));
    bench.pass(Duration::from_millis(29_999));
    assert_eq!(bench.refusal(second), None);
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.refusal(second), Some(ProblemCode::QueueTimeout));
    bench.pass(Duration::from_secs(3600));
    assert!(
        bench.waiting.contains(&background),
        "asynchronous work waits as long as it takes"
    );
}

#[test]
fn an_instance_larger_than_the_budget_is_refused_at_once() {
    let mut bench = Bench::with_room(10);
    let huge = function("huge", |function| memory(function, Some(11)));
    let caller = bench.arrive(&huge, false);
    assert_eq!(bench.refusal(caller), Some(ProblemCode::NodeFull));
    let limitless = function("limitless", |function| memory(function, None));
    let caller = bench.arrive(&limitless, false);
    assert_eq!(
        bench.refusal(caller),
        Some(ProblemCode::NodeFull),
        "it counts as the assumed memory"
    );
}

#[test]
fn idle_instances_are_frozen_then_ended_gently() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", reused);
    let caller = bench.arrive(&hello, false);
    bench.start_all();
    let key = bench.instance_of(caller);
    bench.finish_all();
    bench.pass(Duration::from_secs(2));
    assert!(bench.made[&key].frozen);
    let again = bench.arrive(&hello, false);
    assert_eq!(bench.instance_of(again), key);
    bench.finish_all();
    bench.pass(Duration::from_secs(59));
    assert_eq!(bench.made[&key].step, Step::Ready);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.made[&key].step, Step::Ending);
    assert!(bench.made[&key].gentle);
}

#[test]
fn spares_are_ready_before_anybody_asks_and_replaced_when_taken() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", |function| function.settings.spares = 2);
    bench.set(&[&hello]);
    bench.start_all();
    assert_eq!(bench.in_step(Step::Ready).len(), 2);
    let caller = bench.arrive(&hello, false);
    bench.instance_of(caller);
    assert_eq!(bench.in_step(Step::Launching).len(), 1, "replaced at once");
    bench.pass(Duration::from_secs(3600));
    assert_eq!(bench.in_step(Step::Ready).len(), 2, "spares don't age");
}

#[test]
fn spares_that_fail_are_tried_again_less_and_less_often() {
    let mut bench = Bench::with_room(10);
    let broken = function("broken", |function| function.settings.spares = 1);
    bench.set(&[&broken]);
    for _ in 0..100 {
        for key in bench.in_step(Step::Launching) {
            bench.fail(key);
        }
        bench.pass(Duration::from_secs(1));
    }
    assert!(
        (6..12).contains(&bench.launches.len()),
        "{} launches in 100 s",
        bench.launches.len()
    );
}

#[test]
fn a_spare_that_ends_by_itself_is_replaced_and_counts_as_a_failure() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", |function| function.settings.spares = 1);
    bench.set(&[&hello]);
    bench.start_all();
    bench.exit(bench.in_step(Step::Ready)[0]);
    bench.start_all();
    assert_eq!(bench.launches.len(), 1);
    bench.pass(Duration::from_millis(500));
    assert_eq!(bench.launches.len(), 2);
}

#[test]
fn whoever_waits_longest_takes_what_frees_first() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", reused);
    let first = bench.arrive(&hello, false);
    bench.start_all();
    let second = bench.arrive(&hello, false);
    assert_eq!(bench.launches.len(), 2);
    let key = bench.instance_of(first);
    bench.finish(key, 0, Fate::Reusable);
    assert_eq!(bench.instance_of(second), key);
    // The launch begun for the second serves the third.
    let third = bench.arrive(&hello, false);
    assert_eq!(bench.launches.len(), 2);
    bench.start_all();
    bench.instance_of(third);
}

#[test]
fn an_exec_callers_launch_is_given_up_with_it() {
    let mut bench = Bench::with_room(10);
    let command = function("command", exec);
    let caller = bench.arrive(&command, false);
    bench.leave(caller);
    assert!(bench.made.values().all(|made| made.cancelled));
    bench.start_all();
    assert!(bench.made.is_empty());
}

#[test]
fn a_failed_launch_tells_the_caller_it_was_for() {
    let mut bench = Bench::with_room(10);
    for change in [exec, |_: &mut Function| {}] {
        let function = function("broken", change);
        bench.set(&[&function]);
        let caller = bench.arrive(&function, false);
        bench.fail(bench.in_step(Step::Launching)[0]);
        assert_eq!(bench.refusal(caller), Some(ProblemCode::StartFailed));
        assert!(bench.made.is_empty());
        bench.set(&[]);
    }
}

#[test]
fn what_the_engine_cannot_freeze_is_left_alone() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", reused);
    bench.arrive(&hello, false);
    bench.start_all();
    bench.finish_all();
    bench.pass(Duration::from_secs(2));
    let key = bench.in_step(Step::Ready)[0];
    bench.pool.freeze_failed(key);
    bench.made.get_mut(&key).expect("it is there").frozen = false;
    let again = bench.arrive(&hello, false);
    assert_eq!(bench.instance_of(again), key);
    bench.finish_all();
    bench.pass(Duration::from_secs(30));
    assert!(!bench.made[&key].frozen);
}

#[test]
fn at_rest_no_timer_is_set() {
    let mut bench = Bench::with_room(10);
    let functions: Vec<_> = (0..100).map(|n| function(&format!("f{n}"), |_| {})).collect();
    bench.set(&functions.iter().collect::<Vec<_>>());
    assert_eq!(bench.pool.next_deadline(), None);
    bench.arrive(&functions[0], false);
    bench.start_all();
    bench.finish_all();
    bench.start_all();
    bench.pass(Duration::from_secs(3600));
    assert_eq!(bench.pool.next_deadline(), None);
}
