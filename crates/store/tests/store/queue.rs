//! The queue of asynchronous invocations: what is accepted is kept, given out once, and ends once.

use crate::support::{Fixture, accept, claim_one, ended, new_invocation, response};
use bytes::Bytes;
use skep_model::{EndingKind, InvocationId, ProblemCode, Status};
use skep_store::{Body, Config, Key, Store, StoreError};

#[tokio::test]
async fn an_accepted_invocation_is_claimed_with_everything_it_was_accepted_with() {
    let fixture = Fixture::new();
    let (new, _) = new_invocation("hello", Body::from(Bytes::from_static(b"the body")));
    fixture.store.accept(new.clone()).await.unwrap();
    let accepted = claim_one(&fixture.store, "hello").await;
    assert_eq!(
        (accepted.record.status, accepted.record.attempts),
        (Status::Running, 1)
    );
    let mut record = accepted.record.clone();
    (record.status, record.attempts) = (Status::Queued, 0);
    assert_eq!(record, new.record);
    assert_eq!(accepted.request.method, new.request.method);
    assert_eq!(accepted.request.path, new.request.path);
    assert_eq!(accepted.request.headers, new.request.headers);
    assert_eq!(accepted.request.context, new.request.context);
    assert_eq!(accepted.request.body.read_all().await.unwrap(), b"the body");
}

#[tokio::test]
async fn work_is_given_out_once_in_order_and_for_its_own_function_only() {
    let fixture = Fixture::new();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(accept(&fixture.store, "one", "").await.0);
        accept(&fixture.store, "two", "").await;
    }
    let first = fixture.store.claim("one", 3).await.unwrap();
    let rest = fixture.store.claim("one", 100).await.unwrap();
    let claimed: Vec<InvocationId> = first
        .iter()
        .chain(&rest)
        .map(|accepted| accepted.record.id)
        .collect();
    assert_eq!(claimed, ids);
    assert!(fixture.store.claim("one", 1).await.unwrap().is_empty());
    assert_eq!((fixture.store.queued("one"), fixture.store.queued("two")), (0, 5));
    let waiting = fixture.store.waiting();
    assert_eq!(
        (
            waiting[0].function.as_str(),
            waiting[0].queued,
            waiting[0].running
        ),
        ("one", 0, 5)
    );
    assert_eq!(
        (
            waiting[1].function.as_str(),
            waiting[1].queued,
            waiting[1].running
        ),
        ("two", 5, 0)
    );
}

#[tokio::test]
async fn a_released_invocation_keeps_its_place_and_its_attempt_does_not_count() {
    let fixture = Fixture::new();
    let (first, _) = accept(&fixture.store, "hello", "").await;
    accept(&fixture.store, "hello", "").await;
    let claimed = claim_one(&fixture.store, "hello").await;
    fixture.store.release(claimed.record.id).await.unwrap();
    let again = claim_one(&fixture.store, "hello").await;
    assert_eq!((again.record.id, again.record.attempts), (first, 1));
}

