//! What only a queue can do that several gateways share, and what becomes of it when one or the server is gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use skep_jetstream::JetStream;
use skep_model::{EndingKind, InvocationId, ProblemCode, Status};
use skep_store::{Body, Queue, RecordFilter, Store};
use skep_testing::Nats;

use crate::world::{
    ACK_WAIT, Gateway, accept, claim_one, config, ended, eventually, new_invocation, response,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_accepts_another_runs_and_every_one_shows() {
    let nats = Nats::start();
    let (one, other) = (Gateway::on(&nats).await, Gateway::on(&nats).await);
    let mut work = other.queue.work();
    work.borrow_and_update();
    let (id, key) = accept(&one.queue, "hello", "the body").await;
    work.changed().await.unwrap();
    eventually("the other to know of it", async || {
        (other.queue.queued("hello") == 1).then_some(())
    })
    .await;
    let claimed = claim_one(&other.queue, "hello").await;
    assert_eq!(claimed.request.body.read_all().await.unwrap(), b"the body");
    eventually("the first to know that it runs", async || {
        let waiting = one.queue.waiting();
        (waiting.len() == 1 && waiting[0].running == 1 && waiting[0].queued == 0).then_some(())
    })
    .await;
    let end = ended(claimed.record, EndingKind::Completed);
    let body = Body::from(bytes::Bytes::from_static(b"done"));
    other.queue.finish(end, Some(response(body))).await.unwrap();
    for gateway in [&one, &other] {
        let (record, stored) = gateway.queue.result(id, &key).await.unwrap().unwrap();
        assert_eq!(record.status, Status::Succeeded);
        assert_eq!(stored.unwrap().body.read_all().await.unwrap(), b"done");
    }
    eventually("the first to know that it has ended", async || {
        one.queue.waiting().is_empty().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_had_that_is_gone_another_gets_once_and_what_had_ended_nobody() {
    let nats = Nats::start();
    let one = Gateway::on(&nats).await;
    let mut accepted = HashSet::new();
    for _ in 0..20 {
        accepted.insert(accept(&one.queue, "hello", "").await.0);
    }
    let mut claimed = one.queue.claim("hello", 12).await.unwrap();
    for accepted_before in claimed.drain(..4) {
        let id = accepted_before.record.id;
        one.queue
            .finish(ended(accepted_before.record, EndingKind::Completed), None)
            .await
            .unwrap();
        accepted.remove(&id);
    }
    one.crash();
    let other = Gateway::on(&nats).await;
    let mut again = HashSet::new();
    eventually("all that has no end", async || {
        let claimable = other.queue.waiting().first().map_or(0, |work| work.claimable);
        for accepted in other.queue.claim("hello", claimable as usize).await.unwrap() {
            assert!(again.insert(accepted.record.id), "given out twice");
        }
        (again.len() == accepted.len()).then_some(())
    })
    .await;
    assert_eq!(again, accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_work_stays_with_its_gateway_however_long_it_takes() {
    let nats = Nats::start();
    let (one, other) = (Gateway::on(&nats).await, Gateway::on(&nats).await);
    accept(&one.queue, "hello", "").await;
    let claimed = claim_one(&one.queue, "hello").await;
    let until = tokio::time::Instant::now() + 2 * ACK_WAIT;
    while tokio::time::Instant::now() < until {
        let got = other.queue.claim("hello", 1).await.unwrap();
        assert!(got.is_empty(), "another got it");
    }
    one.queue
        .finish(ended(claimed.record, EndingKind::Completed), None)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn much_work_of_one_function_is_in_nobody_elses_way() {
    let nats = Nats::start();
    let gateway = Gateway::on(&nats).await;
    for _ in 0..200 {
        accept(&gateway.queue, "busy", "").await;
    }
    let (id, _) = accept(&gateway.queue, "other", "").await;
    assert_eq!(claim_one(&gateway.queue, "other").await.record.id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_nothing_is_accepted_and_everything_goes_on_when_it_is_back() {
    let mut nats = Nats::start();
    let gateway = Gateway::on(&nats).await;
    let (id, key) = accept(&gateway.queue, "hello", "").await;
    nats.kill();
    let (new, _) = new_invocation("hello", Body::empty());
    let error = gateway.queue.accept(new).await.unwrap_err();
    assert_eq!(error.problem().code, ProblemCode::StorageUnavailable);
    assert!(error.with_sources().contains("NATS"), "{}", error.with_sources());
    assert_eq!(gateway.queue.queued("hello"), 1, "no place stays taken");
    nats.restart();
    let claimed = eventually("the server to be there again", async || {
        gateway.queue.claim("hello", 1).await.ok()?.pop()
    })
    .await;
    assert_eq!(claimed.record.id, id);
    gateway
        .queue
        .finish(ended(claimed.record, EndingKind::Completed), None)
        .await
        .unwrap();
    let record = gateway.queue.look(id, &key).await.unwrap().unwrap();
    assert_eq!((record.status, record.attempts), (Status::Succeeded, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_without_a_server_and_finds_it_later() {
    let mut nats = Nats::start();
    let config = config(&nats);
    nats.kill();
    let queue = JetStream::connect(config).await.unwrap();
    let (new, _) = new_invocation("hello", Body::empty());
    let error = queue.accept(new).await.unwrap_err();
    assert_eq!(error.problem().code, ProblemCode::StorageUnavailable);
    let running = tokio::spawn(queue.clone().run(None, Default::default()));
    nats.restart();
    queue.ready().await;
    accept(&queue, "hello", "").await;
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_has_everything_that_was_accepted() {
    let mut nats = Nats::start();
    let gateway = Gateway::on(&nats).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let count = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..8)
        .map(|_| tokio::spawn(call(gateway.queue.clone(), stop.clone(), count.clone())))
        .collect();
    for round in 1..=3 {
        eventually("more that was accepted", async || {
            (count.load(Ordering::Relaxed) >= 20 * round).then_some(())
        })
        .await;
        nats.kill();
        nats.restart();
    }
    stop.cancel();
    let mut accepted = HashSet::new();
    for caller in callers {
        accepted.extend(caller.await.unwrap());
    }
    assert!(accepted.len() > 50, "only {} were accepted", accepted.len());
    gateway.crash();

    let other = Gateway::on(&nats).await;
    let mut there = HashSet::new();
    eventually("everything that was accepted", async || {
        for claimed in other.queue.claim("hello", 256).await.ok()? {
            assert!(there.insert(claimed.record.id), "given out twice");
        }
        accepted.is_subset(&there).then_some(())
    })
    .await;
}

/// Accepts one after the other; gives what was accepted.
async fn call(
    queue: JetStream,
    stop: tokio_util::sync::CancellationToken,
    count: Arc<AtomicUsize>,
) -> Vec<InvocationId> {
    let mut accepted = Vec::new();
    while !stop.is_cancelled() {
        let (new, _) = new_invocation("hello", Body::from(bytes::Bytes::from(vec![7; 2_000])));
        let id = new.record.id;
        match queue.accept(new).await {
            Ok(()) => {
                accepted.push(id);
                count.fetch_add(1, Ordering::Relaxed);
            }
            // The server is away for a moment.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn records_can_be_searched_at_every_gateway() {
    let nats = Nats::start();
    let directory = tempfile::tempdir().unwrap();
    let mirror = Store::open(skep_store::Config::in_directory(directory.path())).unwrap();
    let one = Gateway::on(&nats).await;
    let (before, _) = accept(&one.queue, "hello", "").await;
    let _other = Gateway::with(config(&nats), Some(mirror.clone())).await;
    let (id, _) = accept(&one.queue, "hello", "").await;
    let claimed = one.queue.claim("hello", 2).await.unwrap();
    one.queue
        .finish(ended(claimed[1].record.clone(), EndingKind::ExitCode), None)
        .await
        .unwrap();
    let known = async |id| mirror.record_of(id).await.unwrap().map(|record| record.status);
    eventually("both to be found", async || {
        let both = (known(before).await, known(id).await);
        (both == (Some(Status::Running), Some(Status::Failed))).then_some(())
    })
    .await;
    let failed = RecordFilter {
        status: Some(Status::Failed),
        ..RecordFilter::default()
    };
    assert_eq!(mirror.records(failed).await.unwrap().records[0].id, id);
    // What runs elsewhere has not failed because this gateway was started again.
    mirror.close().await;
    let mirror = Store::open(skep_store::Config::in_directory(directory.path())).unwrap();
    let record = mirror.record_of(before).await.unwrap().unwrap();
    assert_eq!(record.status, Status::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_work_and_work_without_a_record_are_found() {
    let nats = Nats::start();
    let quick = skep_jetstream::Config {
        sweep_every: Duration::from_millis(100),
        ..config(&nats)
    };
    let gateway = Gateway::with(quick, None).await;
    let (id, key) = accept(&gateway.queue, "hello", "").await;
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let records = context.get_stream("skep-tests-records").await.unwrap();
    records.purge().await.unwrap();
    let other = Gateway::with(
        skep_jetstream::Config {
            sweep_every: Duration::from_millis(100),
            ..config(&nats)
        },
        None,
    )
    .await;
    gateway.crash();
    let claimed = eventually("the work to be found", async || {
        let claimable = other.queue.waiting().first().map_or(0, |work| work.claimable);
        other
            .queue
            .claim("hello", claimable as usize)
            .await
            .unwrap()
            .pop()
    })
    .await;
    assert_eq!((claimed.record.id, claimed.record.attempts), (id, 1));
    other
        .queue
        .finish(ended(claimed.record, EndingKind::Completed), None)
        .await
        .unwrap();
    assert!(other.queue.look(id, &key).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_go_when_they_are_no_longer_needed() {
    let nats = Nats::start();
    let gateway = Gateway::on(&nats).await;
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let bytes_of = async |bucket: &str| {
        let mut stream = context
            .get_stream(format!("OBJ_skep-tests-{bucket}"))
            .await
            .unwrap();
        stream.info().await.unwrap().state.messages
    };
    let large = vec![7; 200_000];
    let mut writer = gateway.queue.request_body();
    writer.write(&large).await.unwrap();
    let (new, _) = new_invocation("hello", writer.finish().await.unwrap());
    gateway.queue.accept(new).await.unwrap();
    assert!(bytes_of("requests").await > 0);
    let claimed = claim_one(&gateway.queue, "hello").await;
    gateway
        .queue
        .finish(ended(claimed.record, EndingKind::Completed), None)
        .await
        .unwrap();
    eventually("the request's body to be gone", async || {
        (bytes_of("requests").await == 0).then_some(())
    })
    .await;

    // One that is not accepted leaves nothing either.
    let mut writer = gateway.queue.request_body();
    writer.write(&large).await.unwrap();
    let (mut new, _) = new_invocation("hello", writer.finish().await.unwrap());
    new.backlog = 0;
    gateway.queue.accept(new).await.unwrap_err();
    eventually("the refused body to be gone", async || {
        (bytes_of("requests").await == 0).then_some(())
    })
    .await;
    let _: Arc<dyn Queue> = gateway.queue.clone().into();
}
