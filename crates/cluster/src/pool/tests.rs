use std::collections::BTreeMap;

use proptest::prelude::*;
use skep_model::Revision;
use skep_wire::{SandboxPicture, Usage, Waiting};

use super::*;

fn function(labels: &[(&str, &str)]) -> Function {
    skep_testing::function("hello", labels)
}

fn shown(id: &str, slots: u32, running: u32, idle: u32) -> SandboxPicture {
    SandboxPicture {
        id: id.to_owned(),
        task: format!("{id}-task"),
        service: "service".to_owned(),
        function: "hello".to_owned(),
        namespace: "default".to_owned(),
        revision: Revision::of(b"hello").to_string(),
        slots,
        running,
        idle,
        draining: false,
        alone: false,
        reasons: Vec::new(),
    }
}

fn node(name: &str, sandboxes: Vec<SandboxPicture>) -> NodePicture {
    NodePicture {
        node: format!("{name}-id"),
        hostname: name.to_owned(),
        engine: "lean".to_owned(),
        fallback: Vec::new(),
        sandboxes,
        waiting: Vec::new(),
        children: Usage::default(),
    }
}

fn placed(arrival: Arrival) -> Placement {
    match arrival {
        Arrival::Placed(placement) => placement,
        other => panic!("it is placed at once: {other:?}"),
    }
}

fn waits(arrival: Arrival) -> oneshot::Receiver<Placement> {
    match arrival {
        Arrival::Waits { place, .. } => place,
        other => panic!("it waits: {other:?}"),
    }
}

#[test]
fn a_free_instance_comes_before_an_empty_slot_and_then_nodes_fill_evenly() {
    let mut pool = Pool::default();
    let hello = function(&[]);
    pool.picture(1, node("a", vec![shown("a1", 4, 3, 1)]), "default");
    pool.picture(2, node("b", vec![shown("b1", 4, 0, 0)]), "default");
    pool.picture(3, node("c", vec![shown("c1", 4, 1, 0)]), "default");
    let order: Vec<String> = (0..6)
        .map(|_| placed(pool.arrive(&hello, false)).sandbox.to_string())
        .collect();
    assert_eq!(order[..2], ["a1", "b1"]);
    let count = |id: &str| order.iter().filter(|got| *got == id).count();
    assert_eq!((count("a1"), count("b1") + count("c1")), (1, 5));
    assert!(count("b1") <= 3 && count("c1") <= 3, "{order:?}");
}

#[test]
fn who_waits_is_served_in_turn_and_within_bounds() {
    let mut pool = Pool::default();
    let hello = function(&[("skep.queue", "2")]);
    let mut first = waits(pool.arrive(&hello, false));
    let mut second = waits(pool.arrive(&hello, false));
    assert!(matches!(pool.arrive(&hello, false), Arrival::Full(2)));
    assert_eq!(pool.take_wanted(), std::slice::from_ref(&hello.name));
    pool.picture(1, node("a", vec![shown("a1", 1, 0, 0)]), "default");
    let place = first.try_recv().expect("served");
    assert!(second.try_recv().is_err());
    pool.finished(&hello.name, &place);
    assert!(second.try_recv().is_ok());
}

#[test]
fn a_caller_who_left_takes_no_place() {
    let mut pool = Pool::default();
    let hello = function(&[("skep.queue", "1")]);
    drop(waits(pool.arrive(&hello, false)));
    let mut second = waits(pool.arrive(&hello, false));
    pool.picture(1, node("a", vec![shown("a1", 1, 0, 0)]), "default");
    assert!(second.try_recv().is_ok());
}

#[test]
fn asynchronous_work_gets_its_share_and_no_more() {
    let mut pool = Pool::default();
    let hello = function(&[]);
    let mut callers: Vec<_> = (0..16).map(|_| waits(pool.arrive(&hello, false))).collect();
    let mut background: Vec<_> = (0..16).map(|_| waits(pool.arrive(&hello, true))).collect();
    pool.picture(1, node("a", vec![shown("a1", 16, 0, 0)]), "default");
    let served = |all: &mut Vec<oneshot::Receiver<Placement>>| {
        all.iter_mut()
            .map(|w| usize::from(w.try_recv().is_ok()))
            .sum::<usize>()
    };
    assert_eq!((served(&mut callers), served(&mut background)), (14, 2));
}

