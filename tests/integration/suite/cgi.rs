//! The `cgi` handler (RFC 3875).

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use skep_tests::{DEBIAN, Skep, empty};

async fn script(topic: &str, script: &str) -> Skep {
    let skep = Skep::start(topic).await;
    skep.deploy("c", &["handler=cgi"], &[], &[DEBIAN, "sh", "-c", script])
        .await;
    skep
}

#[tokio::test]
async fn the_request_is_in_the_environment_and_the_answer_has_its_header() {
    let dump = "printf 'Content-Type: text/plain\\nStatus: 201 Made\\nX-Own: yes\\n\\n'; env; echo BODY; cat";
    let skep = script("cgi-env", dump).await;
    let request = Request::post("/c/sub/path?x=1&y=2")
        .header("content-type", "text/x")
        .header("x-custom-name", "value")
        .header("proxy", "http://evil")
        .header("authorization", "Basic c2VjcmV0")
        .body(skep_tests::full("the body"))
        .unwrap();
    let answer = skep.public.send(request).await;
    assert_eq!(
        (answer.status, answer.header("x-own")),
        (StatusCode::CREATED, "yes")
    );
    let text = answer.text();
    for line in [
        "GATEWAY_INTERFACE=CGI/1.1",
        "REQUEST_METHOD=POST",
        "SCRIPT_NAME=/c",
        "PATH_INFO=/sub/path",
        "QUERY_STRING=x=1&y=2",
        "CONTENT_LENGTH=8",
        "CONTENT_TYPE=text/x",
        "HTTP_X_CUSTOM_NAME=value",
        "REMOTE_ADDR=127.0.0.1",
        "SERVER_PROTOCOL=HTTP/1.1",
        "SKEP_FUNCTION=c",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    assert!(
        !text.contains("HTTP_PROXY") && text.ends_with("BODY\nthe body"),
        "{text}"
    );
    skep.finish().await;
}

#[tokio::test]
async fn a_body_of_unknown_length_arrives_with_its_length() {
    let skep = script(
        "cgi-chunked",
        "printf 'Content-Type: text/plain\\n\\n'; echo $CONTENT_LENGTH; wc -c",
    )
    .await;
    let (mut sender, body) = Channel::<Bytes, std::convert::Infallible>::new(1);
    let feeding = tokio::spawn(async move {
        for _ in 0..300 {
            sender.send_data(Bytes::from(vec![1; 10_000])).await.unwrap();
        }
    });
    let answer = skep
        .public
        .send(Request::post("/c").body(body.boxed()).unwrap())
        .await;
    feeding.await.unwrap();
    assert_eq!(answer.text(), "3000000\n3000000\n");
    skep.finish().await;
}

#[tokio::test]
async fn a_broken_header_is_a_502_and_a_redirect_is_one() {
    let skep = script("cgi-broken", "echo this is no header; echo; echo body").await;
    let answer = skep.public.get("/c").await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (StatusCode::BAD_GATEWAY, "bad-response")
    );
    let silent = skep
        .deploy("silent", &["handler=cgi"], &[], &[DEBIAN, "true"])
        .await;
    assert_eq!(
        skep.public.get("/silent").await.problem(),
        "bad-response",
        "{silent}"
    );
    let redirect = "printf 'Location: https://example.com/\\n\\n'";
    skep.deploy("away", &["handler=cgi"], &[], &[DEBIAN, "sh", "-c", redirect])
        .await;
    let answer = skep
        .public
        .send(Request::get("/away").body(empty()).unwrap())
        .await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::FOUND, "https://example.com/")
    );
    skep.nothing_made().await;
    skep.finish().await;
}
