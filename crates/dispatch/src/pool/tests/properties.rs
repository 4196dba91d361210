//! Random events in random order. The bench checks after each of them what must always hold; here it is checked
//! besides that nobody waits for ever.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use skep_model::{Function, Recycle, Revision};

use super::bench::{Bench, Step};
use crate::config::Config;
use crate::tests::functions::{exec, function, memory};
use crate::work::Fate;

#[derive(Debug, Clone)]
enum Event {
    Arrive {
        function: usize,
        background: bool,
    },
    Leave(usize),
    Launched(usize),
    Ready(usize),
    Fail(usize),
    Finish {
        instance: usize,
        lease: usize,
        spent: bool,
    },
    Exit(usize),
    Removed(usize),
    Pass(u64),
    Revise {
        function: usize,
        revision: u8,
    },
    Withdraw(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let any = any::<prop::sample::Index>().prop_map(|index| index.index(64));
    prop_oneof![
        8 => (0..4_usize, prop::bool::weighted(0.3)).prop_map(|(function, background)| {
            Event::Arrive { function, background }
        }),
        1 => any.clone().prop_map(Event::Leave),
        2 => any.clone().prop_map(Event::Launched),
        6 => any.clone().prop_map(Event::Ready),
        1 => any.clone().prop_map(Event::Fail),
        6 => (any.clone(), any.clone(), prop::bool::weighted(0.2))
            .prop_map(|(instance, lease, spent)| Event::Finish { instance, lease, spent }),
        1 => any.clone().prop_map(Event::Exit),
        6 => any.prop_map(Event::Removed),
        2 => prop_oneof![0..50_u64, 0..100_000_u64].prop_map(Event::Pass),
        1 => (0..4_usize, 0..3_u8).prop_map(|(function, revision)| Event::Revise { function, revision }),
        1 => (0..4_usize).prop_map(Event::Withdraw),
    ]
}

fn recycle() -> impl Strategy<Value = Recycle> {
    prop_oneof![
        Just(Recycle::Request),
        Just(Recycle::Idle),
        (2..4_u64).prop_map(Recycle::After)
    ]
}

prop_compose! {
    fn any_function(index: usize)(
        max in 1..4_u32, queue in 0..6_u32, bytes in 1..4_u64, recycle in recycle(), concurrency in 1..3_u32,
        spares in 0..2_u32, command in prop::bool::weighted(0.3),
    ) -> Arc<Function> {
        function(&format!("f{index}"), |function| {
            let settings = &mut function.settings;
            (settings.max, settings.queue, settings.recycle) = (max, queue, recycle);
            (settings.concurrency, settings.spares) = (concurrency, spares.min(max));
            memory(function, Some(bytes));
            if command {
                exec(function);
                let settings = &mut function.settings;
                (settings.recycle, settings.concurrency, settings.spares) = (Recycle::Request, 1, 0);
            }
        })
    }
}

fn functions() -> impl Strategy<Value = Vec<Arc<Function>>> {
    (any_function(0), any_function(1), any_function(2), any_function(3))
        .prop_map(|(a, b, c, d)| vec![a, b, c, d])
}

fn revised(function: &Arc<Function>, revision: u8) -> Arc<Function> {
    Arc::new(Function {
        revision: Revision::of(&[revision]),
        ..Function::clone(function)
    })
}

fn nth<T: Copy>(of: &[T], index: usize) -> Option<T> {
    (!of.is_empty()).then(|| of[index % of.len()])
}

/// What the tests know to be in force.
struct World {
    bench: Bench,
    functions: Vec<Arc<Function>>,
    withdrawn: Vec<bool>,
}

impl World {
    fn happen(&mut self, event: Event) {
        let bench = &mut self.bench;
        match event {
            Event::Arrive { function, background } => {
                bench.arrive(&self.functions[function], background);
            }
            Event::Leave(index) => {
                let waiting: Vec<_> = bench.waiting.iter().copied().collect();
                if let Some(caller) = nth(&waiting, index) {
                    bench.leave(caller);
                }
            }
            Event::Launched(index) => {
                if let Some(key) = nth(&bench.in_step(Step::Launching), index) {
                    bench.launched(key);
                }
            }
            Event::Ready(index) => {
                let starting = [bench.in_step(Step::Launching), bench.in_step(Step::Launched)].concat();
                if let Some(key) = nth(&starting, index) {
                    if bench.made[&key].cancelled {
                        bench.removed(key)
                    } else {
                        bench.ready(key)
                    }
                }
            }
            Event::Fail(index) => {
                let starting = [bench.in_step(Step::Launching), bench.in_step(Step::Launched)].concat();
                if let Some(key) = nth(&starting, index) {
                    bench.fail(key);
                }
            }
            Event::Finish {
                instance,
                lease,
                spent,
            } => {
                if let Some(key) = nth(&bench.working(), instance) {
                    bench.finish(key, lease, if spent { Fate::Spent } else { Fate::Reusable });
                }
            }
            Event::Exit(index) => {
                if let Some(key) = nth(&bench.in_step(Step::Ready), index) {
                    bench.exit(key);
                }
            }
            Event::Removed(index) => {
                if let Some(key) = nth(&bench.in_step(Step::Ending), index) {
                    bench.removed(key);
                }
            }
            Event::Pass(milliseconds) => bench.pass(Duration::from_millis(milliseconds)),
            Event::Revise { function, revision } => {
                self.functions[function] = revised(&self.functions[function], revision);
                self.withdrawn[function] = false;
                self.announce();
            }
            Event::Withdraw(function) => {
                self.withdrawn[function] = true;
                self.announce();
            }
        }
    }

