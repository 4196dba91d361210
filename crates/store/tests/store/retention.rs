//! Keeping within limits: what is old or too much goes, what has not ended stays.

use jiff::{SignedDuration, Timestamp};
use skep_model::{EndingKind, InvocationId, Journal, Trigger};
use skep_store::{LogFilter, RecordFilter, Tidied};

use crate::support::{Fixture, accept, claim_one, ended, line, new_invocation, now, record, response};

fn in_days(days: i64) -> Timestamp {
    now() + SignedDuration::from_hours(24 * days)
}

async fn listed(fixture: &Fixture) -> Vec<InvocationId> {
    let page = fixture
        .store
        .records(RecordFilter {
            limit: 1_000,
            ..Default::default()
        })
        .await
        .unwrap();
    page.records.into_iter().map(|record| record.id).collect()
}

#[tokio::test]
async fn what_ended_goes_after_its_time_and_what_did_not_stays() {
    let fixture = Fixture::new();
    let mut writer = fixture.store.response_body();
    writer.write(&vec![1; 100_000]).await.unwrap();
    accept(&fixture.store, "hello", "").await;
    let (running, _) = accept(&fixture.store, "hello", "").await;
    let (queued, _) = accept(&fixture.store, "hello", "").await;
    let first = claim_one(&fixture.store, "hello").await;
    claim_one(&fixture.store, "hello").await;
    let stored = response(writer.finish().await.unwrap());
    fixture
        .store
        .finish(ended(first.record, EndingKind::Completed), Some(stored))
        .await
        .unwrap();
    fixture
        .store
        .record(ended(record("hello", Trigger::Request), EndingKind::Completed));
    fixture.store.log(line("hello", None, "a line"));
    fixture.store.flush().await;
    assert_eq!((listed(&fixture).await.len(), fixture.spilled()), (4, 1));

    assert_eq!(fixture.store.tidy(in_days(6)).await.unwrap(), Tidied::default());
    let tidied = fixture.store.tidy(in_days(8)).await.unwrap();
    assert_eq!(
        tidied,
        Tidied {
            invocations: 1,
            records: 1,
            lines: 1
        }
    );
    assert_eq!(listed(&fixture).await, [queued, running]);
    assert_eq!(fixture.spilled(), 0);
    assert_eq!(fixture.store.tidy(in_days(8)).await.unwrap(), Tidied::default());
}

#[tokio::test]
async fn too_much_goes_from_its_old_end_until_it_fits() {
    let fixture = Fixture::with(|config| config.keep_bytes = 2 << 20);
    let (queued, _) = accept(&fixture.store, "hello", "").await;
    for number in 0..400 {
        fixture
            .store
            .log(line("hello", None, &format!("{number:04}{}", "x".repeat(10_000))));
        fixture
            .store
            .record(ended(record("hello", Trigger::Request), EndingKind::Completed));
        if number % 100 == 0 {
            fixture.store.flush().await;
        }
    }
    fixture.store.flush().await;
    let tidied = fixture.store.tidy(Timestamp::now()).await.unwrap();
    assert!(tidied.lines > 0 && tidied.records > 0, "{tidied:?}");
    let all = LogFilter {
        function: Some("hello".to_owned()),
        limit: 10_000,
        ..LogFilter::default()
    };
    let left = fixture.store.logs(all).await.unwrap();
    assert!(left.len() > 20, "{} lines are left", left.len());
    assert!(
        left.last().unwrap().line.text.starts_with(b"0399"),
        "the newest line is there"
    );
    assert!(listed(&fixture).await.contains(&queued));
    assert_eq!(
        fixture.store.tidy(Timestamp::now()).await.unwrap(),
        Tidied::default()
    );
}

#[tokio::test]
async fn waiting_work_is_kept_however_much_it_is() {
    let fixture = Fixture::with(|config| config.keep_bytes = 0);
    for _ in 0..20 {
        let (new, _) = new_invocation("hello", bytes::Bytes::from(vec![1; 50_000]).into());
        fixture.store.accept(new).await.unwrap();
    }
    assert_eq!(fixture.store.tidy(in_days(100)).await.unwrap(), Tidied::default());
    assert_eq!(fixture.store.claim("hello", 100).await.unwrap().len(), 20);
}