#[tokio::test]
async fn the_result_is_there_with_the_end_and_for_the_key_alone() {
    let fixture = Fixture::new();
    let (id, key) = accept(&fixture.store, "hello", "").await;
    assert_eq!(
        fixture.store.look(id, &key).await.unwrap().unwrap().status,
        Status::Queued
    );
    let claimed = claim_one(&fixture.store, "hello").await;
    let (record, none) = fixture.store.result(id, &key).await.unwrap().unwrap();
    assert_eq!((record.status, none.is_none()), (Status::Running, true));

    let end = ended(claimed.record, EndingKind::Completed);
    fixture
        .store
        .finish(
            end.clone(),
            Some(response(Body::from(Bytes::from_static(b"done")))),
        )
        .await
        .unwrap();
    let (record, stored) = fixture.store.result(id, &key).await.unwrap().unwrap();
    assert_eq!(record, end);
    let stored = stored.unwrap();
    assert_eq!(
        (stored.status.as_u16(), stored.headers["content-type"].as_bytes()),
        (201, &b"text/plain"[..])
    );
    assert_eq!(stored.body.read_all().await.unwrap(), b"done");

    assert!(fixture.store.look(id, &Key::generate()).await.unwrap().is_none());
    assert!(
        fixture
            .store
            .result(id, &Key::generate())
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        fixture
            .store
            .look(InvocationId::generate(), &key)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn an_end_stands_and_another_changes_nothing() {
    let fixture = Fixture::new();
    let (id, key) = accept(&fixture.store, "hello", "").await;
    let claimed = claim_one(&fixture.store, "hello").await;
    fixture
        .store
        .finish(ended(claimed.record.clone(), EndingKind::Completed), None)
        .await
        .unwrap();
    fixture
        .store
        .finish(ended(claimed.record, EndingKind::ExitCode), None)
        .await
        .unwrap();
    fixture.store.release(id).await.unwrap();
    assert_eq!(
        fixture.store.look(id, &key).await.unwrap().unwrap().status,
        Status::Succeeded
    );
    assert!(fixture.store.waiting().is_empty());
    let unknown = ended(
        crate::support::record("hello", skep_model::Trigger::Async),
        EndingKind::Completed,
    );
    assert!(matches!(
        fixture.store.finish(unknown, None).await,
        Err(StoreError::Unknown(_))
    ));
}

#[tokio::test]
async fn after_a_restart_only_what_has_no_end_is_given_out_again() {
    let mut fixture = Fixture::new();
    let (ended_id, key) = accept(&fixture.store, "hello", "").await;
    let (running, _) = accept(&fixture.store, "hello", "again").await;
    let (queued, _) = accept(&fixture.store, "hello", "").await;
    let claimed = fixture.store.claim("hello", 2).await.unwrap();
    let end = ended(claimed[0].record.clone(), EndingKind::ExitCode);
    fixture
        .store
        .finish(end, Some(response(Body::empty())))
        .await
        .unwrap();
    fixture.reopen().await;
    assert_eq!(fixture.store.queued("hello"), 2);
    let claimed = fixture.store.claim("hello", 10).await.unwrap();
    assert_eq!((claimed[0].record.id, claimed[0].record.attempts), (running, 2));
    assert_eq!((claimed[1].record.id, claimed[1].record.attempts), (queued, 1));
    assert_eq!(claimed[0].request.body.read_all().await.unwrap(), b"again");
    let (record, stored) = fixture.store.result(ended_id, &key).await.unwrap().unwrap();
    assert_eq!((record.status, stored.is_some()), (Status::Failed, true));
}

#[tokio::test]
async fn a_full_backlog_refuses_and_takes_more_when_there_is_room() {
    let fixture = Fixture::new();
    for expected in [true, true, false] {
        let (mut new, _) = new_invocation("hello", Body::empty());
        new.backlog = 2;
        let accepted = fixture.store.accept(new).await;
        assert_eq!(accepted.is_ok(), expected);
        if let Err(error) = accepted {
            assert_eq!(error.problem().code, ProblemCode::BacklogFull);
        }
    }
    claim_one(&fixture.store, "hello").await;
    let (mut new, _) = new_invocation("hello", Body::empty());
    new.backlog = 2;
    fixture.store.accept(new).await.unwrap();
}

#[tokio::test]
async fn large_bodies_are_files_for_as_long_as_they_are_needed() {
    let mut fixture = Fixture::new();
    let large = vec![7; 300_000];
    let mut writer = fixture.store.request_body();
    for piece in large.chunks(10_000) {
        writer.write(piece).await.unwrap();
    }
    let (new, key) = new_invocation("hello", writer.finish().await.unwrap());
    let id = new.record.id;
    fixture.store.accept(new).await.unwrap();
    assert_eq!(fixture.spilled(), 1);
    fixture.reopen().await;
    let claimed = claim_one(&fixture.store, "hello").await;
    assert_eq!(claimed.request.body.length(), 300_000);
    assert_eq!(claimed.request.body.read_all().await.unwrap(), large);

    let mut writer = fixture.store.response_body();
    writer.write(&large).await.unwrap();
    let stored = response(writer.finish().await.unwrap());
    fixture
        .store
        .finish(ended(claimed.record, EndingKind::Completed), Some(stored))
        .await
        .unwrap();
    assert_eq!(
        fixture.spilled(),
        1,
        "the response's file is there, the request's is gone"
    );
    let (_, stored) = fixture.store.result(id, &key).await.unwrap().unwrap();
    assert_eq!(stored.unwrap().body.read_all().await.unwrap(), large);
}

#[tokio::test]
async fn a_body_that_is_not_stored_leaves_no_file_behind() {
    let fixture = Fixture::with(|config| config.max_request_body = 200_000);
    let mut writer = fixture.store.request_body();
    writer.write(&[0; 150_000]).await.unwrap();
    assert_eq!(fixture.spilled(), 1);
    let error = writer.write(&[0; 50_001]).await.unwrap_err();
    assert_eq!(error.problem().code, ProblemCode::BodyTooLarge);
    drop(writer);
    assert_eq!(fixture.spilled(), 0);

    let mut writer = fixture.store.request_body();
    writer.write(&[0; 150_000]).await.unwrap();
    let (mut new, _) = new_invocation("hello", writer.finish().await.unwrap());
    new.backlog = 0;
    fixture.store.accept(new).await.unwrap_err();
    assert_eq!(fixture.spilled(), 0);
}

#[tokio::test]
async fn bodies_that_no_row_names_are_removed_at_start() {
    let mut fixture = Fixture::new();
    fixture.store.close().await;
    std::fs::write(
        fixture.directory.path().join("bodies/0123"),
        "written before a crash",
    )
    .unwrap();
    fixture.reopen().await;
    assert_eq!(fixture.spilled(), 0);
}

#[tokio::test]
async fn claimed_work_whose_claimer_went_away_waits_again() {
    let fixture = Fixture::new();
    accept(&fixture.store, "hello", "").await;
    let mut work = fixture.store.work();
    work.borrow_and_update();
    {
        let claim = fixture.store.claim("hello", 1);
        tokio::pin!(claim);
        // Polled once, so that the writer has it, and dropped before its answer.
        assert!(futures::poll!(&mut claim).is_pending());
    }
    work.changed().await.unwrap();
    assert_eq!(claim_one(&fixture.store, "hello").await.record.attempts, 1);
}

#[tokio::test]
async fn work_of_a_removed_function_ends_with_that_reason() {
    let mut fixture = Fixture::new();
    let (id, key) = accept(&fixture.store, "gone", "").await;
    let since = crate::support::now();
    fixture.store.set_absent("gone", Some(since)).await.unwrap();
    fixture
        .store
        .set_absent("gone", Some(crate::support::now()))
        .await
        .unwrap();
    fixture.reopen().await;
    assert_eq!(
        fixture.store.waiting()[0].absent_since,
        Some(since),
        "the first time stands, over restarts too"
    );
    assert_eq!(
        fixture
            .store
            .fail_removed("gone", crate::support::now(), 10)
            .await
            .unwrap(),
        1
    );
    let record = fixture.store.look(id, &key).await.unwrap().unwrap();
    assert_eq!(record.status, Status::Failed);
    assert_eq!(record.ending.unwrap().problem, Some(ProblemCode::FunctionRemoved));
    fixture.store.set_absent("gone", None).await.unwrap();
    assert!(fixture.store.waiting().is_empty());
}

#[tokio::test]
async fn a_second_store_in_the_same_directory_is_refused_and_told_who_has_it() {
    let fixture = Fixture::new();
    let error = Store::open(Config::in_directory(fixture.directory.path())).unwrap_err();
    let StoreError::Locked { process, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*process, Some(std::process::id()));
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", std::process::id())),
        "{error}"
    );
}

#[tokio::test]
async fn one_key_can_not_be_accepted_twice_and_the_others_in_the_group_are_not_harmed() {
    let fixture = Fixture::new();
    let (new, _) = new_invocation("hello", Body::empty());
    let (other, _) = new_invocation("hello", Body::empty());
    let store = &fixture.store;
    let (first, again, third) =
        tokio::join!(store.accept(new.clone()), store.accept(new), store.accept(other));
    first.unwrap();
    again.unwrap_err();
    third.unwrap();
    assert_eq!(fixture.store.queued("hello"), 2);
    assert_eq!(fixture.store.claim("hello", 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_asked_of_a_closed_store_fails() {
    let fixture = Fixture::new();
    fixture.store.close().await;
    let (new, key) = new_invocation("hello", Body::empty());
    let id = new.record.id;
    assert!(matches!(fixture.store.accept(new).await, Err(StoreError::Closed)));
    assert!(matches!(
        fixture.store.look(id, &key).await,
        Err(StoreError::Closed)
    ));
}
