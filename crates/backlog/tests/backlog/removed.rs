//! Work of a function that is gone: it waits, visibly, then fails; or the function comes back.

use std::time::Duration;

use skep_model::{ProblemCode, Status};
use skep_store::Store;
use tokio::time::{Instant, sleep};

use crate::support::{Fixture, accept, catalogue, config, function};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(start_paused = true)]
async fn work_of_a_removed_function_fails_after_a_day() {
    let mut fixture = Fixture::new(&[], &[]).await;
    let began = Instant::now();
    let (id, _) = accept(&fixture.store, "gone").await;
    let record = fixture.end_of(id).await;
    assert_eq!(record.status, Status::Failed);
    assert_eq!(record.ending.unwrap().problem, Some(ProblemCode::FunctionRemoved));
    assert!(began.elapsed() >= DAY, "after {:?}", began.elapsed());
    fixture.drained().await;
    assert!(fixture.store.waiting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn until_then_it_waits_visibly_and_runs_when_the_function_is_back() {
    let mut fixture = Fixture::new(&[], &[]).await;
    let (id, key) = accept(&fixture.store, "hello").await;
    fixture
        .until(|store| store.waiting()[0].absent_since.is_some())
        .await;
    sleep(DAY / 2).await;
    let waiting = fixture.store.waiting();
    assert_eq!((waiting[0].queued, waiting[0].absent_since.is_some()), (1, true));
    assert_eq!(
        fixture.store.look(id, &key).await.unwrap().unwrap().status,
        Status::Queued
    );
    fixture
        .catalogue
        .send_replace(catalogue(&[function("hello", 64)]));
    assert_eq!(fixture.end_of(id).await.status, Status::Succeeded);
    fixture.drained().await;
    assert!(fixture.store.waiting().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_function_that_was_away_long_before_is_given_a_moment_to_show_up_after_a_start() {
    let config = config();
    let long_ago = (config.clock)() - jiff::SignedDuration::from_hours(48);
    let fixture = Fixture::with(config, &[], &[], async |store: &Store| {
        accept(store, "hello").await;
        store.set_absent("hello", Some(long_ago)).await.unwrap();
    })
    .await;
    let id = fixture.store.records(Default::default()).await.unwrap().records[0].id;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(fixture.store.queued("hello"), 1);
    fixture
        .catalogue
        .send_replace(catalogue(&[function("hello", 64)]));
    assert_eq!(fixture.end_of(id).await.status, Status::Succeeded);
}
