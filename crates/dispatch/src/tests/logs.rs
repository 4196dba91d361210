//! Whose a line is.

use std::sync::Arc;
use std::time::Duration;

use super::engine::Behaviour;
use super::functions::{exec, function, reused};
use super::{dispatcher, work};
use crate::{Config, Fate};

#[tokio::test(start_paused = true)]
async fn everything_a_fresh_instance_writes_is_its_only_invocations() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    engine.behave(
        "hello",
        Behaviour {
            says: vec!["boots".into()],
            ..Behaviour::default()
        },
    );
    let hello = function("hello", |function| function.settings.spares = 1);
    dispatcher.set_functions(vec![Arc::clone(&hello)]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(engine.logged().is_empty(), "nobody's yet");
    let asked = work(&hello);
    let lease = dispatcher
        .acquire(&hello, asked.clone())
        .await
        .expect("it is there");
    engine.made()[0].say("works").await;
    lease.finish(Fate::Reusable);
    // The spare that took its place is never used.
    tokio::time::sleep(Duration::from_secs(1)).await;
    dispatcher.drain().await;
    let mut logged = engine.logged();
    logged.sort();
    let invocation = Some(asked.invocation);
    assert_eq!(
        logged[..3],
        [
            ("boots".into(), None),
            ("boots".into(), invocation),
            ("works".into(), invocation)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_command_writes_is_its_invocations_also_where_it_ended_before_its_caller_heard_of_it() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let behaviour = Behaviour {
        says: vec!["the first and last".into()],
        exits: Some((Duration::ZERO, 3)),
        ..Behaviour::default()
    };
    engine.behave("brief", behaviour);
    let brief = function("brief", exec);
    let asked = work(&brief);
    let lease = dispatcher
        .acquire(&brief, asked.clone())
        .await
        .expect("it was made");
    lease.finish(Fate::Spent);
    dispatcher.drain().await;
    assert_eq!(
        engine.logged(),
        [("the first and last".to_owned(), Some(asked.invocation))]
    );
}

#[tokio::test(start_paused = true)]
async fn the_lines_of_a_fresh_instance_that_nobody_got_are_logged_as_nobodys() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let behaviour = Behaviour {
        says: vec!["no config".into()],
        exits: Some((Duration::ZERO, 3)),
        deaf: true,
        ..Behaviour::default()
    };
    engine.behave("broken", behaviour);
    let broken = function("broken", |_| {});
    let refused = dispatcher.acquire(&broken, work(&broken)).await;
    assert!(refused.is_err(), "it ended before it was ready");
    dispatcher.drain().await;
    let logged = engine.logged();
    assert!(logged.contains(&("no config".to_owned(), None)), "{logged:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reused_instances_line_is_an_invocations_only_where_that_is_alone() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let hello = function("hello", |function| {
        reused(function);
        function.settings.concurrency = 2;
    });
    let (first, second) = (work(&hello), work(&hello));
    let lease = dispatcher
        .acquire(&hello, first.clone())
        .await
        .expect("it starts");
    let fake = Arc::clone(&engine.made()[0]);
    fake.say("one").await;
    let other = dispatcher
        .acquire(&hello, second.clone())
        .await
        .expect("it has room");
    fake.say("two").await;
    lease.finish(Fate::Reusable);
    fake.say("three").await;
    other.finish(Fate::Reusable);
    fake.say("four").await;
    dispatcher.drain().await;
    let expected = [
        ("one".to_owned(), Some(first.invocation)),
        ("two".to_owned(), None),
        ("three".to_owned(), Some(second.invocation)),
        ("four".to_owned(), None),
    ];
    assert_eq!(engine.logged(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_drained_cut_and_counted() {
    let (dispatcher, engine) = dispatcher(Config {
        log_limit: 100,
        ..Config::new(100)
    });
    let hello = function("hello", |_| {});
    let lease = dispatcher.acquire(&hello, work(&hello)).await.expect("it starts");
    for _ in 0..1000 {
        engine.made()[0].say("0123456789").await;
    }
    lease.finish(Fate::Reusable);
    dispatcher.drain().await;
    let logged = engine.logged();
    assert_eq!(logged.len(), 11);
    assert_eq!(
        logged[10].0,
        "990 more lines (9900 bytes) were dropped: 100 bytes of log are kept"
    );
}
