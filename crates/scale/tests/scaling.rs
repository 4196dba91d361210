//! How many tasks there are, second by second, on a made-up clock.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use skep_scale::{Limits, Reason, Scaler};

const TICK: Duration = Duration::from_millis(500);

fn limits() -> Limits {
    Limits {
        max: 160,
        tasks: 10,
        floor: 0,
        concurrency: 1,
        idle: Duration::from_secs(60),
    }
}

/// A function on a Swarm that does what it is told at once.
struct Function {
    scaler: Scaler,
    now: Instant,
    tasks: u32,
    changes: u32,
}

impl Function {
    fn new(limits: Limits) -> Self {
        let now = Instant::now();
        Self {
            scaler: Scaler::new(limits, now),
            now,
            tasks: 0,
            changes: 0,
        }
    }

    fn run(&mut self, demand: u32, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.scaler.observe(self.now, demand);
            self.decide();
            self.now += TICK;
        }
    }

    fn decide(&mut self) -> Reason {
        let target = self.scaler.decide(self.now, self.tasks);
        self.changes += u32::from(target.tasks != self.tasks);
        self.tasks = target.tasks;
        target.reason
    }
}

#[test]
fn the_first_request_brings_a_task_at_once() {
    let mut function = Function::new(limits());
    function.run(0, Duration::from_secs(600));
    assert_eq!(function.tasks, 0);
    function.scaler.observe(function.now, 1);
    function.decide();
    assert_eq!(function.tasks, 1);
}

#[test]
fn steady_demand_has_room_to_spare() {
    let mut function = Function::new(limits());
    function.run(50, Duration::from_secs(120));
    // 16 slots each, of which 0.7 are to be in use.
    assert_eq!(function.tasks, 5);
    assert!(function.changes <= 3, "{} changes", function.changes);
}

#[test]
fn a_burst_is_answered_within_two_seconds_and_never_beyond_the_limit() {
    let mut function = Function::new(limits());
    function.run(1, Duration::from_secs(60));
    assert_eq!(function.tasks, 1);
    function.run(1_000, Duration::from_secs(2));
    assert_eq!(function.tasks, 10);
}

#[test]
fn many_short_requests_at_once_are_no_burst() {
    let mut function = Function::new(limits());
    function.run(1, Duration::from_secs(30));
    for _ in 0..20 {
        // A hundred at once, served in 10 ms, twice a second.
        function.scaler.observe(function.now, 100);
        function.now += Duration::from_millis(10);
        function.scaler.observe(function.now, 0);
        function.now += Duration::from_millis(490);
        function.decide();
    }
    assert_eq!(function.tasks, 1);
}

#[test]
fn nothing_goes_before_it_was_idle_and_everything_after() {
    let mut function = Function::new(limits());
    function.run(100, Duration::from_secs(60));
    let most = function.tasks;
    assert_eq!(most, 9);
    function.run(0, Duration::from_secs(59));
    assert_eq!(function.tasks, most);
    function.run(0, Duration::from_secs(15));
    assert_eq!(function.tasks, 0);
}

#[test]
fn demand_that_swings_within_the_idle_time_changes_nothing() {
    let mut function = Function::new(limits());
    function.run(100, Duration::from_secs(60));
    let settled = function.changes;
    for _ in 0..20 {
        function.run(0, Duration::from_secs(20));
        function.run(100, Duration::from_secs(20));
    }
    assert_eq!(function.changes, settled);
}

#[test]
fn what_labels_ask_for_stays() {
    let mut function = Function::new(Limits { floor: 2, ..limits() });
    assert_eq!(function.decide(), Reason::Limits);
    function.run(0, Duration::from_secs(600));
    assert_eq!(function.tasks, 2);
    function.scaler.set_limits(Limits {
        tasks: 1,
        max: 16,
        ..limits()
    });
    function.decide();
    assert_eq!(function.tasks, 1);
}

#[test]
fn a_new_decider_takes_nothing_away_that_it_knows_nothing_of() {
    let mut function = Function::new(limits());
    function.tasks = 7;
    function.run(0, Duration::from_secs(59));
    assert_eq!(function.tasks, 7);
    function.run(0, Duration::from_secs(2));
    assert_eq!(function.tasks, 0);
}

proptest! {
    #[test]
    fn it_stays_within_its_limits_and_has_a_task_for_whoever_waits(
        steps in prop::collection::vec((0u32..2_000, 1u64..40), 1..60),
        max in 1u32..400,
        slots in 1u32..40,
    ) {
        let limits = Limits { max, tasks: max.div_ceil(slots), ..limits() };
        let mut function = Function::new(limits);
        for (demand, ticks) in steps {
            function.run(demand, TICK * u32::try_from(ticks).unwrap());
            prop_assert!(function.tasks <= limits.tasks);
            prop_assert!(demand == 0 || function.tasks > 0);
        }
    }
}
