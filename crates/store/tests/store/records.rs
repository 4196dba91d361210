//! Records and logs: written behind, found again, followed.

use std::time::Duration;

use crate::support::{Fixture, accept, claim_one, ended, line, record};
use jiff::{SignedDuration, Timestamp};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use skep_model::{EndingKind, InvocationId, Journal, ProblemCode, Status, Trigger};
use skep_store::{Found, LogFilter, RecordFilter, StoredLine};

fn texts(lines: &[StoredLine]) -> Vec<String> {
    lines
        .iter()
        .map(|line| String::from_utf8(line.line.text.clone()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_record_replaces_what_was_known_before() {
    let fixture = Fixture::new();
    let mut begun = record("hello", Trigger::Request);
    begun.status = Status::Running;
    fixture.store.record(begun.clone());
    assert_eq!(fixture.store.record_of(begun.id).await.unwrap().unwrap(), begun);
    let mut end = ended(begun.clone(), EndingKind::Problem);
    end.ending.as_mut().unwrap().problem = Some(ProblemCode::BadResponse);
    end.ending.as_mut().unwrap().detail = Some("it said nothing".to_owned());
    end.phases.queue = Some(std::time::Duration::from_micros(17));
    fixture.store.record(end.clone());
    assert_eq!(fixture.store.record_of(begun.id).await.unwrap().unwrap(), end);
    assert_eq!(
        fixture.store.record_of(InvocationId::generate()).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn records_of_both_kinds_are_listed_newest_first_and_page_by_page() {
    let fixture = Fixture::new();
    let mut expected = Vec::new();
    for number in 0..10 {
        if number % 2 == 0 {
            expected.push(accept(&fixture.store, "hello", "").await.0);
        } else {
            let record = ended(record("hello", Trigger::Request), EndingKind::Completed);
            expected.push(record.id);
            fixture.store.record(record);
        }
    }
    expected.reverse();
    let mut filter = RecordFilter {
        limit: 4,
        ..RecordFilter::default()
    };
    let mut found = Vec::new();
    loop {
        let page = fixture.store.records(filter.clone()).await.unwrap();
        found.extend(page.records.iter().map(|record| record.id));
        match page.next {
            Some(next) => filter.before = Some(next),
            None => break,
        }
    }
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_list_can_be_narrowed_by_function_status_and_time() {
    let fixture = Fixture::new();
    let failed = ended(record("one", Trigger::Request), EndingKind::ExitCode);
    let succeeded = ended(record("one", Trigger::Request), EndingKind::Completed);
    let other = ended(record("two", Trigger::Request), EndingKind::ExitCode);
    for record in [&failed, &succeeded, &other] {
        fixture.store.record(record.clone());
    }
    let ids = async |filter: RecordFilter| {
        let page = fixture.store.records(filter).await.unwrap();
        page.records
            .into_iter()
            .map(|record| record.id)
            .collect::<Vec<_>>()
    };
    let one = Some("one".to_owned());
    assert_eq!(
        ids(RecordFilter {
            function: one.clone(),
            ..Default::default()
        })
        .await,
        [succeeded.id, failed.id]
    );
    let status = Some(Status::Failed);
    assert_eq!(
        ids(RecordFilter {
            function: one,
            status,
            ..Default::default()
        })
        .await,
        [failed.id]
    );
    let since = Some(Timestamp::now() + SignedDuration::from_secs(1));
    assert!(
        ids(RecordFilter {
            since,
            ..Default::default()
        })
        .await
        .is_empty()
    );
}

#[tokio::test]
async fn a_record_is_found_by_the_beginning_of_its_id() {
    let fixture = Fixture::new();
    let (id, _) = accept(&fixture.store, "hello", "").await;
    let other = ended(record("hello", Trigger::Request), EndingKind::Completed);
    fixture.store.record(other.clone());
    let find = async |text: &str| fixture.store.find(text.parse().unwrap()).await.unwrap();
    assert!(matches!(find(&id.to_string()).await, Found::One(found) if found.id == id));
    assert!(matches!(find(&other.id.to_string()[..30]).await, Found::One(found) if found.id == other.id));
    let Found::Several(ids) = find(&id.to_string()[..8]).await else {
        panic!("both begin so")
    };
    assert_eq!(ids, [other.id, id]);
    assert!(matches!(find("ffff").await, Found::None));
}

#[tokio::test]
async fn a_synchronous_invocation_that_a_crash_cut_short_has_failed() {
    let mut fixture = Fixture::new();
    let mut running = record("hello", Trigger::Request);
    running.status = Status::Running;
    fixture.store.record(running.clone());
    fixture.reopen().await;
    let record = fixture.store.record_of(running.id).await.unwrap().unwrap();
    assert_eq!((record.status, record.ended.is_some()), (Status::Failed, true));
    assert_eq!(record.ending.unwrap().problem, Some(ProblemCode::Internal));
}

#[tokio::test]
async fn log_lines_of_one_invocation_never_mix_with_anothers() {
    let fixture = Fixture::new();
    let (one, other) = (InvocationId::generate(), InvocationId::generate());
    for number in 0..50 {
        fixture
            .store
            .log(line("hello", Some(one), &format!("one {number}")));
        fixture
            .store
            .log(line("hello", Some(other), &format!("other {number}")));
    }
    fixture.store.log(line("hello", None, "nobody's"));
    let of = |id| LogFilter {
        invocation: Some(id),
        ..LogFilter::default()
    };
    let expected: Vec<String> = (0..50).map(|number| format!("one {number}")).collect();
    assert_eq!(texts(&fixture.store.logs(of(one)).await.unwrap()), expected);
    assert!(
        texts(&fixture.store.logs(of(other)).await.unwrap())
            .iter()
            .all(|text| text.starts_with("other"))
    );
    let all = LogFilter {
        function: Some("hello".to_owned()),
        ..LogFilter::default()
    };
    assert_eq!(fixture.store.logs(all).await.unwrap().len(), 101);
}

#[tokio::test]
async fn log_lines_come_back_as_they_were_and_can_be_narrowed() {
    let fixture = Fixture::new();
    let first = line("hello", None, "first");
    let mut second = line("hello", None, "");
    second.line.text = b"\xff\x00 not text".to_vec();
    second.line.time = crate::support::now() + SignedDuration::from_secs(60);
    fixture.store.log(first.clone());
    fixture.store.log(second.clone());
    let all = LogFilter {
        function: Some("hello".to_owned()),
        ..LogFilter::default()
    };
    let lines = fixture.store.logs(all.clone()).await.unwrap();
    assert_eq!((&lines[0].line, lines[0].instance), (&first.line, first.instance));
    assert_eq!(lines[1].line, second.line);
    let narrowed = [
        LogFilter {
            instance: Some(second.instance),
            ..LogFilter::default()
        },
        LogFilter {
            since: Some(second.line.time),
            ..all.clone()
        },
        LogFilter {
            tail: Some(1),
            ..all.clone()
        },
        LogFilter {
            after: Some(lines[0].sequence),
            ..all.clone()
        },
    ];
    for filter in narrowed {
        let found = fixture.store.logs(filter.clone()).await.unwrap();
        assert_eq!(found.len(), 1, "{filter:?}");
        assert_eq!(found[0].line, second.line, "{filter:?}");
    }
    assert_eq!(
        fixture.store.logs(LogFilter { limit: 1, ..all }).await.unwrap()[0].line,
        first.line
    );
}

#[tokio::test]
async fn following_gives_what_is_there_then_what_comes() {
    let fixture = Fixture::new();
    let store = fixture.store.clone();
    for number in 0..3 {
        store.log(line("hello", None, &format!("before {number}")));
    }
    store.flush().await;
    let filter = LogFilter {
        function: Some("hello".to_owned()),
        tail: Some(1),
        ..LogFilter::default()
    };
    let mut follower = store.follow(filter);
    assert_eq!(texts(&follower.next().await.unwrap().unwrap()), ["before 2"]);
    let next = tokio::spawn(async move {
        let lines = follower.next().await.unwrap().unwrap();
        (follower, lines)
    });
    store.log(line("other", None, "another's"));
    store.log(line("hello", None, "after"));
    let (mut follower, lines) = next.await.unwrap();
    assert_eq!(texts(&lines), ["after"]);
    store.log(line("hello", None, "later"));
    assert_eq!(texts(&follower.next().await.unwrap().unwrap()), ["later"]);
}

#[tokio::test]
async fn all_that_comes_is_followed_however_little_is_wanted_of_what_was() {
    for (before, tail) in [("", 1), ("before", 0)] {
        let fixture = Fixture::new();
        let store = fixture.store.clone();
        if !before.is_empty() {
            store.log(line("hello", None, before));
            store.flush().await;
        }
        let mut follower = store.follow(LogFilter {
            tail: Some(tail),
            ..LogFilter::default()
        });
        // It has looked, and found nothing that is wanted.
        let looked = tokio::time::timeout(Duration::from_millis(500), follower.next()).await;
        assert!(looked.is_err(), "{looked:?}");
        for text in ["one", "two", "three"] {
            store.log(line("hello", None, text));
        }
        store.flush().await;
        let mut all = Vec::new();
        while all.len() < 3 {
            all.extend(texts(&follower.next().await.unwrap().unwrap()));
        }
        assert_eq!(all, ["one", "two", "three"], "{tail} of {before:?}");
    }
}

#[tokio::test]
async fn following_an_invocation_ends_with_its_last_line() {
    let fixture = Fixture::new();
    let store = fixture.store.clone();
    let (id, _) = accept(&store, "hello", "").await;
    let claimed = claim_one(&store, "hello").await;
    let mut follower = store.follow(LogFilter {
        invocation: Some(id),
        ..LogFilter::default()
    });
    let lines = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Some(lines) = follower.next().await.unwrap() {
            all.extend(texts(&lines));
        }
        all
    });
    store.log(line("hello", Some(id), "working"));
    store.flush().await;
    store.log(line("hello", Some(id), "done"));
    store
        .finish(ended(claimed.record, EndingKind::Completed), None)
        .await
        .unwrap();
    assert_eq!(lines.await.unwrap(), ["working", "done"]);
}

#[tokio::test]
async fn a_flood_is_counted_instead_of_kept_and_nobody_waits() {
    let fixture = Fixture::new();
    let mut registry = Registry::default();
    fixture.store.register(&mut registry);
    let long = "x".repeat(16 * 1024);
    for _ in 0..20_000 {
        fixture.store.log(line("hello", None, &long));
    }
    fixture.store.flush().await;
    let all = LogFilter {
        function: Some("hello".to_owned()),
        limit: 10_000,
        ..LogFilter::default()
    };
    let mut kept = 0;
    let mut after = None;
    loop {
        let lines = fixture
            .store
            .logs(LogFilter { after, ..all.clone() })
            .await
            .unwrap();
        let Some(last) = lines.last() else { break };
        (kept, after) = (kept + lines.len(), Some(last.sequence));
    }
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let dropped = text
        .lines()
        .find(|line| line.starts_with("skep_records_dropped_total{kind=\"line\"}"));
    let dropped: usize = dropped.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(kept > 0 && dropped > 0, "{kept} kept, {dropped} dropped");
    assert_eq!(kept + dropped, 20_000);
}

#[tokio::test]
async fn every_word_that_a_record_can_have_is_read_back() {
    let fixture = Fixture::new();
    let kinds = [
        EndingKind::Completed,
        EndingKind::ExitCode,
        EndingKind::ServerError,
        EndingKind::ClientGone,
        EndingKind::Problem,
    ];
    let mut expected = Vec::new();
    for kind in kinds {
        expected.push(ended(record("hello", Trigger::Request), kind));
    }
    for problem in ProblemCode::ALL {
        let mut record = ended(record("hello", Trigger::Request), EndingKind::Problem);
        record.ending.as_mut().unwrap().problem = Some(*problem);
        expected.push(record);
    }
    for record in &expected {
        fixture.store.record(record.clone());
    }
    for record in expected {
        assert_eq!(fixture.store.record_of(record.id).await.unwrap(), Some(record));
    }
}