    fn announce(&mut self) {
        let present: Vec<&Arc<Function>> = self
            .functions
            .iter()
            .zip(&self.withdrawn)
            .filter(|(_, withdrawn)| !**withdrawn)
            .map(|(function, _)| function)
            .collect();
        self.bench.set(&present);
    }
}

fn world(functions: Vec<Arc<Function>>, memory: u64, starts: usize, queue: usize) -> World {
    let config = Config {
        concurrent_starts: starts,
        queue,
        ..Config::new(memory)
    };
    let withdrawn = vec![false; functions.len()];
    let mut world = World {
        bench: Bench::new(config),
        functions,
        withdrawn,
    };
    world.announce();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_limits_hold_and_everybody_is_answered(
        functions in functions(), memory in 3..12_u64, starts in 1..5_usize, queue in 0..20_usize,
        events in prop::collection::vec(event(), 1..250),
    ) {
        let mut world = world(functions, memory, starts, queue);
        for event in events {
            world.happen(event);
        }
        let bench = &mut world.bench;
        for _ in 0..500 {
            if bench.waiting.is_empty() {
                break;
            }
            bench.start_all();
            bench.finish_all();
        }
        prop_assert!(bench.waiting.is_empty(), "somebody waits for ever");
    }

    #[test]
    fn draining_serves_who_waits_and_leaves_nothing(
        functions in functions(), memory in 3..12_u64, starts in 1..5_usize,
        events in prop::collection::vec(event(), 1..150),
    ) {
        let mut world = world(functions, memory, starts, 100);
        for event in events {
            world.happen(event);
        }
        let bench = &mut world.bench;
        bench.pool.begin_drain(bench.now);
        bench.carry_out();
        for _ in 0..500 {
            bench.start_all();
            bench.finish_all();
        }
        prop_assert!(bench.waiting.is_empty());
        prop_assert!(bench.pool.is_empty());
    }

    #[test]
    fn ending_everything_leaves_nothing(
        functions in functions(), memory in 3..12_u64, starts in 1..5_usize,
        events in prop::collection::vec(event(), 1..150),
    ) {
        let mut world = world(functions, memory, starts, 100);
        for event in events {
            world.happen(event);
        }
        let bench = &mut world.bench;
        bench.merciless = true;
        bench.pool.end_all();
        bench.carry_out();
        bench.finish_all();
        bench.start_all();
        prop_assert!(bench.waiting.is_empty());
        prop_assert!(bench.pool.is_empty());
    }
}
