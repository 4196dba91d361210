//! What holds of every queue.

use bytes::Bytes;
use skep_model::{EndingKind, InvocationId, ProblemCode, Status, Trigger};
use skep_store::{Body, Key, StoreError};

use crate::world::{World, accept, claim_one, ended, eventually, new_invocation, now, record, response};

/// Each behaviour is a test of either queue.
macro_rules! of_both {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name(super::World::sqlite().await).await; })*
        }
        mod nats {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() {
                super::$name(super::World::nats().await).await;
            })*
        }
    };
}

of_both! {
    an_accepted_invocation_is_claimed_with_everything_it_was_accepted_with
    work_is_given_out_once_in_order_and_for_its_own_function_only
    a_released_invocation_keeps_its_place_and_its_attempt_does_not_count
    the_result_is_there_with_the_end_and_for_the_key_alone
    an_end_stands_and_another_changes_nothing
    after_a_restart_only_what_has_no_end_is_given_out_again
    a_full_backlog_refuses_and_takes_more_when_there_is_room
    large_bodies_are_kept_whole
    a_body_that_is_too_large_is_refused_while_it_arrives
    what_waits_for_a_removed_function_can_be_ended
    since_when_a_function_is_gone_is_known_after_a_restart
    whoever_waits_for_work_is_told_of_it
    an_id_is_accepted_once
    what_is_repeated_keeps_its_place_and_its_attempts
}

async fn an_accepted_invocation_is_claimed_with_everything_it_was_accepted_with(world: World) {
    let queue = world.queue();
    let (new, _) = new_invocation("hello", Body::from(Bytes::from_static(b"the\nbody\0")));
    queue.accept(new.clone()).await.unwrap();
    let accepted = claim_one(&*queue, "hello").await;
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
    assert_eq!(accepted.request.body.read_all().await.unwrap(), b"the\nbody\0");
}

async fn work_is_given_out_once_in_order_and_for_its_own_function_only(world: World) {
    let queue = world.queue();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(accept(&*queue, "one", "").await.0);
        accept(&*queue, "two", "").await;
    }
    let first = queue.claim("one", 3).await.unwrap();
    let rest = queue.claim("one", 100).await.unwrap();
    let claimed: Vec<InvocationId> = first
        .iter()
        .chain(&rest)
        .map(|accepted| accepted.record.id)
        .collect();
    assert_eq!(claimed, ids);
    assert!(queue.claim("one", 1).await.unwrap().is_empty());
    assert_eq!((queue.queued("one"), queue.queued("two")), (0, 5));
    let waiting = queue.waiting();
    let seen: Vec<_> = waiting
        .iter()
        .map(|work| (work.function.as_str(), work.queued, work.running, work.claimable))
        .collect();
    assert_eq!(seen, [("one", 0, 5, 0), ("two", 5, 0, 5)]);
}

async fn a_released_invocation_keeps_its_place_and_its_attempt_does_not_count(world: World) {
    let queue = world.queue();
    let (first, _) = accept(&*queue, "hello", "").await;
    accept(&*queue, "hello", "").await;
    let claimed = claim_one(&*queue, "hello").await;
    queue.release(claimed.record.id).await.unwrap();
    assert_eq!(queue.queued("hello"), 2);
    let again = claim_one(&*queue, "hello").await;
    assert_eq!((again.record.id, again.record.attempts), (first, 1));
}

