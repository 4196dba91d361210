//! Running what was accepted: to its end, within bounds, again after a refusal or a crash.

use std::collections::HashSet;
use std::time::Duration;

use skep_backlog::Config;
use skep_model::{EndingKind, ProblemCode, Status};
use skep_store::Store;
use tokio::time::Instant;

use crate::support::{Act, Fixture, accept, config, function};

#[tokio::test(start_paused = true)]
async fn accepted_work_runs_and_its_result_is_stored() {
    let mut fixture = Fixture::new(&[function("hello", 64)], &[]).await;
    let (id, key) = accept(&fixture.store, "hello").await;
    let record = fixture.end_of(id).await;
    assert_eq!((record.status, record.attempts), (Status::Succeeded, 1));
    let (_, response) = fixture.store.result(id, &key).await.unwrap().unwrap();
    assert_eq!(response.unwrap().body.read_all().await.unwrap(), b"the result");
    fixture.drained().await;
    assert!(fixture.store.waiting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_failed_is_an_end_and_is_not_repeated() {
    let mut fixture = Fixture::new(&[function("hello", 64)], &[("hello", &[Act::Fail, Act::Succeed])]).await;
    let (id, _) = accept(&fixture.store, "hello").await;
    let record = fixture.end_of(id).await;
    assert_eq!((record.status, record.attempts), (Status::Failed, 1));
    assert_eq!(record.ending.unwrap().kind, EndingKind::ExitCode);
    fixture.drained().await;
    assert!(fixture.store.waiting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fault_in_the_runner_ends_that_run_and_no_other() {
    let fixture = Fixture::new(
        &[function("hello", 64)],
        &[("hello", &[Act::Panic, Act::Succeed])],
    )
    .await;
    let (first, _) = accept(&fixture.store, "hello").await;
    let record = fixture.end_of(first).await;
    assert_eq!(record.ending.unwrap().problem, Some(ProblemCode::Internal));
    let (second, _) = accept(&fixture.store, "hello").await;
    assert_eq!(fixture.end_of(second).await.status, Status::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_begun_is_tried_again_without_counting() {
    for refusal in [
        ProblemCode::QueueFull,
        ProblemCode::QueueTimeout,
        ProblemCode::NodeFull,
        ProblemCode::Draining,
        ProblemCode::EngineUnavailable,
        ProblemCode::StorageUnavailable,
    ] {
        let acts = [Act::Refuse(refusal), Act::Refuse(refusal), Act::Succeed];
        let fixture = Fixture::new(&[function("hello", 64)], &[("hello", &acts)]).await;
        let began = Instant::now();
        let (id, _) = accept(&fixture.store, "hello").await;
        let record = fixture.end_of(id).await;
        assert_eq!(
            (record.status, record.attempts),
            (Status::Succeeded, 1),
            "{refusal:?}"
        );
        assert!(
            began.elapsed() >= Duration::from_millis(150),
            "it paused between the tries"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn work_whose_node_was_lost_is_run_again_and_the_attempts_count() {
    let acts = [Act::Refuse(ProblemCode::NodeLost), Act::Succeed];
    let fixture = Fixture::new(&[function("hello", 64)], &[("hello", &acts)]).await;
    let (id, _) = accept(&fixture.store, "hello").await;
    let record = fixture.end_of(id).await;
    assert_eq!((record.status, record.attempts), (Status::Succeeded, 2));
}

#[tokio::test(start_paused = true)]
async fn work_that_loses_every_node_ends_after_some() {
    let acts = [Act::Refuse(ProblemCode::NodeLost)];
    let fixture = Fixture::new(&[function("hello", 64)], &[("hello", &acts)]).await;
    let (id, _) = accept(&fixture.store, "hello").await;
    let record = fixture.end_of(id).await;
    assert_eq!(record.ending.unwrap().problem, Some(ProblemCode::NodeLost));
    assert_eq!(record.attempts, 5);
}

#[tokio::test(start_paused = true)]
async fn a_template_that_can_not_be_started_is_an_end() {
    let acts = [Act::Refuse(ProblemCode::StartFailed)];
    let fixture = Fixture::new(&[function("hello", 64)], &[("hello", &acts)]).await;
    let (id, _) = accept(&fixture.store, "hello").await;
    assert_eq!(
        fixture.end_of(id).await.ending.unwrap().problem,
        Some(ProblemCode::StartFailed)
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_run_at_once_than_the_function_allows() {
    let mut fixture = Fixture::new(&[function("hello", 2)], &[("hello", &[Act::Wait])]).await;
    for _ in 0..5 {
        accept(&fixture.store, "hello").await;
    }
    let mut ids = HashSet::new();
    for ended in 0..5 {
        // Two at once for as long as there are two; each end lets the next one in.
        while ids.len() < (ended + 2).min(5) {
            ids.insert(fixture.next().await.0.record.id);
        }
        let waiting = fixture.store.waiting();
        assert_eq!(
            (waiting[0].running, waiting[0].queued),
            (2.min(5 - ended as u64), (3_u64).saturating_sub(ended as u64))
        );
        assert!(fixture.began.try_recv().is_err(), "no third one began");
        fixture.runner.gate.notify_one();
        let left = 5 - ended as u64 - 1;
        fixture
            .until(|store| {
                store
                    .waiting()
                    .first()
                    .is_none_or(|work| work.queued + work.running == left)
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_run_at_once_as_the_functions_instances_take() {
    let mut wide = function("wide", 2);
    wide.settings.concurrency = 3;
    let mut fixture = Fixture::new(&[wide], &[("wide", &[Act::Wait])]).await;
    for _ in 0..7 {
        accept(&fixture.store, "wide").await;
    }
    for _ in 0..6 {
        fixture.began.recv().await.unwrap();
    }
    assert_eq!(fixture.store.waiting()[0].queued, 1, "the seventh waits");
    fixture.runner.gate.notify_waiters();
}

#[tokio::test(start_paused = true)]
async fn functions_share_the_node_in_turns() {
    let small = Config {
        at_once: 2,
        ..config()
    };
    let functions = [function("busy", 64), function("other", 64)];
    let acts: [(&str, &[Act]); 2] = [("busy", &[Act::Wait]), ("other", &[Act::Wait])];
    let mut fixture = Fixture::with(small, &functions, &acts, async |store: &Store| {
        for _ in 0..50 {
            accept(store, "busy").await;
        }
        accept(store, "other").await;
    })
    .await;
    let names: HashSet<String> = [fixture.next().await, fixture.next().await]
        .into_iter()
        .map(|(accepted, _)| accepted.record.function)
        .collect();
    assert_eq!(names, HashSet::from(["busy".to_owned(), "other".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn draining_lets_running_work_end_and_claims_no_more() {
    let mut fixture = Fixture::new(&[function("hello", 1)], &[("hello", &[Act::Wait])]).await;
    let (first, key) = accept(&fixture.store, "hello").await;
    accept(&fixture.store, "hello").await;
    assert_eq!(fixture.next().await.0.record.id, first);
    fixture.drain.cancel();
    fixture.runner.gate.notify_one();
    fixture.task.await.unwrap();
    assert_eq!(
        fixture.store.look(first, &key).await.unwrap().unwrap().status,
        Status::Succeeded
    );
    let waiting = fixture.store.waiting();
    assert_eq!((waiting[0].queued, waiting[0].running), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_ran_when_the_process_ended_is_repeated_and_the_attempt_counts() {
    let mut fixture = Fixture::new(&[function("hello", 1)], &[("hello", &[Act::Wait])]).await;
    let (id, _) = accept(&fixture.store, "hello").await;
    fixture.next().await;
    fixture.task.abort();
    assert!(fixture.task.await.unwrap_err().is_cancelled());
    fixture.store.close().await;
    let store = Store::open(skep_store::Config::in_directory(fixture.directory.path())).unwrap();
    let claimed = store.claim("hello", 1).await.unwrap();
    assert_eq!((claimed[0].record.id, claimed[0].record.attempts), (id, 2));
}

#[tokio::test(start_paused = true)]
async fn queued_work_runs_on_the_revision_in_force_when_it_is_claimed() {
    let acts: [(&str, &[Act]); 1] = [("hello", &[Act::Wait])];
    let mut fixture = Fixture::new(&[function("hello", 1)], &acts).await;
    accept(&fixture.store, "hello").await;
    accept(&fixture.store, "hello").await;
    let (_, first) = fixture.next().await;
    let mut newer = function("hello", 1);
    newer.revision = skep_model::Revision::of(b"newer");
    fixture
        .catalogue
        .send_replace(crate::support::catalogue(std::slice::from_ref(&newer)));
    fixture.runner.gate.notify_one();
    let (_, second) = fixture.next().await;
    assert_ne!(first.revision, second.revision);
    assert_eq!(second.revision, newer.revision);
}
