//! HTTP/2 without TLS, from callers and to instances.

use http::StatusCode;
use http_body_util::BodyExt;
use skep_tests::{Skep, empty, full, probe_image};

/// An image of the voting example, which `make test` builds: it has Node.js.
const NODE: &str = "skep-example/result:latest";

#[tokio::test]
async fn a_caller_may_speak_http2_to_every_handler() {
    let skep = Skep::start("h2-caller").await;
    let probe = probe_image();
    skep.deploy("cat", &["handler=exec"], &[], &[&probe, "cat"]).await;
    skep.deploy("p", &[], &[], &[&probe, "http"]).await;
    let response = skep.public.open_h2("POST", "/cat", full("over http2")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "over http2"
    );

    let response = skep.public.open_h2("GET", "/p/chunks/3", empty()).await;
    assert_eq!(response.version(), http::Version::HTTP_2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "chunk 0\nchunk 1\nchunk 2\n");
    skep.finish().await;
}

#[tokio::test]
async fn an_instance_may_speak_http2() {
    let skep = Skep::start("h2-instance").await;
    let server = "require('http2').createServer((request, response) => {
        response.setHeader('x-version', request.httpVersion);
        request.pipe(response);
    }).listen(process.env.PORT)";
    let flags = ["--entrypoint", "node"];
    skep.deploy(
        "echo",
        &["protocol=h2c", "recycle=idle"],
        &flags,
        &[NODE, "-e", server],
    )
    .await;
    for text in ["first", "second"] {
        let answer = skep.public.post("/echo", text).await;
        assert_eq!(
            (answer.status, answer.text(), answer.header("x-version")),
            (StatusCode::OK, text, "2.0")
        );
    }
    let response = skep.public.open_h2("POST", "/echo", full("all the way")).await;
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "all the way"
    );
    skep.finish().await;
}
