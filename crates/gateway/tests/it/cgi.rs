//! `cgi` behind the public listener.

use http::Request;
use http_body_util::StreamBody;
use skep_model::EndingKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{body, field, get, http1, invocation, raw, text};
use crate::engine::{Behaviour, program};
use crate::world::{Planned, World};

const CGI: &[(&str, &str)] = &[("skep.handler", "cgi")];

/// Prints a text and exits.
fn prints(text: &'static str, code: i64) -> Behaviour {
    program(move |mut command| async move {
        command.stdout.write_all(text.as_bytes()).await.unwrap();
        code
    })
}

/// Shows some of its variables and its input.
fn shows(variables: &'static [&'static str]) -> Behaviour {
    program(move |mut command| async move {
        let mut input = String::new();
        command.stdin.read_to_string(&mut input).await.unwrap();
        let mut output = "Content-Type: text/plain\n\n".to_owned();
        for name in variables {
            let value = command.environment.get(*name).map_or("unset", String::as_str);
            output.push_str(&format!("{name}={value}\n"));
        }
        command
            .stdout
            .write_all(format!("{output}{input}").as_bytes())
            .await
            .unwrap();
        0
    })
}

/// Shows all its variables.
pub(crate) fn environment() -> Behaviour {
    program(|mut command| async move {
        let mut output = "Content-Type: text/plain\n\n".to_owned();
        for (name, value) in &command.environment {
            output.push_str(&format!("{name}={value}\n"));
        }
        command.stdout.write_all(output.as_bytes()).await.unwrap();
        0
    })
}

#[tokio::test]
async fn a_script_finds_the_request_in_its_environment() {
    let variables = &[
        "REQUEST_METHOD",
        "SCRIPT_NAME",
        "PATH_INFO",
        "QUERY_STRING",
        "CONTENT_LENGTH",
        "SERVER_NAME",
        "REMOTE_ADDR",
        "HTTP_X_OWN",
        "HTTP_PROXY",
        "GATEWAY_INTERFACE",
        "SERVER_PROTOCOL",
    ];
    let world = World::of(vec![Planned("env", CGI, shows(variables))]).await;
    let request = "POST /env/a%20b?c=d HTTP/1.1\r\nhost: cgi.test\r\nproxy: evil\r\nx-own: 1\r\nx-own: 2\r\n\
                   content-length: 4\r\nconnection: close\r\n\r\nbody";
    let response = raw(world.address, request).await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert_eq!(field(&response, "content-type"), Some("text/plain"));
    for line in [
        "REQUEST_METHOD=POST",
        "SCRIPT_NAME=/env",
        "PATH_INFO=/a b",
        "QUERY_STRING=c=d",
        "CONTENT_LENGTH=4",
        "SERVER_NAME=cgi.test",
        "REMOTE_ADDR=127.0.0.1",
        "HTTP_X_OWN=1, 2",
        "HTTP_PROXY=unset",
        "GATEWAY_INTERFACE=CGI/1.1",
        "SERVER_PROTOCOL=HTTP/1.1",
    ] {
        assert!(response.contains(line), "{line} is not in {response}");
    }
    assert!(response.contains("\nbody"), "{response}");
}

#[tokio::test]
async fn a_body_without_a_length_is_measured_first() {
    let world = World::of(vec![Planned("env", CGI, shows(&["CONTENT_LENGTH"]))]).await;
    let chunk = bytes::Bytes::from(vec![b'x'; 50_000]);
    let frames = futures::stream::iter((0..4).map(move |_| Ok(http_body::Frame::data(chunk.clone()))));
    let request = Request::post("/env")
        .header("host", "a")
        .body(StreamBody::new(frames))
        .unwrap();
    let shown = text(http1(world.address, request).await).await;
    assert!(
        shown.starts_with("CONTENT_LENGTH=200000\nxxx") && shown.len() > 200_000,
        "{}",
        &shown[..40]
    );
}

