//! A gateway's view of a large cluster: 1,000 nodes, 10,000 functions, 30,000 sandboxes.

use std::time::{Duration, Instant};

use skep_model::Revision;
use skep_wire::SandboxPicture;

use super::*;

const NODES: usize = 1_000;
const FUNCTIONS: usize = 10_000;
/// Of each function.
const SANDBOXES: usize = 3;
const TIME: Duration = Duration::from_secs(3);

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn name(function: usize) -> String {
    format!("function-{function}")
}

/// Every function has sandboxes on three nodes far from one another.
fn node(number: usize, running: u32) -> NodePicture {
    let here = (0..SANDBOXES).flat_map(|part| {
        let first = (number + part * NODES / SANDBOXES) % NODES;
        (first..FUNCTIONS).step_by(NODES)
    });
    let sandboxes = here.map(|function| SandboxPicture {
        id: format!("{:064x}", function * NODES + number),
        task: format!("{function:025}"),
        service: format!("{function:025}"),
        function: name(function),
        namespace: "default".to_owned(),
        revision: Revision::of(b"hello").to_string(),
        slots: 16,
        running,
        idle: 0,
        draining: false,
        alone: false,
        reasons: Vec::new(),
    });
    NodePicture {
        node: format!("{number:025}"),
        hostname: format!("node-{number}"),
        engine: "lean".to_owned(),
        fallback: Vec::new(),
        sandboxes: sandboxes.collect(),
        waiting: Vec::new(),
        children: skep_wire::Usage::default(),
    }
}

/// How often something is done in a second.
fn rate(mut one: impl FnMut(usize)) -> f64 {
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < TIME {
        (0..100).for_each(|more| one(count + more));
        count += 100;
    }
    count as f64 / began.elapsed().as_secs_f64()
}

/// `cargo test --release -p skep-cluster many -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: it says how many invocations and pictures a second one core takes"]
fn a_gateway_of_a_thousand_nodes() {
    let before = resident();
    let mut pool = Pool::default();
    for number in 0..NODES {
        pool.picture(number as NodeKey, node(number, 1), "default");
    }
    let memory = resident() - before;
    let functions: Vec<Function> = (0..FUNCTIONS)
        .map(|function| skep_testing::function(&name(function), &[]))
        .collect();

    let invocations = rate(|count| {
        let function = &functions[count.wrapping_mul(7_919) % FUNCTIONS];
        match pool.arrive(function, false) {
            Arrival::Placed(placement) => pool.finished(&function.name, &placement),
            other => panic!("there is room: {other:?}"),
        }
    });
    let drawn: Vec<String> = (0..NODES)
        .map(|number| serde_json::to_string(&node(number, 2)).unwrap())
        .collect();
    let pictures = rate(|count| {
        let picture = serde_json::from_str(&drawn[count % NODES]).unwrap();
        pool.picture((count % NODES) as NodeKey, picture, "default");
    });
    let began = Instant::now();
    let demand = pool.demand("default", "own");
    let counting = began.elapsed();
    println!(
        "{NODES} nodes, {FUNCTIONS} functions: {invocations:.0} invocations/s placed and ended, {pictures:.0} pictures/s \
         read, {:.1} ms to count the demand of all, {memory} KiB",
        counting.as_secs_f64() * 1000.0
    );
    assert_eq!(demand.len(), FUNCTIONS);
    // A node draws no more than twenty pictures a second, and one every two seconds where nothing happens.
    assert!(pictures > NODES as f64, "{pictures:.0} pictures/s");
    assert!(invocations > 100_000.0, "{invocations:.0} invocations/s");
    assert!(memory < 128 * 1024, "{memory} KiB");
}
