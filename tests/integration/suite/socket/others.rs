//! What another function has does not exist: asked for by whatever name, at every endpoint there is.

use skep_tests::{DEBIAN, Skep};

use super::{call, open, run, shell};

/// Every endpoint of one container, with a body that it would take.
const ENDPOINTS: &[(&str, &str, &str)] = &[
    ("GET", "json", ""),
    ("GET", "json?size=1", ""),
    ("GET", "logs?stdout=1&stderr=1", ""),
    ("POST", "start", ""),
    ("POST", "stop?t=0", ""),
    ("POST", "restart?t=0", ""),
    ("POST", "kill", ""),
    ("POST", "wait", ""),
    ("POST", "attach?stream=1&stdout=1&logs=1", ""),
    ("POST", "resize?h=10&w=10", ""),
    ("POST", "rename?name=stolen", ""),
    ("POST", "pause", ""),
    ("POST", "unpause", ""),
    ("GET", "top", ""),
    ("GET", "stats?stream=0", ""),
    ("GET", "changes", ""),
    ("GET", "export", ""),
    ("HEAD", "archive?path=%2Fetc", ""),
    ("GET", "archive?path=%2Fetc%2Fpasswd", ""),
    ("PUT", "archive?path=%2F", ""),
    ("POST", "exec", r#"{"Cmd":["id"],"AttachStdout":true}"#),
    ("DELETE", "?force=1", ""),
];

#[tokio::test]
async fn no_endpoint_knows_another_functions_child_or_what_skep_does_not_own() {
    let skep = Skep::start("socket-endpoints").await;
    shell(&skep, "one", &["spawn=debian:bookworm-slim"], &[]).await;
    shell(&skep, "two", &["spawn=debian:bookworm-slim"], &[]).await;
    let started = format!("docker run -d --name target {DEBIAN} sleep 100");
    let id = run(&skep, "one", &started).await.trim().to_owned();
    let (mine, running) = open(&skep, "one").await;
    let exec = call(
        &mine,
        "POST",
        "/containers/target/exec",
        r#"{"Cmd":["id"],"AttachStdout":true}"#,
    )
    .await;
    let exec: serde_json::Value = serde_json::from_str(&exec.1).expect("a process");
    let exec = exec["Id"].as_str().expect("its id");
    let label = format!("skep.namespace={}", skep.docker.namespace());
    let service = skep
        .docker
        .run(&["run", "-d", "--label", &label, DEBIAN, "sleep", "100"]);
    let (theirs, other) = open(&skep, "two").await;
    let real = format!("skep_{}_one_target", skep.docker.namespace());
    for whom in [
        &id,
        &id[..12],
        &id[..3],
        "target",
        &service,
        &service[..12],
        &real,
    ] {
        for (method, tail, body) in ENDPOINTS {
            let separator = if tail.starts_with('?') { "" } else { "/" };
            let path = format!("/containers/{whom}{separator}{tail}");
            let (status, said) = call(&theirs, method, &path, body).await;
            assert_eq!(status, 404, "{method} {path}: {said}");
            assert!(
                *method == "HEAD" || said.contains("No such container"),
                "{path}: {said}"
            );
        }
        for verb in ["connect", "disconnect"] {
            let body = format!(r#"{{"Container":"{whom}"}}"#);
            let (status, said) = call(&theirs, "POST", &format!("/networks/bridge/{verb}"), &body).await;
            assert_eq!(status, 404, "{verb} {whom}: {said}");
        }
        let body = format!(r#"{{"Image":"{DEBIAN}","HostConfig":{{"NetworkMode":"container:{whom}"}}}}"#);
        let (status, said) = call(&theirs, "POST", "/containers/create", &body).await;
        assert_eq!(status, 404, "the network of {whom}: {said}");
        let filters = format!("/containers/json?all=1&filters=%7B%22id%22%3A%5B%22{whom}%22%5D%7D");
        assert_eq!(call(&theirs, "GET", &filters, "").await.1, "[]", "{whom}");
    }
    for (method, tail) in [("GET", "json"), ("POST", "start"), ("POST", "resize?h=1&w=1")] {
        let (status, said) = call(&theirs, method, &format!("/exec/{exec}/{tail}"), "{}").await;
        assert_eq!(status, 404, "{tail}: {said}");
    }
    // Where the endpoints are asked rightly they answer: the list above would prove nothing otherwise.
    for (method, tail, body) in ENDPOINTS {
        let asks = ["wait", "attach", "stop", "pause", "PUT", "restart"];
        if asks.iter().any(|ask| tail.starts_with(ask) || method == ask) {
            continue;
        }
        let separator = if tail.starts_with('?') { "" } else { "/" };
        let path = format!("/containers/{id}{separator}{tail}");
        let (status, said) = call(&mine, method, &path, body).await;
        assert!(!matches!(status, 403 | 404), "{method} {path}: {status} {said}");
    }
    running.abort();
    other.abort();
}
