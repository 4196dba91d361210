//! What each path answers.

use crate::support::{FakeNode, get, json, listener, send};
use axum::body::Body;
use futures::StreamExt;
use http::{Request, StatusCode};
use skep_model::InvocationId;
use tower::ServiceExt;

fn fake() -> axum::Router {
    listener(FakeNode::default(), None)
}

#[tokio::test]
async fn functions_are_listed_with_the_invalid_ones_and_their_reasons() {
    let (status, body) = json(fake(), "/v1/functions").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["functions"][0]["state"], "invalid");
    assert_eq!(
        body["functions"][0]["reasons"][0],
        "skep.max=x: must be a whole number"
    );
    assert_eq!(body["functions"][1]["name"], "hello");
}

#[tokio::test]
async fn what_does_not_exist_is_a_problem_with_a_code() {
    let unknown = InvocationId::generate();
    for path in [
        "/v1/functions/nobody",
        "/v1/functions/nobody/invoke",
        &format!("/v1/invocations/{unknown}"),
        &format!("/v1/invocations/{unknown}/logs"),
        "/v1/logs?function=nobody",
        "/nowhere",
    ] {
        let (status, headers, body) = send(fake(), get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(headers["content-type"], "application/problem+json", "{path}");
        assert!(
            String::from_utf8(body)
                .unwrap()
                .contains("\"code\":\"not-found\""),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_query_that_is_not_understood_is_refused_and_names_the_mistake() {
    for (path, word) in [
        ("/v1/invocations?limt=3", "limt"),
        ("/v1/invocations?limit=0", "limit"),
        ("/v1/invocations?status=done", "done"),
        ("/v1/invocations?cursor=x", "\\\"x\\\""),
        ("/v1/logs?since=yesterday", "since"),
        ("/v1/invocations/42", "\\\"42\\\""),
    ] {
        let (status, _, body) = send(fake(), get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains(word), "{path}: {body}");
    }
}

#[tokio::test]
async fn pages_of_invocations_follow_each_other_without_a_gap() {
    let node = FakeNode::default();
    let newest_first: Vec<String> = node.invocations.iter().rev().map(ToString::to_string).collect();
    let listener = listener(node, None);
    let mut seen = Vec::new();
    let mut path = "/v1/invocations?limit=2".to_owned();
    loop {
        let (_, page) = json(listener.clone(), &path).await;
        let ids = page["invocations"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_str().unwrap().to_owned());
        seen.extend(ids);
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/invocations?limit=2&cursor={next}");
    }
    assert_eq!(seen, newest_first);
}

#[tokio::test]
async fn an_invocation_keeps_its_method_path_and_query() {
    let request = Request::put("/v1/functions/hello/invoke/a%2Fb/c?d=e%20f").header("host", "localhost");
    let (_, _, body) = send(fake(), request.body(Body::empty()).unwrap()).await;
    assert_eq!(
        String::from_utf8(body).unwrap(),
        "hello PUT /a%2Fb/c?d=e%20f authorization=false"
    );
    let (_, _, body) = send(
        fake(),
        get("/v1/functions/hello/invoke/?x").body(Body::empty()).unwrap(),
    )
    .await;
    assert_eq!(
        String::from_utf8(body).unwrap(),
        "hello GET /?x authorization=false"
    );
}

#[tokio::test]
async fn an_invalid_function_is_not_invoked_and_its_reasons_are_said() {
    let (status, body) = json(fake(), "/v1/functions/broken/invoke").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body["detail"].as_str().unwrap().contains("skep.max=x"), "{body}");
}

#[tokio::test]
async fn followed_logs_arrive_line_by_line_while_the_answer_goes_on() {
    let request = get("/v1/logs?function=hello&follow=true")
        .body(Body::empty())
        .unwrap();
    let response = fake().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let mut pieces = response.into_body().into_data_stream();
    let line = pieces.next().await.unwrap().unwrap();
    assert!(line.ends_with(b"\n"));
    let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(
        (line["stream"].as_str(), line["text"].as_str()),
        (Some("stderr"), Some("a line"))
    );
}

#[tokio::test]
async fn readiness_is_the_sum_of_its_checks() {
    assert_eq!(json(fake(), "/readyz").await.0, StatusCode::OK);
    let node = FakeNode {
        ready: false,
        ..FakeNode::default()
    };
    let (status, body) = json(listener(node, None), "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["checks"][0]["name"], "engine");
}

#[tokio::test]
async fn metrics_are_openmetrics() {
    let (status, headers, body) = send(fake(), get("/metrics").body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        headers["content-type"],
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    let body = String::from_utf8(body).unwrap();
    assert!(
        body.contains("skep_test_total 0") && body.ends_with("# EOF\n"),
        "{body}"
    );
}

#[tokio::test]
async fn sandboxes_have_their_shape_already() {
    assert_eq!(
        json(fake(), "/v1/sandboxes").await.1,
        serde_json::json!({ "sandboxes": [] })
    );
}