#[test]
fn what_refused_is_left_alone_until_it_says_something_new() {
    let mut pool = Pool::default();
    let hello = function(&[]);
    pool.picture(1, node("a", vec![shown("a1", 4, 0, 0)]), "default");
    let place = placed(pool.arrive(&hello, false));
    pool.refused(&hello.name, &place, Some(NotStarted::Full));
    pool.finished(&hello.name, &place);
    let mut again = waits(pool.again(&hello.name, false));
    pool.picture(1, node("a", vec![shown("a1", 4, 3, 0)]), "default");
    assert!(again.try_recv().is_ok());
}

#[test]
fn a_draining_sandbox_gets_nothing_and_a_lost_one_is_asked_for_anew() {
    let mut pool = Pool::default();
    let hello = function(&[]);
    let draining = SandboxPicture {
        draining: true,
        ..shown("a1", 4, 0, 0)
    };
    pool.picture(1, node("a", vec![draining]), "default");
    let mut waiting = waits(pool.arrive(&hello, false));
    assert_eq!(pool.take_wanted().len(), 1);
    pool.picture(2, node("b", vec![shown("b1", 1, 1, 0)]), "default");
    assert!(waiting.try_recv().is_err());
    pool.lost(2);
    assert_eq!(pool.take_wanted().len(), 1);
}

#[test]
fn the_older_revision_serves_until_the_new_one_has_a_sandbox() {
    let mut pool = Pool::default();
    let hello = function(&[]);
    let old = SandboxPicture {
        revision: "0123456789ab".to_owned(),
        ..shown("old", 4, 0, 0)
    };
    pool.picture(1, node("a", vec![old.clone()]), "default");
    assert_eq!(&*placed(pool.arrive(&hello, false)).sandbox, "old");
    pool.picture(1, node("a", vec![old, shown("new", 4, 0, 0)]), "default");
    assert_eq!(&*placed(pool.arrive(&hello, false)).sandbox, "new");
}

#[test]
fn demand_is_that_of_all_gateways_and_each_is_counted_once() {
    let mut pool = Pool::default();
    let hello = function(&[]);
    let told = |gateway: &str, namespace: &str, count: u32| Waiting {
        gateway: gateway.to_owned(),
        namespace: namespace.to_owned(),
        functions: BTreeMap::from([("hello".to_owned(), count)]),
    };
    let _waiting = waits(pool.arrive(&hello, false));
    let mut first = node("a", vec![shown("a1", 2, 2, 0)]);
    first.waiting = vec![told("me", "default", 1), told("other", "default", 7)];
    let mut second = node("b", Vec::new());
    second.waiting = vec![
        told("other", "default", 5),
        told("third", "default", 10),
        told("third-theirs", "theirs", 100),
    ];
    pool.picture(1, first, "default");
    pool.picture(2, second, "default");
    // Two run, one waits here, and seventeen at two others.
    assert_eq!(pool.demand("default", "me")[&hello.name], 20);
    pool.lost(2);
    assert_eq!(pool.demand("default", "me")[&hello.name], 10);
}

#[test]
fn what_only_a_node_knows_of_an_image_holds_for_that_revision_alone() {
    let mut pool = Pool::default();
    let alone = SandboxPicture {
        alone: true,
        revision: "0123456789ab".to_owned(),
        ..shown("old", 1, 0, 0)
    };
    pool.picture(1, node("a", vec![alone, shown("new", 4, 0, 0)]), "default");
    let known = pool.alone();
    assert!(known.contains(&("hello".parse().unwrap(), "0123456789ab".to_owned())));
    assert_eq!(known.len(), 1);
}

