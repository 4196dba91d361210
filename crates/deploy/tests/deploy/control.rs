//! A control listener of the test's own says what is in force.

use crate::harness::{Sandbox, docker, states};
use skep_deploy::{DeployError, Event};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const HELLO: &str = "
services:
  hello:
    image: debian:bookworm-slim
    command: echo hello
    labels: {skep.function: hello, skep.handler: exec, skep.namespace: nobody-serves-this}
";

/// Answers with what `state` makes of the newest template, after `silent`
/// empty answers.
async fn listener(sandbox: &Sandbox, state: &'static str, mut silent: u32) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let filter = format!("label=com.docker.compose.project={}", sandbox.name);
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 2048];
            let read = stream.read(&mut request).await.unwrap_or(0);
            assert!(request[..read].starts_with(b"GET /v1/functions HTTP/1.1\r\n"));
            let newest = docker(&["ps", "-aq", "--latest", "--filter", &filter]);
            let body = if silent > 0 {
                silent -= 1;
                String::from("{\"functions\":[]}")
            } else {
                format!(
                    "{{\"functions\":[{{\"name\":\"hello\",\"template\":\"{newest}\",\
                     \"state\":\"{state}\",\"reasons\":[\"the label skep.max is no number\"]}}]}}"
                )
            };
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, serving)
}

#[tokio::test]
async fn the_old_template_goes_only_when_the_new_one_is_in_force() {
    let mut sandbox = Sandbox::new("inforce").await;
    sandbox.up(HELLO).await;
    sandbox.progress.events();
    let (url, serving) = listener(&sandbox, "ready", 3).await;
    sandbox.options.control = Some(url);
    sandbox.up(&HELLO.replace("echo hello", "echo bye")).await;
    let events = sandbox.progress.events();
    let position = |wanted: fn(&Event) -> bool| events.iter().position(wanted);
    let in_force = position(|event| matches!(event, Event::InForce { .. })).expect("in force");
    let removed = position(|event| matches!(event, Event::Removed { .. })).expect("removed");
    assert!(in_force < removed, "{events:?}");
    assert_eq!(sandbox.containers(), states(&[("hello-2", "created")]));
    serving.abort();
}

#[tokio::test]
async fn a_template_that_skep_refuses_is_taken_away_and_the_old_one_stays() {
    let mut sandbox = Sandbox::new("refused").await;
    sandbox.up(HELLO).await;
    let (url, serving) = listener(&sandbox, "invalid", 0).await;
    sandbox.options.control = Some(url);
    let error = sandbox
        .try_up(&HELLO.replace("echo hello", "echo bye"))
        .await
        .expect_err("it is invalid");
    assert!(matches!(error, DeployError::Invalid { .. }));
    assert!(error.to_string().contains("skep.max is no number"), "{error}");
    assert_eq!(sandbox.containers(), states(&[("hello-1", "created")]));
    serving.abort();
}

#[tokio::test]
async fn where_nobody_answers_nothing_is_waited_for() {
    let mut sandbox = Sandbox::new("silent").await;
    sandbox.options.control = Some(String::from("http://127.0.0.1:1"));
    sandbox.up(HELLO).await;
    assert_eq!(sandbox.containers(), states(&[("hello-1", "created")]));
}

#[tokio::test]
async fn a_listener_that_never_hears_of_the_template_leaves_the_old_one_in_place() {
    let mut sandbox = Sandbox::new("late").await;
    sandbox.up(HELLO).await;
    let (url, serving) = listener(&sandbox, "ready", u32::MAX).await;
    sandbox.options.control = Some(url);
    sandbox.options.in_force_timeout = std::time::Duration::from_millis(300);
    sandbox.up(&HELLO.replace("echo hello", "echo bye")).await;
    assert_eq!(
        sandbox.containers(),
        states(&[("hello-1", "created"), ("hello-2", "created")])
    );
    serving.abort();
}
