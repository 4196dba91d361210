//! Requests that mean harm, or are only too large.

use http::{Request, StatusCode};
use skep_tests::{Skep, empty, probe_image};

#[tokio::test]
async fn what_could_smuggle_a_second_request_is_refused_and_reaches_no_function() {
    let skep = Skep::start("hostile-smuggle").await;
    skep.deploy("p", &["recycle=idle"], &[], &[&probe_image(), "http"])
        .await;
    let smuggled = "0\r\n\r\nGET /p/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let requests = [
        format!("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n{smuggled}"),
        format!("POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n{smuggled}"),
        format!("POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n{smuggled}"),
        format!("POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n{smuggled}"),
        format!("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\n{smuggled}"),
        "GET /p HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n".to_owned(),
        "GET /p HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n".to_owned(),
        "GET /p HTTP/1.1\r\nHost: a\r\n folded: yes\r\n\r\n".to_owned(),
    ];
    for request in requests {
        let answer = skep.public.raw(request.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 400"),
            "{request:?} was answered with {answer:?}"
        );
        assert!(
            !answer.contains("smuggled"),
            "{request:?} was answered with {answer:?}"
        );
    }
    // RFC 9112, section 6.3: the chunks count, and nothing that follows on this connection does.
    let both = format!(
        "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{smuggled}"
    );
    let answer = skep.public.raw(both.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer:?}");
    assert!(
        !answer.contains("smuggled") && !answer.contains("content-length: 4\r\n"),
        "{answer:?}"
    );
    let invocations = skep.control.get("/v1/invocations").await.text().to_owned();
    assert!(!invocations.contains("smuggled"), "{invocations}");
    assert_eq!(
        skep.public.get("/p").await.status,
        StatusCode::OK,
        "others are served on"
    );
    skep.finish().await;
}

#[tokio::test]
async fn a_header_without_end_and_a_body_above_the_limit_are_refused() {
    let skep = Skep::with("hostile-large", &["--max-body", "1m"]).await;
    skep.deploy("p", &["recycle=idle"], &[], &[&probe_image(), "http"])
        .await;
    let huge = Request::get("/p")
        .header("x-huge", "x".repeat(100_000))
        .body(empty())
        .unwrap();
    let answer = skep.public.send(huge).await;
    assert_eq!(
        answer.status,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "{answer:?}"
    );
    // Refused before the body is sent.
    for more in ["", "Prefer: respond-async\r\n"] {
        let head = format!("POST /p/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2097152\r\n{more}\r\n");
        let answer = skep.public.raw(head.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 413") && answer.contains("\"body-too-large\""),
            "{answer}"
        );
    }
    let fits = skep.public.post("/p/echo", vec![0; 1 << 20]).await;
    assert_eq!((fits.status, fits.body.len()), (StatusCode::OK, 1 << 20));
    skep.finish().await;
}

#[tokio::test]
async fn the_control_listener_answers_neither_other_hosts_nor_other_sites() {
    let skep = Skep::start("hostile-control").await;
    for (name, value) in [
        ("host", "evil.example.com"),
        ("origin", "https://evil.example.com"),
    ] {
        let request = Request::get("/v1/functions")
            .header(name, value)
            .body(empty())
            .unwrap();
        let answer = skep.control.send(request).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (StatusCode::FORBIDDEN, "forbidden-origin"),
            "{name}"
        );
    }
    assert_eq!(skep.control.get("/healthz").await.status, StatusCode::OK);
    assert_eq!(
        skep.public.get("/v1/functions").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(skep.public.get("/metrics").await.status, StatusCode::NOT_FOUND);
    skep.finish().await;
}
