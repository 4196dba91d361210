//! What is in force changes.

use std::sync::Arc;

use skep_engine::Stdio;
use skep_model::{Function, ProblemCode, Revision};

use super::bench::{Bench, Step};
use crate::tests::functions::{exec, function, reused};
use crate::work::Fate;

fn second_revision(function: &Arc<Function>) -> Arc<Function> {
    Arc::new(Function {
        revision: Revision::of(b"2"),
        ..Function::clone(function)
    })
}

#[test]
fn a_new_revision_takes_over_without_cutting_work_short() {
    let mut bench = Bench::with_room(10);
    let old = function("hello", |function| {
        reused(function);
        function.settings.max = 2;
    });
    bench.set(&[&old]);
    let [busy, idle] = [0; 2].map(|_| bench.arrive(&old, false));
    bench.start_all();
    let [busy, idle] = [busy, idle].map(|caller| bench.instance_of(caller));
    bench.finish(idle, 0, Fate::Reusable);
    let new = second_revision(&old);
    bench.set(&[&new]);
    assert_eq!(bench.made[&idle].step, Step::Ending);
    assert_eq!(bench.made[&busy].step, Step::Ready);
    // A caller that still holds the old revision gets the new one.
    let caller = bench.arrive(&old, false);
    bench.start_all();
    assert_eq!(
        bench.made[&bench.instance_of(caller)].function.revision,
        new.revision
    );
    bench.finish(busy, 0, Fate::Reusable);
    assert_eq!(bench.made[&busy].step, Step::Ending);
}

#[test]
fn queued_callers_move_to_the_new_revision() {
    let mut bench = Bench::with_room(10);
    let old = function("hello", |_| {});
    bench.set(&[&old]);
    let caller = bench.arrive(&old, false);
    let new = second_revision(&old);
    bench.set(&[&new]);
    bench.start_all();
    assert_eq!(
        bench.made[&bench.instance_of(caller)].function.revision,
        new.revision
    );
}

#[test]
fn callers_of_a_removed_function_are_told_so_and_it_does_not_come_back_by_itself() {
    let mut bench = Bench::with_room(10);
    let hello = function("hello", |function| function.settings.spares = 1);
    bench.set(&[&hello]);
    let caller = bench.arrive(&hello, false);
    bench.set(&[]);
    assert_eq!(bench.refusal(caller), Some(ProblemCode::NotFound));
    let late = bench.arrive(&hello, false);
    assert_eq!(bench.refusal(late), Some(ProblemCode::NotFound));
    bench.start_all();
    assert!(bench.made.is_empty());
    bench.set(&[&hello]);
    assert_eq!(bench.in_step(Step::Launching).len(), 1);
}

#[test]
fn a_caller_for_another_handler_is_sent_to_try_again() {
    let mut bench = Bench::with_room(10);
    let command = function("hello", exec);
    bench.set(&[&command]);
    let caller = bench.pool.arrive(&command, Stdio::Log, false, bench.now);
    let actions = format!("{:?}", bench.pool.take_actions());
    assert!(
        actions.contains("changed its handler") && actions.contains(&format!("{caller:?}")),
        "{actions}"
    );
}