#[tokio::test]
async fn a_broken_header_is_a_bad_response_with_the_reason_in_the_record() {
    let world = World::of(vec![
        Planned("broken", CGI, prints("<html>hello</html>\n\n", 0)),
        Planned("none", CGI, prints("", 0)),
        Planned("failing", CGI, prints("", 2)),
        Planned(
            "endless",
            CGI,
            program(|mut command| async move {
                while command.stdout.write_all(b"X-Line: more and more\n").await.is_ok() {}
                0
            }),
        ),
    ])
    .await;
    for (path, code, reason) in [
        ("/broken", "\"bad-response\"", "has no colon"),
        ("/none", "\"bad-response\"", "without a header"),
        ("/endless", "\"bad-response\"", "longer than"),
        ("/failing", "\"exit-code\"", "code 2"),
    ] {
        let response = get(world.address, path).await;
        assert!(
            response.starts_with("HTTP/1.1 50") && response.contains(code),
            "{path}: {response}"
        );
        let detail = world.detail(invocation(&response)).await;
        assert!(detail.contains(reason), "{path}: {detail}");
    }
    world.engine.until_left(0).await;
}

#[tokio::test]
async fn a_script_redirects_the_server_or_the_client() {
    let world = World::of(vec![
        Planned("away", CGI, prints("Location: https://example.com/\n\n", 0)),
        Planned("inside", CGI, prints("Location: /shown/x?y=z\n\n", 0)),
        Planned("round", CGI, prints("Location: /round\n\n", 0)),
        Planned("lost", CGI, prints("Location: /nowhere\n\n", 0)),
        Planned(
            "shown",
            CGI,
            shows(&[
                "REQUEST_METHOD",
                "SCRIPT_NAME",
                "PATH_INFO",
                "QUERY_STRING",
                "HTTP_X_OWN",
            ]),
        ),
    ])
    .await;
    let away = get(world.address, "/away").await;
    assert!(
        away.starts_with("HTTP/1.1 302 ") && field(&away, "location") == Some("https://example.com/"),
        "{away}"
    );
    let request =
        "POST /inside HTTP/1.1\r\nhost: a\r\nx-own: 1\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    let inside = raw(world.address, request).await;
    let shown = body(&inside);
    for line in [
        "REQUEST_METHOD=GET",
        "SCRIPT_NAME=/shown",
        "PATH_INFO=/x",
        "QUERY_STRING=y=z",
        "HTTP_X_OWN=1",
    ] {
        assert!(shown.contains(line), "{line} is not in {inside}");
    }
    let record = world.record(invocation(&inside)).await;
    assert_eq!(
        (record.function.as_str(), record.parent.is_some()),
        ("shown", true)
    );
    assert!(get(world.address, "/round").await.starts_with("HTTP/1.1 502 "));
    assert!(get(world.address, "/lost").await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn an_exit_code_after_the_header_is_recorded_and_spoils_nothing() {
    let world = World::of(vec![Planned(
        "grumpy",
        CGI,
        prints("Content-Type: a/b\n\nall of it", 1),
    )])
    .await;
    let response = get(world.address, "/grumpy").await;
    assert!(
        response.contains("all of it") && response.ends_with("0\r\n\r\n"),
        "{response}"
    );
    let ending = world.record(invocation(&response)).await.ending.unwrap();
    assert_eq!((ending.kind, ending.exit_code), (EndingKind::ExitCode, Some(1)));
}

#[tokio::test]
async fn a_script_that_is_killed_cuts_its_body() {
    let world = World::of(vec![Planned(
        "killed",
        CGI,
        prints("Content-Type: a/b\n\nhalf of it", 137),
    )])
    .await;
    let response = raw(world.address, "GET /killed HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!response.ends_with("0\r\n\r\n"), "{response}");
}

#[tokio::test]
async fn a_status_and_a_head_are_honoured() {
    let world = World::of(vec![Planned(
        "made",
        CGI,
        prints("Status: 201 Created\nContent-Type: a/b\n\nbody", 0),
    )])
    .await;
    let response = raw(
        world.address,
        "HEAD /made HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(
        response.starts_with("HTTP/1.1 201 ") && body(&response).is_empty(),
        "{response}"
    );
}