#[test]
fn another_namespaces_sandboxes_are_none_of_ours() {
    let mut pool = Pool::default();
    let theirs = SandboxPicture {
        namespace: "theirs".to_owned(),
        ..shown("a1", 4, 0, 0)
    };
    pool.picture(1, node("a", vec![theirs]), "default");
    waits(pool.arrive(&function(&[]), false));
}

#[test]
fn why_no_node_can_run_a_function_is_known_and_one_that_can_is_enough() {
    let mut pool = Pool::default();
    let refused = |id: &str| SandboxPicture {
        reasons: vec!["it is no lean node".to_owned()],
        ..shown(id, 4, 0, 0)
    };
    pool.picture(1, node("a", vec![refused("a-1"), refused("a-2")]), "default");
    waits(pool.arrive(&function(&[]), false));
    assert_eq!(pool.unusable("hello", "default"), ["a: it is no lean node"]);
    assert!(pool.unusable("hello", "other").is_empty() && pool.unusable("other", "default").is_empty());
    pool.picture(2, node("b", vec![shown("b-1", 4, 0, 0)]), "default");
    assert!(pool.unusable("hello", "default").is_empty());
}

#[test]
fn what_has_just_ended_keeps_nobody_waiting() {
    let mut pool = Pool::default();
    let hello = function(&[]);
    pool.picture(1, node("a", vec![shown("a1", 1, 0, 0)]), "default");
    let place = placed(pool.arrive(&hello, false));
    pool.finished(&hello.name, &place);
    // It was drawn before the end.
    pool.picture(1, node("a", vec![shown("a1", 1, 1, 0)]), "default");
    placed(pool.arrive(&hello, false));
}

#[test]
fn an_agent_that_was_started_anew_takes_over_its_sandboxes() {
    let mut pool = Pool::default();
    let hello = function(&[]);
    pool.picture(1, node("a", vec![shown("a1", 2, 0, 0)]), "default");
    placed(pool.arrive(&hello, false));
    pool.picture(2, node("a", vec![shown("a1", 2, 1, 0)]), "default");
    pool.lost(1);
    assert_eq!(placed(pool.arrive(&hello, false)).node, 2);
    assert_eq!(pool.nodes().len(), 1);
}

proptest! {
    /// Whatever happens in whatever order: no sandbox has more of this gateway's work than room, nobody waits where there
    /// is room, and nothing stays counted in the end.
    #[test]
    fn no_sandbox_is_overfilled_and_nobody_waits_beside_room(steps in prop::collection::vec((0u8..6, 0u64..3), 1..200)) {
        let mut pool = Pool::default();
        let hello = function(&[]);
        let mut running: Vec<Placement> = Vec::new();
        let mut waiting: Vec<oneshot::Receiver<Placement>> = Vec::new();
        let mut there: BTreeMap<u64, bool> = BTreeMap::new();
        for (step, key) in steps {
            match step {
                0..3 => match pool.arrive(&hello, false) {
                    Arrival::Placed(placement) => running.push(placement),
                    Arrival::Waits { place, .. } => waiting.push(place),
                    Arrival::Full(_) => {}
                },
                3 => if let Some(placement) = running.pop() {
                    pool.finished(&hello.name, &placement);
                },
                4 => {
                    let here = running.iter().filter(|placement| placement.node == key).count();
                    let shown = shown(&format!("s{key}"), 2, u32::try_from(here).unwrap(), 0);
                    pool.picture(key, node(&format!("n{key}"), vec![shown]), "default");
                    there.insert(key, true);
                }
                _ => {
                    pool.lost(key);
                    running.retain(|placement| placement.node != key);
                    there.remove(&key);
                }
            }
            let mut still = Vec::new();
            for mut waiter in waiting {
                match waiter.try_recv() {
                    Ok(placement) => running.push(placement),
                    Err(_) => still.push(waiter),
                }
            }
            waiting = still;
            let mut free = false;
            for key in there.keys() {
                let here = running.iter().filter(|placement| placement.node == *key).count();
                prop_assert!(here <= 2, "{here} on {key}");
                free |= here < 2;
            }
            prop_assert!(waiting.is_empty() || !free, "{} wait", waiting.len());
        }
    }
}