async fn the_result_is_there_with_the_end_and_for_the_key_alone(world: World) {
    let queue = world.queue();
    let (id, key) = accept(&*queue, "hello", "").await;
    assert_eq!(
        queue.look(id, &key).await.unwrap().unwrap().status,
        Status::Queued
    );
    let claimed = claim_one(&*queue, "hello").await;
    let (record, none) = queue.result(id, &key).await.unwrap().unwrap();
    assert_eq!((record.status, none.is_none()), (Status::Running, true));

    let end = ended(claimed.record, EndingKind::Completed);
    let body = Body::from(Bytes::from_static(b"done"));
    queue.finish(end.clone(), Some(response(body))).await.unwrap();
    let (record, stored) = queue.result(id, &key).await.unwrap().unwrap();
    assert_eq!(record, end);
    let stored = stored.unwrap();
    assert_eq!(stored.status.as_u16(), 201);
    assert_eq!(stored.headers, response(Body::empty()).headers);
    assert_eq!(stored.body.read_all().await.unwrap(), b"done");
    assert!(queue.waiting().is_empty());

    let other = Key::generate();
    assert!(queue.look(id, &other).await.unwrap().is_none());
    assert!(queue.result(id, &other).await.unwrap().is_none());
    let unknown = queue.look(InvocationId::generate(), &key).await.unwrap();
    assert!(unknown.is_none());
}

async fn an_end_stands_and_another_changes_nothing(world: World) {
    let queue = world.queue();
    let (id, key) = accept(&*queue, "hello", "").await;
    let claimed = claim_one(&*queue, "hello").await;
    let first = ended(claimed.record.clone(), EndingKind::Completed);
    queue.finish(first, None).await.unwrap();
    let second = ended(claimed.record, EndingKind::ExitCode);
    queue.finish(second, None).await.unwrap();
    queue.release(id).await.unwrap();
    assert_eq!(
        queue.look(id, &key).await.unwrap().unwrap().status,
        Status::Succeeded
    );
    assert!(queue.waiting().is_empty());
    let unknown = ended(record("hello", Trigger::Async), EndingKind::Completed);
    assert!(matches!(
        queue.finish(unknown, None).await,
        Err(StoreError::Unknown(_))
    ));
}

async fn after_a_restart_only_what_has_no_end_is_given_out_again(mut world: World) {
    let queue = world.queue();
    let (ended_id, key) = accept(&*queue, "hello", "").await;
    let (running, _) = accept(&*queue, "hello", "again").await;
    let (queued, _) = accept(&*queue, "hello", "").await;
    let claimed = queue.claim("hello", 2).await.unwrap();
    let end = ended(claimed[0].record.clone(), EndingKind::ExitCode);
    queue.finish(end, Some(response(Body::empty()))).await.unwrap();
    drop(queue);
    world.restart().await;
    let queue = world.queue();
    let mut claimed = Vec::new();
    eventually("what has no end", async || {
        claimed.extend(queue.claim("hello", 10).await.unwrap());
        (claimed.len() == 2).then_some(())
    })
    .await;
    assert_eq!((claimed[0].record.id, claimed[0].record.attempts), (running, 2));
    assert_eq!((claimed[1].record.id, claimed[1].record.attempts), (queued, 1));
    assert_eq!(claimed[0].request.body.read_all().await.unwrap(), b"again");
    let (record, stored) = queue.result(ended_id, &key).await.unwrap().unwrap();
    assert_eq!((record.status, stored.is_some()), (Status::Failed, true));
}

async fn a_full_backlog_refuses_and_takes_more_when_there_is_room(world: World) {
    let queue = world.queue();
    for expected in [true, true, false] {
        let (mut new, _) = new_invocation("hello", Body::empty());
        new.backlog = 2;
        let accepted = queue.accept(new).await;
        assert_eq!(accepted.is_ok(), expected);
        if let Err(error) = accepted {
            assert_eq!(error.problem().code, ProblemCode::BacklogFull);
        }
    }
    claim_one(&*queue, "hello").await;
    let (mut new, _) = new_invocation("hello", Body::empty());
    new.backlog = 2;
    queue.accept(new).await.unwrap();
}

