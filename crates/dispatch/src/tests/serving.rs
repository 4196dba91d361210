//! Which instance a caller gets, and with what in hand.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::engine::Behaviour;
use super::functions::{exec, function, reused};
use super::{SECOND, dispatcher, work};
use crate::{Config, Fate, State};

#[tokio::test(start_paused = true)]
async fn a_spare_answers_at_once_and_hands_no_connection_over() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    engine.behave(
        "hello",
        Behaviour {
            start: SECOND,
            ..Behaviour::default()
        },
    );
    let hello = function("hello", |function| function.settings.spares = 1);
    dispatcher.set_functions(vec![Arc::clone(&hello)]);
    while !dispatcher
        .snapshot()
        .instances
        .iter()
        .any(|instance| instance.state == State::Spare)
    {
        tokio::time::advance(Duration::from_millis(10)).await;
        tokio::task::yield_now().await;
    }
    let mut lease = dispatcher
        .acquire(&hello, work(&hello))
        .await
        .expect("it is there");
    assert_eq!(lease.phases().queue, Some(Duration::ZERO));
    assert_eq!(lease.phases().start, None);
    assert!(lease.take_connection().is_none());
}

#[tokio::test(start_paused = true)]
async fn exec_work_has_pipes_of_its_own() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let command = function("command", exec);
    let mut lease = dispatcher
        .acquire(&command, work(&command))
        .await
        .expect("it starts");
    assert!(lease.take_pipes().is_some());
    drop(lease);
    engine.made()[0].removed().await;
}

#[tokio::test(start_paused = true)]
async fn a_reused_instance_keeps_its_attachments_is_frozen_thawed_and_at_last_stopped() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let hello = function("hello", reused);
    let lease = dispatcher.acquire(&hello, work(&hello)).await.expect("it starts");
    let attached = lease.attachment::<std::sync::Mutex<u32>>();
    *attached.lock().expect("it is this test's") = 7;
    lease.finish(Fate::Reusable);
    drop(attached);
    let fake = Arc::clone(&engine.made()[0]);
    tokio::time::sleep(SECOND * 3).await;
    assert_eq!(fake.frozen.load(Ordering::SeqCst), 1);
    let lease = dispatcher
        .acquire(&hello, work(&hello))
        .await
        .expect("it is there");
    assert!(lease.reused());
    assert_eq!(fake.frozen.load(Ordering::SeqCst), 0);
    assert_eq!(
        *lease
            .attachment::<std::sync::Mutex<u32>>()
            .lock()
            .expect("it is this test's"),
        7
    );
    lease.finish(Fate::Reusable);
    tokio::time::sleep(SECOND * 61).await;
    fake.removed().await;
    assert_eq!(
        fake.stopped.load(Ordering::SeqCst),
        1,
        "its stop signal and its grace come first"
    );
    assert_eq!(engine.made().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_spare_that_ended_is_not_given_to_anybody() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let hello = function("hello", |function| function.settings.spares = 1);
    dispatcher.set_functions(vec![Arc::clone(&hello)]);
    let lease = dispatcher.acquire(&hello, work(&hello)).await.expect("it starts");
    lease.finish(Fate::Reusable);
    tokio::time::sleep(SECOND).await;
    let spare = engine
        .made()
        .into_iter()
        .find(|fake| !fake.is_removed())
        .expect("it was replaced");
    spare.exit(0);
    spare.removed().await;
    let lease = dispatcher
        .acquire(&hello, work(&hello))
        .await
        .expect("another one starts");
    assert_ne!(lease.instance().id(), skep_engine::Instance::id(&*spare));
}
