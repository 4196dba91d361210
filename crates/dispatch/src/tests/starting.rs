//! What a launch says: where the time went, and why it failed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use skep_model::{Function, LogStream, ProblemCode, Ready};

use super::engine::Behaviour;
use super::functions::{exec, function, reused};
use super::{SECOND, code, dispatcher, work};
use crate::{Config, Fate};

#[tokio::test(start_paused = true)]
async fn a_cold_start_explains_itself() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    engine.behave(
        "hello",
        Behaviour {
            start: SECOND,
            ready: SECOND,
            ..Behaviour::default()
        },
    );
    let hello = function("hello", |_| {});
    let mut lease = dispatcher.acquire(&hello, work(&hello)).await.expect("it starts");
    let phases = lease.phases();
    assert_eq!((phases.queue, phases.start), (Some(Duration::ZERO), Some(SECOND)));
    assert!(
        phases
            .ready
            .is_some_and(|ready| ready >= SECOND && ready < SECOND * 2),
        "{phases:?}"
    );
    assert!(!lease.reused());
    assert!(
        lease.take_connection().is_some(),
        "the first request goes over the connection that is there"
    );
    lease.finish(Fate::Reusable);
    let made = engine.made();
    made[0].removed().await;
    assert_eq!(made.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_launch_that_fails_says_so_and_leaves_nothing() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    engine.behave(
        "broken",
        Behaviour {
            fails: true,
            ..Behaviour::default()
        },
    );
    let broken = function("broken", |_| {});
    let refusal = dispatcher
        .acquire(&broken, work(&broken))
        .await
        .expect_err("it can't start");
    assert_eq!(refusal.problem.code, ProblemCode::StartFailed);
    assert_eq!(refusal.problem.internal.as_deref(), Some("no such command"));
    assert_eq!(
        refusal.problem.detail, None,
        "the daemon's words are the operator's"
    );
    assert_eq!(dispatcher.snapshot().memory_used, 0);
    let log = engine.log.lock().expect("no test panics with it");
    let told = log
        .iter()
        .any(|entry| entry.line.stream == LogStream::Skep && entry.line.text == b"no such command");
    assert!(told, "the function's log says why");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_ends_before_it_is_ready_says_with_which_words() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let says = vec!["no config".to_owned()];
    let behaviour = Behaviour {
        deaf: true,
        exits: Some((SECOND, 3)),
        says,
        ..Behaviour::default()
    };
    engine.behave("broken", behaviour);
    let broken = function("broken", |_| {});
    let refusal = dispatcher
        .acquire(&broken, work(&broken))
        .await
        .expect_err("it ended");
    assert_eq!(refusal.problem.code, ProblemCode::InstanceExited);
    let internal = refusal.problem.internal.expect("the operator is told");
    assert!(
        internal.contains("exit code 3") && internal.contains("no config"),
        "{internal}"
    );
    assert_eq!(
        refusal.problem.exit_code,
        Some(3),
        "the record has it as a number"
    );
    engine.made()[0].removed().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_was_taken_for_a_server_is_told_which_label_is_missing() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let behaviour = Behaviour {
        deaf: true,
        exits: Some((SECOND, 0)),
        ..Behaviour::default()
    };
    engine.behave("hello", behaviour);
    let hello = function("hello", |_| {});
    let refusal = dispatcher
        .acquire(&hello, work(&hello))
        .await
        .expect_err("it ended");
    let told = refusal.problem.detail.expect("the caller is told");
    assert!(told.contains("skep.handler=exec"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_listens_elsewhere_is_told_which_label_to_set() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let at_once = Ready::Connect;
    let cases = [
        ("0.0.0.0:3000", at_once.clone(), "skep.port=3000", 1..3),
        ("127.0.0.1:5000", at_once.clone(), "skep.port=5000", 1..3),
        // A debugger that waits for its program; a template that says itself what "ready" is.
        ("127.0.0.1:9229", at_once.clone(), "skep.port=9229", 14..18),
        (
            "0.0.0.0:3000",
            Ready::Path("/up".into()),
            "skep.port=3000",
            14..18,
        ),
        (
            "127.0.0.1:8080",
            at_once.clone(),
            "have it listen on 0.0.0.0:8080",
            1..3,
        ),
        (
            "[::1]:8080",
            at_once.clone(),
            "have it listen on 0.0.0.0:8080",
            1..3,
        ),
        // For IPv6 alone, or on another network than Skep's: its connections are refused.
        ("[::]:8080", at_once.clone(), "over IPv6 alone", 1..3),
        ("172.30.0.2:8080", at_once, "have it listen on 0.0.0.0:8080", 1..3),
    ];
    for (number, (address, ready, told, after)) in cases.into_iter().enumerate() {
        let name = format!("deaf-{number}");
        let listeners = vec![address.parse().expect("an address")];
        engine.behave(
            &name,
            Behaviour {
                deaf: true,
                listeners,
                ..Behaviour::default()
            },
        );
        let deaf = function(&name, |function| function.settings.ready = ready);
        let began = tokio::time::Instant::now();
        let refusal = dispatcher
            .acquire(&deaf, work(&deaf))
            .await
            .expect_err("it listens elsewhere");
        assert_eq!(refusal.problem.code, ProblemCode::ListensElsewhere);
        let detail = refusal.problem.detail.expect("the caller is told");
        assert!(detail.contains(told), "{detail}");
        assert!(
            after.contains(&began.elapsed().as_secs()),
            "{address}: {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_only_starts_slowly_has_all_of_its_time() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let behaviour = Behaviour {
        ready: SECOND * 25,
        ..Behaviour::default()
    };
    engine.behave("slow", behaviour);
    let slow = function("slow", |_| {});
    dispatcher
        .acquire(&slow, work(&slow))
        .await
        .expect("it is waited for");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stalls_is_told_within_the_functions_own_time() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let behaviour = Behaviour {
        start: SECOND * 1000,
        ..Behaviour::default()
    };
    for (seconds, told) in [(1, 5), (5, 5), (30, 30), (3600, 60)] {
        for (kind, handler) in [("exec", exec as fn(&mut Function)), ("http", reused)] {
            let name = format!("{kind}-{seconds}");
            engine.behave(&name, behaviour.clone());
            let stalled = function(&name, |function| {
                handler(function);
                function.settings.timeout = SECOND * seconds;
            });
            let began = tokio::time::Instant::now();
            let refused = dispatcher.acquire(&stalled, work(&stalled)).await;
            assert_eq!(code(refused), ProblemCode::EngineUnavailable);
            assert_eq!(began.elapsed().as_secs(), told);
        }
    }
    assert_eq!(
        engine.given_up.load(Ordering::SeqCst),
        8,
        "each launch was given up"
    );
    assert_eq!(dispatcher.snapshot().memory_used, 0);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_never_listens_is_given_up_after_the_timeout() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    engine.behave(
        "deaf",
        Behaviour {
            deaf: true,
            ..Behaviour::default()
        },
    );
    let deaf = function("deaf", |_| {});
    let began = tokio::time::Instant::now();
    let refusal = dispatcher
        .acquire(&deaf, work(&deaf))
        .await
        .expect_err("it is deaf");
    assert_eq!(refusal.problem.code, ProblemCode::NotReady);
    let reason = refusal.problem.internal.expect("its author is told");
    assert!(reason.ends_with("; it wrote nothing"), "{reason}");
    assert_eq!(began.elapsed().as_secs(), 30);
    engine.made()[0].removed().await;
}
