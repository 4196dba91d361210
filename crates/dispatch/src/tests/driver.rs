//! What callers see.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use skep_engine::Stdio;
use skep_model::{Function, InvocationId, LogStream, ProblemCode, Ready};

use super::engine::{Behaviour, FakeEngine};
use super::functions::{exec, function, reused};
use crate::{Config, Dispatcher, Fate, Refusal, State, Work};

pub(super) fn dispatcher(config: Config) -> (Dispatcher, Arc<FakeEngine>) {
    let engine = Arc::new(FakeEngine::default());
    let journal = Arc::clone(&engine);
    (Dispatcher::new(config, Arc::clone(&engine) as _, journal), engine)
}

pub(super) fn work(function: &Function) -> Work {
    Work {
        invocation: InvocationId::generate(),
        environment: vec![("A".into(), "b".into())],
        stdio: crate::pool::stdio(function),
        background: false,
    }
}

fn code(refusal: Result<crate::Lease, Refusal>) -> ProblemCode {
    refusal.expect_err("there is nothing to have").problem.code
}

const SECOND: Duration = Duration::from_secs(1);

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
        exits: Some(SECOND),
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
        ("[::1]:8080", at_once, "have it listen on 0.0.0.0:8080", 1..3),
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

#[tokio::test(start_paused = true)]
async fn invocations_are_known_by_their_instances_address() {
    let (dispatcher, _engine) = dispatcher(Config::new(100));
    let hello = function("hello", |_| {});
    let asked = work(&hello);
    let lease = dispatcher
        .acquire(&hello, asked.clone())
        .await
        .expect("it starts");
    let address = lease.instance().addresses()[0];
    assert_eq!(dispatcher.invocations_at(address), [asked.invocation]);
    drop(lease);
    assert!(dispatcher.invocations_at(address).is_empty());
    assert_eq!(asked.stdio, Stdio::Log);
}

#[tokio::test(start_paused = true)]
async fn who_calls_before_its_launch_has_returned_is_waited_for_and_then_known() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let behaviour = Behaviour {
        start: SECOND,
        ..Behaviour::default()
    };
    engine.behave("command", behaviour);
    let command = function("command", exec);
    let asked = work(&command);
    let (invocation, address) = (asked.invocation, [10, 0, 0, 1].into());
    let early = async {
        tokio::task::yield_now().await;
        assert!(dispatcher.invocations_at(address).is_empty(), "nobody knows yet");
        dispatcher.launched(|_, other| other != Some(invocation)).await;
        assert!(
            dispatcher.invocations_at(address).is_empty(),
            "it was not asked for"
        );
        dispatcher.launched(|_, other| other == Some(invocation)).await;
        dispatcher.invocations_at(address)
    };
    let (lease, known) = tokio::join!(dispatcher.acquire(&command, asked), early);
    assert_eq!(known, [invocation]);
    drop(lease);
    dispatcher.launched(|_, _| true).await;
}

#[tokio::test(start_paused = true)]
async fn metrics_show_instances_queues_and_totals() {
    let (dispatcher, _engine) = dispatcher(Config::new(100));
    let hello = function("hello", |_| {});
    let _lease = dispatcher.acquire(&hello, work(&hello)).await.expect("it starts");
    let mut registry = prometheus_client::registry::Registry::default();
    crate::metrics::register(&mut registry, &dispatcher);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("text can be written");
    for line in [
        r#"skep_instances{function="hello",state="busy"} 1"#,
        r#"skep_queue_depth{function="hello",class="foreground"} 0"#,
        "skep_memory_promised_bytes 1",
        "skep_launches_total 1",
        r#"skep_grants_total{kind="cold"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
