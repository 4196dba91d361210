//! Who may speak to the control listener, and who may not.

use crate::support::{FakeNode, get, listener, send};
use axum::body::Body;
use http::StatusCode;
use skep_control::{Access, Token};

async fn status(request: http::request::Builder) -> StatusCode {
    send(
        listener(FakeNode::default(), None),
        request.body(Body::empty()).unwrap(),
    )
    .await
    .0
}

fn with_host(host: &str) -> http::request::Builder {
    http::Request::get("/v1/functions").header("host", host)
}

#[tokio::test]
async fn loopback_and_the_listener_s_own_names_are_answered() {
    for host in [
        "127.0.0.1:8081",
        "localhost:8081",
        "localhost",
        "[::1]:8081",
        "127.1.2.3",
        "SKEP.example:1",
    ] {
        assert_eq!(status(with_host(host)).await, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn a_name_that_was_pointed_here_is_refused() {
    for host in [
        "evil.example",
        "evil.example:8081",
        "192.0.2.7:8081",
        "localhost.evil.example",
        "user@localhost",
    ] {
        assert_eq!(status(with_host(host)).await, StatusCode::FORBIDDEN, "{host}");
    }
    assert_eq!(
        status(http::Request::get("/v1/functions")).await,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_and_so_is_one_of_another_port() {
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "http://127.0.0.1:8080"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        assert_eq!(
            status(get("/v1/functions").header(name, value)).await,
            StatusCode::FORBIDDEN,
            "{name}: {value}"
        );
    }
    for (name, value) in [("origin", "http://127.0.0.1:8081"), ("sec-fetch-site", "none")] {
        assert_eq!(
            status(get("/v1/functions").header(name, value)).await,
            StatusCode::OK,
            "{name}: {value}"
        );
    }
}

#[tokio::test]
async fn the_liveness_probe_has_to_come_from_here_as_well() {
    let request = http::Request::get("/healthz").header("host", "evil.example");
    assert_eq!(status(request).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn with_a_token_only_who_knows_it_is_answered() {
    let ask = async |request: http::request::Builder| {
        send(
            listener(FakeNode::default(), Some("secret\n")),
            request.body(Body::empty()).unwrap(),
        )
        .await
    };
    let (status, headers, body) = ask(get("/v1/functions")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(
        headers["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("Bearer")
    );
    assert!(
        String::from_utf8(body)
            .unwrap()
            .contains("\"code\":\"unauthorized\"")
    );
    for wrong in [
        "Bearer secre",
        "Bearer secret2",
        "Basic secret",
        "secret",
        "Bearer",
    ] {
        let (status, _, _) = ask(get("/v1/functions").header("authorization", wrong)).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    assert_eq!(
        ask(get("/v1/functions").header("authorization", "bearer secret"))
            .await
            .0,
        StatusCode::OK
    );
    assert_eq!(
        ask(get("/healthz")).await.0,
        StatusCode::OK,
        "probes carry no secrets"
    );
}

#[tokio::test]
async fn the_token_is_not_passed_to_the_function_that_is_invoked() {
    let request = get("/v1/functions/hello/invoke").header("authorization", "Bearer secret");
    let node = listener(FakeNode::default(), Some("secret"));
    let (_, _, body) = send(node, request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        String::from_utf8(body).unwrap(),
        "hello GET / authorization=false"
    );
}

#[test]
fn beyond_loopback_no_listener_opens_without_a_token() {
    let (own, any, outside) = ("127.0.0.1:0", "0.0.0.0:8081", "[2001:db8::1]:8081");
    let open = |address: &str, token| Access::new(address.parse().unwrap(), token, []);
    assert!(open(own, None).is_ok());
    assert!(open("[::ffff:127.0.0.1]:0", None).is_ok());
    assert!(open(any, None).is_err() && open(outside, None).is_err());
    assert!(open(any, Token::new("secret")).is_ok());
    assert!(Token::new(" \n").is_none(), "an empty token is none");
}
