//! Callers who leave, a drain, and the end of everything.

use std::sync::atomic::Ordering;

use skep_model::ProblemCode;

use super::engine::Behaviour;
use super::functions::{exec, function, reused};
use super::{SECOND, code, dispatcher, work};
use crate::{Config, Fate};

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_gives_its_exec_launch_up() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    engine.behave(
        "command",
        Behaviour {
            start: SECOND,
            ..Behaviour::default()
        },
    );
    let command = function("command", exec);
    let waiting = dispatcher.acquire(&command, work(&command));
    assert!(tokio::time::timeout(SECOND / 2, waiting).await.is_err());
    dispatcher.drain().await;
    assert_eq!(engine.given_up.load(Ordering::SeqCst), 1);
    assert!(engine.made().is_empty());
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_work_refuses_new_and_leaves_nothing() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let hello = function("hello", reused);
    let lease = dispatcher.acquire(&hello, work(&hello)).await.expect("it starts");
    let draining = tokio::spawn({
        let dispatcher = dispatcher.clone();
        async move { dispatcher.drain().await }
    });
    tokio::time::sleep(SECOND * 100).await;
    assert!(!draining.is_finished());
    assert_eq!(
        code(dispatcher.acquire(&hello, work(&hello)).await),
        ProblemCode::Draining
    );
    assert!(!engine.made()[0].is_removed());
    lease.finish(Fate::Reusable);
    draining.await.expect("it ends");
    assert!(engine.made()[0].is_removed());
}

#[tokio::test(start_paused = true)]
async fn ending_everything_does_not_wait_for_work() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    engine.behave(
        "slow",
        Behaviour {
            ready: SECOND * 10,
            ..Behaviour::default()
        },
    );
    let (hello, slow) = (function("hello", reused), function("slow", |_| {}));
    let lease = dispatcher.acquire(&hello, work(&hello)).await.expect("it starts");
    let waiting = tokio::spawn({
        let dispatcher = dispatcher.clone();
        async move { dispatcher.acquire(&slow, work(&slow)).await }
    });
    tokio::time::sleep(SECOND).await;
    dispatcher.end_all().await;
    assert!(engine.made().iter().all(|fake| fake.is_removed()));
    assert_eq!(engine.made().len(), 2);
    assert_eq!(
        code(waiting.await.expect("it is answered")),
        ProblemCode::Draining
    );
    drop(lease);
}
