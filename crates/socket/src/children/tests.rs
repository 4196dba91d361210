use skep_model::Spawn;

use super::*;
use crate::labels::Marks;

fn marks(root: &str, memory: u64) -> Marks {
    Marks {
        function: "f".parse().unwrap(),
        parent: "instance".to_owned(),
        root: root.to_owned(),
        invocation: None,
        generation: 1,
        above: Vec::new(),
        asked: "image".to_owned(),
        of_template: false,
        deadline: Timestamp::MAX,
        memory,
        nano_cpus: 0,
        socket: None,
        grant: None,
        restarts: false,
    }
}

fn child(id: &str, marks: Marks, state: State) -> Child {
    Child {
        id: id.to_owned(),
        name: id.to_owned(),
        marks,
        state,
        created: Timestamp::UNIX_EPOCH,
        started: None,
        ended: None,
        removed: false,
        disk: None,
        over: None,
    }
}

fn spawn() -> Spawn {
    Spawn {
        max: 2,
        total: 3,
        memory: 100,
        ..Spawn::default()
    }
}

#[test]
fn a_place_is_taken_at_once_and_given_back_where_nothing_was_made() {
    let mut children = Children::default();
    let first = children.admit(&spawn(), marks("a", 0), "c").unwrap();
    let second = children.admit(&spawn(), marks("a", 0), "c").unwrap();
    let refusal = children.admit(&spawn(), marks("a", 0), "c").unwrap_err();
    assert!(refusal.message.contains("skep.spawn.max"), "{refusal}");
    children.settle(first, None);
    children.settle(second, Some(child("x", marks("a", 0), State::Running)));
    children.admit(&spawn(), marks("a", 0), "c").unwrap();
    assert!(children.admit(&spawn(), marks("a", 0), "c").is_err());
}

#[test]
fn what_ended_is_not_live_and_still_counts_in_all() {
    let mut children = Children::default();
    for id in ["x", "y", "z"] {
        let place = children.admit(&spawn(), marks("a", 0), "c").unwrap();
        children.settle(place, Some(child(id, marks("a", 0), State::Exited(0))));
    }
    let refusal = children.admit(&spawn(), marks("a", 0), "c").unwrap_err();
    assert!(refusal.message.contains("skep.spawn.total"), "{refusal}");
    children.admit(&spawn(), marks("another", 0), "c").unwrap();
}

#[test]
fn a_function_has_children_from_the_moment_that_one_is_being_made() {
    let mut children = Children::default();
    let place = children.admit(&spawn(), marks("a", 0), "c").unwrap();
    assert!(children.has_any_of(&"f".parse().unwrap()));
    assert!(!children.has_any_of(&"g".parse().unwrap()));
    children.settle(place, None);
    assert!(!children.has_any_of(&"f".parse().unwrap()));
}

#[test]
fn memory_is_counted_over_what_lives() {
    let mut children = Children::default();
    let place = children.admit(&spawn(), marks("a", 60), "c").unwrap();
    children.settle(place, Some(child("x", marks("a", 60), State::Running)));
    let refusal = children.admit(&spawn(), marks("a", 60), "c").unwrap_err();
    assert!(refusal.message.contains("skep.spawn.memory"), "{refusal}");
    children.get_mut("x").unwrap().state = State::Exited(0);
    children.admit(&spawn(), marks("a", 60), "c").unwrap();
    assert!(children.may_restart(&spawn(), "x").is_err());
}

#[test]
fn a_child_that_is_being_started_counts_whatever_is_heard_of_its_earlier_end() {
    let mut children = Children::default();
    let place = children.admit(&spawn(), marks("a", 60), "c").unwrap();
    children.settle(place, Some(child("x", marks("a", 60), State::Running)));
    children.begin_start("x");
    children.get_mut("x").unwrap().state = State::Exited(0);
    assert!(children.admit(&spawn(), marks("a", 60), "c").is_err());
    children.end_start("x", true);
    assert!(children.admit(&spawn(), marks("a", 60), "c").is_err());
    // One that ended at once after it was started is not live because the answer came later than that.
    children.begin_start("x");
    children.runs("x", Timestamp::now());
    children.get_mut("x").unwrap().state = State::Exited(0);
    children.end_start("x", true);
    children.admit(&spawn(), marks("a", 60), "c").unwrap();
}

#[test]
fn a_child_that_a_list_brought_before_its_answer_counts_once() {
    let mut children = Children::default();
    for id in ["x", "y", "z"] {
        let place = children.admit(&spawn(), marks("a", 0), "c").unwrap();
        let mut made = child(id, marks("a", 0), State::Exited(0));
        children.adopt(made.clone());
        made.marks.restarts = true;
        children.settle(place, Some(made));
        assert!(
            children.get(id).unwrap().marks.restarts,
            "what is known of it is not lost"
        );
        children.get_mut(id).unwrap().marks.restarts = false;
    }
    children.admit(&spawn(), marks("a", 0), "c").unwrap_err();
    children.remove("x");
    assert_eq!(children.totals["a"], 3);
}

#[test]
fn processes_that_nobody_starts_are_held_to_a_number() {
    let mut children = Children::default();
    for number in 0..WAITING {
        children.may_exec("x").unwrap();
        children.exec_waits("x", &number.to_string());
    }
    children.may_exec("x").unwrap_err();
    children.may_exec("y").unwrap();
    children.exec_started("x", "1");
    children.may_exec("x").unwrap();
}

#[test]
fn what_an_earlier_process_made_is_counted_again() {
    let mut children = Children::default();
    for id in ["x", "y", "z"] {
        children.adopt(child(id, marks("a", 0), State::Exited(0)));
    }
    assert!(children.admit(&spawn(), marks("a", 0), "c").is_err());
}

#[test]
fn a_grandchild_descends_from_both() {
    let mut children = Children::default();
    children.insert(child("x", marks("a", 0), State::Running));
    let mut below = marks("a", 0);
    below.parent = "x".to_owned();
    let below = child("y", below, State::Running);
    children.insert(below.clone());
    assert!(children.descends(&below, "x") && children.descends(&below, "instance"));
    assert!(!children.descends(children.get("x").unwrap(), "x"));
}

#[test]
fn the_oldest_that_ended_make_room_on_the_disk() {
    let mut children = Children::default();
    for (id, second, state) in [
        ("new", 3, State::Exited(0)),
        ("old", 1, State::Exited(0)),
        ("middle", 2, State::Exited(1)),
        ("running", 0, State::Running),
    ] {
        let ended = (state != State::Running).then(|| Timestamp::from_second(second).unwrap());
        let made = child(id, marks("a", 0), state);
        children.insert(Child {
            ended,
            disk: Some(10),
            ..made
        });
    }
    let function = "f".parse().unwrap();
    assert!(children.beyond(&function, 40).is_empty());
    assert_eq!(children.beyond(&function, 25), ["old", "middle"]);
    // What runs is held by its own bound.
    assert_eq!(children.beyond(&function, 0).len(), 3);
    assert!(children.beyond(&"other".parse().unwrap(), 0).is_empty());
}
