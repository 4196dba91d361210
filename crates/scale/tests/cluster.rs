//! The decider's work for a whole cluster: 1,000 nodes, 10,000 functions.

use std::time::{Duration, Instant};

use skep_scale::{Limits, Scaler};

const FUNCTIONS: u32 = 10_000;
const NODES: u32 = 1_000;
/// An hour, decided about twice a second.
const ROUNDS: u32 = 7_200;
const TICK: Duration = Duration::from_millis(500);

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("a line");
    line.split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number")
}

/// Demand that comes and goes, a tenth of the functions busy at any time.
fn demand(function: u32, round: u32) -> u32 {
    let phase = (round / 120 + function * 7) % 10;
    if phase == 0 {
        1 + function.wrapping_mul(2_654_435_761) % 200
    } else {
        0
    }
}

/// `cargo test --release -p skep-scale --test cluster -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: it says how many decisions a second one core makes"]
fn a_decider_of_ten_thousand_functions() {
    let before = resident();
    let mut now = Instant::now();
    let limits = |function: u32| {
        let max = 16 * (1 + function % 64);
        Limits {
            max,
            tasks: max.div_ceil(16),
            floor: 0,
            concurrency: 1,
            idle: Duration::from_secs(60),
        }
    };
    let mut functions: Vec<(Scaler, u32)> = (0..FUNCTIONS)
        .map(|function| (Scaler::new(limits(function), now), 0))
        .collect();
    let began = Instant::now();
    let (mut changes, mut most) = (0u64, 0u64);
    for round in 0..ROUNDS {
        let mut tasks = 0;
        for (number, (scaler, current)) in (0..).zip(&mut functions) {
            scaler.observe(now, demand(number, round));
            let target = scaler.decide(now, *current);
            changes += u64::from(target.tasks != *current);
            *current = target.tasks;
            tasks += u64::from(target.tasks);
        }
        most = most.max(tasks);
        now += TICK;
    }
    let decisions = f64::from(FUNCTIONS) * f64::from(ROUNDS);
    let rate = decisions / began.elapsed().as_secs_f64();
    let memory = resident() - before;
    println!(
        "{FUNCTIONS} functions on {NODES} nodes: {rate:.0} decisions/s, {memory} KiB, {changes} changes in an hour, \
         at most {most} tasks"
    );
    // A round of all of them twice a second is to take a small part of one core.
    assert!(rate > 200_000.0, "{rate:.0} decisions/s");
    assert!(memory < 64 * 1024, "{memory} KiB");
}
