//! What an instance's answer says of itself: how long it is, what its status is called, and in how many fields.

use std::sync::Arc;

use skep_model::EndingKind;
use tokio::io::AsyncWriteExt as _;

use crate::client::{body, field, get, invocation, raw};
use crate::engine::{Behaviour, program};
use crate::servers::{by_hand, says};
use crate::world::{Planned, World};

const CGI: &[(&str, &str)] = &[("skep.handler", "cgi")];
const IDLE: &[(&str, &str)] = &[("skep.recycle", "idle")];

/// Prints the first text, goes on working for a moment, prints the second, and exits.
fn script(first: &'static str, second: &'static str) -> Behaviour {
    program(move |mut command| async move {
        command.stdout.write_all(first.as_bytes()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        // It may be read no further.
        let _ = command.stdout.write_all(second.as_bytes()).await;
        0
    })
}

#[tokio::test]
async fn a_script_that_says_its_length_runs_to_its_end_and_gives_no_more() {
    let world = World::of(vec![
        Planned(
            "exact",
            CGI,
            script("Content-Type: a/b\nContent-Length: 5\n\nhello", ""),
        ),
        Planned(
            "later",
            CGI,
            script("Content-Type: a/b\nContent-Length: 5\n\nhe", "llo"),
        ),
        Planned(
            "more",
            CGI,
            script("Content-Type: a/b\nContent-Length: 5\n\nhello", " and more"),
        ),
        Planned(
            "twice",
            CGI,
            script("Status: 200\nContent-Length: 5\ncontent-length: 5\n\nhello", ""),
        ),
    ])
    .await;
    for path in ["/exact", "/later", "/more", "/twice"] {
        let response = get(world.address, path).await;
        assert_eq!(body(&response), "hello", "{path}: {response}");
        assert_eq!(
            response.matches("content-length: 5").count(),
            1,
            "{path}: {response}"
        );
        let ending = world.record(invocation(&response)).await.ending.unwrap();
        assert_eq!(
            (ending.kind, ending.exit_code),
            (EndingKind::Completed, Some(0)),
            "{path}"
        );
    }
    let empty = script("Status: 200\nContent-Length: 0\n\n", "work");
    let world = World::of(vec![Planned("empty", CGI, empty)]).await;
    let response = get(world.address, "/empty").await;
    let ending = world.record(invocation(&response)).await.ending.unwrap();
    assert_eq!((body(&response), ending.exit_code), ("", Some(0)), "{response}");
}

#[tokio::test]
async fn a_script_that_writes_less_than_it_said_is_cut_and_its_record_says_so() {
    let short = script("Content-Type: a/b\nContent-Length: 20\n\nhel", "lo");
    let world = World::of(vec![Planned("short", CGI, short)]).await;
    let response = raw(world.address, "GET /short HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(field(&response, "content-length"), Some("20"), "{response}");
    assert_eq!(body(&response), "hello", "what there was arrives: {response}");
    let ending = world.record(invocation(&response)).await.ending.unwrap();
    assert_eq!(
        ending.problem.map(|problem| problem.as_str()),
        Some("bad-response")
    );
    let detail = ending.detail.unwrap_or_default();
    assert!(
        detail.contains("is 20") && detail.contains("after 5 bytes"),
        "{detail}"
    );
    // A HEAD has no body that could be too short.
    let head = "HEAD /short HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let response = raw(world.address, head).await;
    assert_eq!(field(&response, "content-length"), Some("20"), "{response}");
    let ending = world.record(invocation(&response)).await.ending.unwrap();
    assert_eq!(ending.kind, EndingKind::Completed);
}

#[tokio::test]
async fn a_scripts_length_that_is_none_is_a_bad_response() {
    let lengths = [
        "x",
        "+5",
        "-1",
        "5, 6",
        "99999999999999999999",
        "5\nContent-Length: 6",
    ];
    for length in lengths {
        let printed = format!("Content-Type: a/b\nContent-Length: {length}\n\nhello");
        let script = program(move |mut command| {
            let printed = printed.clone();
            async move {
                // It is ended as soon as its header was read.
                let _ = command.stdout.write_all(printed.as_bytes()).await;
                0
            }
        });
        let world = World::of(vec![Planned("bad", CGI, script)]).await;
        let response = get(world.address, "/bad").await;
        assert!(
            response.starts_with("HTTP/1.1 502 ") && response.contains("\"bad-response\""),
            "{length}: {response}"
        );
        let detail = world.detail(invocation(&response)).await;
        assert!(detail.contains("Content-Length"), "{length}: {detail}");
    }
}

/// RFC 9112, section 6.3.
#[tokio::test]
async fn chunks_count_and_a_length_beside_them_is_taken_away() {
    let chunks = "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for length in ["2", "3", "1000"] {
        let said = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{chunks}");
        let both = by_hand(Arc::default(), move |mut stream, _| {
            let said = said.clone();
            async move { stream.write_all(said.as_bytes()).await.unwrap() }
        });
        let world = World::of(vec![Planned("both", &[], both)]).await;
        let response = get(world.address, "/both").await;
        assert_eq!(body(&response), "3\r\nabc\r\n0\r\n\r\n", "{response}");
        assert_eq!(field(&response, "content-length"), None, "{response}");
        let ending = world.record(invocation(&response)).await.ending.unwrap();
        assert_eq!(ending.kind, EndingKind::Completed);
    }
}

#[tokio::test]
async fn an_answer_may_have_hundreds_of_fields() {
    for (count, status) in [(400, "HTTP/1.1 200 "), (600, "HTTP/1.1 502 ")] {
        let fields: String = (0..count).map(|number| format!("x-{number}: y\r\n")).collect();
        let many = by_hand(Arc::default(), move |mut stream, _| {
            let said = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{fields}\r\nok");
            async move { stream.write_all(said.as_bytes()).await.unwrap() }
        });
        let world = World::of(vec![Planned("many", IDLE, many)]).await;
        let response = get(world.address, "/many").await;
        assert!(response.starts_with(status), "{count}: {response}");
        let last = field(&response, &format!("x-{}", count - 1));
        assert_eq!(last.is_some(), count == 400, "{count}: {response}");
    }
}

#[tokio::test]
async fn a_status_keeps_the_name_that_it_was_given_and_gets_none_otherwise() {
    let world = World::of(vec![
        Planned(
            "own",
            &[],
            says("HTTP/1.1 299 Mostly Fine\r\ncontent-length: 0\r\n\r\n"),
        ),
        Planned("none", &[], says("HTTP/1.1 999\r\ncontent-length: 0\r\n\r\n")),
        Planned(
            "usual",
            &[],
            says("HTTP/1.1 404 Not Here\r\ncontent-length: 0\r\n\r\n"),
        ),
        Planned("script", CGI, script("Status: 299 Mostly Fine\n\n", "")),
        Planned("bare", CGI, script("Status: 299\n\n", "")),
        Planned("known", CGI, script("Status: 404\n\n", "")),
    ])
    .await;
    for (path, line) in [
        ("/own", "299 Mostly Fine"),
        ("/none", "999 "),
        ("/usual", "404 Not Here"),
        ("/script", "299 Mostly Fine"),
        ("/bare", "299 "),
        ("/known", "404 Not Found"),
    ] {
        let response = get(world.address, path).await;
        assert!(
            response.starts_with(&format!("HTTP/1.1 {line}\r\n")),
            "{path}: {response}"
        );
    }
}