async fn large_bodies_are_kept_whole(mut world: World) {
    let queue = world.queue();
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let mut writer = queue.request_body();
    for piece in large.chunks(10_000) {
        writer.write(piece).await.unwrap();
    }
    let (new, key) = new_invocation("hello", writer.finish().await.unwrap());
    let id = new.record.id;
    queue.accept(new).await.unwrap();
    drop(queue);
    world.restart().await;
    let queue = world.queue();
    let claimed = claim_one(&*queue, "hello").await;
    assert_eq!(claimed.request.body.length(), 300_000);
    assert_eq!(claimed.request.body.read_all().await.unwrap(), large);

    let mut writer = queue.response_body();
    writer.write(&large).await.unwrap();
    let stored = response(writer.finish().await.unwrap());
    queue
        .finish(ended(claimed.record, EndingKind::Completed), Some(stored))
        .await
        .unwrap();
    let (_, stored) = queue.result(id, &key).await.unwrap().unwrap();
    assert_eq!(stored.unwrap().body.read_all().await.unwrap(), large);
}

async fn a_body_that_is_too_large_is_refused_while_it_arrives(world: World) {
    let mut writer = world.queue().request_body();
    let piece = vec![0; 1 << 20];
    for _ in 0..16 {
        writer.write(&piece).await.unwrap();
    }
    let error = writer.write(&[0]).await.unwrap_err();
    assert_eq!(error.problem().code, ProblemCode::BodyTooLarge);
}

async fn what_waits_for_a_removed_function_can_be_ended(world: World) {
    let queue = world.queue();
    let (first, key) = accept(&*queue, "gone", "").await;
    accept(&*queue, "gone", "").await;
    let time = now();
    assert_eq!(queue.fail_removed("gone", time, 1).await.unwrap(), 1);
    assert_eq!(queue.fail_removed("gone", time, 10).await.unwrap(), 1);
    assert_eq!(queue.fail_removed("gone", time, 10).await.unwrap(), 0);
    let record = queue.look(first, &key).await.unwrap().unwrap();
    assert_eq!((record.status, record.ended), (Status::Failed, Some(time)));
    assert_eq!(record.ending.unwrap().problem, Some(ProblemCode::FunctionRemoved));
    assert!(queue.waiting().is_empty());
}

async fn since_when_a_function_is_gone_is_known_after_a_restart(mut world: World) {
    let queue = world.queue();
    accept(&*queue, "gone", "").await;
    let time = now();
    queue.set_absent("gone", Some(time)).await.unwrap();
    let later = time + jiff::SignedDuration::from_hours(1);
    queue.set_absent("gone", Some(later)).await.unwrap();
    drop(queue);
    world.restart().await;
    let queue = world.queue();
    assert_eq!(
        queue.waiting()[0].absent_since,
        Some(time),
        "the first time stands"
    );
    queue.set_absent("gone", None).await.unwrap();
    assert_eq!(queue.waiting()[0].absent_since, None);
    queue.set_absent("gone", Some(later)).await.unwrap();
    assert_eq!(queue.waiting()[0].absent_since, Some(later));
}

async fn whoever_waits_for_work_is_told_of_it(world: World) {
    let queue = world.queue();
    let mut work = queue.work();
    work.borrow_and_update();
    let (id, _) = accept(&*queue, "hello", "").await;
    work.changed().await.unwrap();
    claim_one(&*queue, "hello").await;
    work.borrow_and_update();
    queue.release(id).await.unwrap();
    work.changed().await.unwrap();
}

async fn what_is_repeated_keeps_its_place_and_its_attempts(world: World) {
    let queue = world.queue();
    let (first, _) = accept(&*queue, "hello", "").await;
    accept(&*queue, "hello", "").await;
    let claimed = claim_one(&*queue, "hello").await;
    queue.repeat(claimed.record.id).await.unwrap();
    let again = claim_one(&*queue, "hello").await;
    assert_eq!((again.record.id, again.record.attempts), (first, 2));
}

async fn an_id_is_accepted_once(world: World) {
    let queue = world.queue();
    let (new, _) = new_invocation("hello", Body::from(Bytes::from_static(b"first")));
    queue.accept(new.clone()).await.unwrap();
    let mut second = new;
    second.request.body = Body::from(Bytes::from_static(b"second"));
    // Whether it is told of or not: it is not there twice.
    let _ = queue.accept(second).await;
    let claimed = queue.claim("hello", 10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].request.body.read_all().await.unwrap(), b"first");
}
