//! `SKEP_URL` where no address of the host's leads to Skep: a listener inside the instance's own network.

use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use skep_tests::{Answer, Body, DEBIAN, Skep, eventually, probe_image};

const NONE: [&str; 2] = ["--network", "none"];

/// Defines `ask PATH [FIELD]...`, which calls `$SKEP_URL/PATH` and prints the whole answer.
const ASK: &str = r#"ask() {
  path=$1; shift
  exec 3<>"/dev/tcp/127.0.0.1/${SKEP_URL##*:}"
  { printf 'GET /%s HTTP/1.1\r\nhost: skep\r\nconnection: close\r\n' "$path"
    for field in "$@"; do printf '%s\r\n' "$field"; done; printf '\r\n'; } >&3
  cat <&3; exec 3>&-
}
"#;

/// Parks a command of bash that can `ask`.
async fn caller(skep: &Skep, name: &str, script: &str) {
    let script = format!("{ASK}{script}");
    let command = [DEBIAN, "bash", "-c", &script];
    skep.deploy(name, &["handler=exec"], &NONE, &command).await;
}

/// The records of the calls whose answers are in a text.
async fn called(skep: &Skep, text: &str) -> Vec<serde_json::Value> {
    let ids = text
        .lines()
        .filter_map(|line| line.strip_prefix("skep-invocation: "));
    let mut records = Vec::new();
    for id in ids {
        records.push(skep.record(id.trim()).await);
    }
    records
}

/// A body that ends when it is told to.
fn body() -> (Sender<Bytes>, Body) {
    let (sender, body) = Channel::new(1);
    (sender, body.boxed())
}

fn own(answer: &Answer) -> &str {
    answer.header("skep-invocation")
}

#[tokio::test]
async fn a_command_without_a_network_calls_as_the_first_thing_that_it_does_and_is_known_as_the_parent() {
    let skep = Skep::start("calls-first").await;
    skep.deploy(
        "hidden",
        &["handler=exec", "route=none"],
        &NONE,
        &[&probe_image(), "echo", "hidden"],
    )
    .await;
    // Without a claim, with the right one, and by its trace: before the launch has returned, and later.
    caller(&skep, "plain", "ask hidden; ask hidden").await;
    caller(
        &skep,
        "claims",
        r#"ask hidden "skep-invocation: $SKEP_INVOCATION"; ask hidden "traceparent: $TRACEPARENT""#,
    )
    .await;
    for name in ["plain", "claims"] {
        let answer = skep.public.get(&format!("/{name}")).await;
        let records = called(&skep, answer.text()).await;
        assert_eq!(records.len(), 2, "{answer:?}");
        for record in records {
            assert_eq!(record["function"], "hidden", "{name}: {record}");
            assert_eq!(record["parent"], own(&answer), "{name}: {record}");
        }
    }
    skep.finish().await;
}

#[tokio::test]
async fn nobody_without_a_network_passes_for_another() {
    let skep = Skep::start("calls-claims").await;
    skep.deploy(
        "hidden",
        &["handler=exec"],
        &NONE,
        &[&probe_image(), "echo", "hidden"],
    )
    .await;
    caller(&skep, "stays", "read -r line; echo $line").await;
    let (mut sender, body) = body();
    let request = http::Request::post("/stays").body(body).expect("a request");
    let public = skep.public;
    let staying = tokio::spawn(async move { public.send(request).await });
    let other = eventually("the other's invocation", async || {
        let list = skep.control.get("/v1/invocations?status=running").await.json();
        let mut all = list["invocations"].as_array()?.iter();
        let found = all.find(|one| one["function"] == "stays")?;
        found["id"].as_str().map(str::to_owned)
    })
    .await;
    caller(
        &skep,
        "lies",
        &format!(r#"ask hidden "skep-invocation: {other}"; ask hidden "skep-invocation: nonsense""#),
    )
    .await;
    let answer = skep.public.get("/lies").await;
    let records = called(&skep, answer.text()).await;
    assert_eq!(records.len(), 2, "{answer:?}");
    for record in records {
        assert!(record["parent"].is_null(), "a lie was believed: {record}");
    }
    sender.send_data("done\n".into()).await.expect("it is read");
    drop(sender);
    assert_eq!(staying.await.expect("it ends").text(), "done\n");
    skep.finish().await;
}

#[tokio::test]
async fn servers_without_a_network_call_too_and_the_control_listener_is_not_there() {
    let skep = Skep::start("calls-http").await;
    let probe = probe_image();
    skep.deploy("front", &["recycle=idle"], &NONE, &[&probe, "http"])
        .await;
    // One that takes the port on which the listener is by default.
    skep.deploy(
        "taken",
        &["port=61082"],
        &NONE,
        &[&probe, "http", "--port", "61082"],
    )
    .await;
    skep.deploy("hidden", &["handler=exec", "route=none"], &NONE, &[&probe, "env"])
        .await;
    for name in ["front", "taken", "front"] {
        let environment = skep.public.get(&format!("/{name}/env")).await;
        let url = environment
            .text()
            .lines()
            .find_map(|line| line.strip_prefix("SKEP_URL=http://"))
            .expect("SKEP_URL")
            .to_owned();
        let answer = skep.public.get(&format!("/{name}/fetch/{url}/hidden")).await;
        assert!(answer.text().starts_with("HTTP/1.1 200"), "{name}: {answer:?}");
        assert_eq!(
            called(&skep, answer.text()).await[0]["parent"],
            own(&answer),
            "{answer:?}"
        );
        for path in ["v1/functions", "metrics", "healthz", ""] {
            let answer = skep.public.get(&format!("/{name}/fetch/{url}/{path}")).await;
            assert!(answer.text().starts_with("HTTP/1.1 404"), "{path}: {answer:?}");
        }
    }
    skep.finish().await;
}

#[tokio::test]
async fn where_the_gateways_address_is_taken_those_in_a_sandbox_call_inside_it() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let skep = Skep::with("calls-sandbox", &["--call-port", &port]).await;
    let network = skep.docker.network("calls", &[]);
    let on = ["--network", network.as_str()];
    skep.deploy(
        "hidden",
        &["handler=exec"],
        &on,
        &[&probe_image(), "echo", "hidden"],
    )
    .await;
    let script = format!("{ASK}ask hidden \"skep-invocation: $SKEP_INVOCATION\"");
    skep.deploy("asks", &["handler=exec"], &on, &[DEBIAN, "bash", "-c", &script])
        .await;
    let answers = futures::future::join_all((0..3).map(|_| skep.public.get("/asks"))).await;
    for answer in answers {
        assert_eq!(
            called(&skep, answer.text()).await[0]["parent"],
            own(&answer),
            "{answer:?}"
        );
    }
    skep.finish().await;
}

#[tokio::test]
async fn what_is_not_http_is_refused_inside_as_it_is_outside() {
    let skep = Skep::start("calls-bad").await;
    skep.deploy(
        "hidden",
        &["handler=exec"],
        &NONE,
        &[&probe_image(), "echo", "hidden"],
    )
    .await;
    let script = r#"say() { exec 3<>"/dev/tcp/127.0.0.1/${SKEP_URL##*:}"; printf "$@" >&3; head -n 1 <&3; exec 3>&-; }
say 'GET /hidden HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'
say 'nonsense\r\n\r\n'
say 'GET /hidden HTTP/1.1\r\nhost: a\r\nx: %0100000d\r\n\r\n' 0
say 'GET /../hidden HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'
say 'GET /none HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'
exec 3<>"/dev/tcp/127.0.0.1/${SKEP_URL##*:}"; exec 3>&-
ask hidden | grep -x hidden"#;
    caller(&skep, "bad", script).await;
    let answer = skep.public.get("/bad").await;
    let text = answer.text().replace('\r', "");
    let answers: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start_matches("HTTP/1.1 "))
        .collect();
    let codes: Vec<&str> = answers
        .iter()
        .map(|line| line.split(' ').next().unwrap_or_default())
        .collect();
    assert_eq!(codes, ["400", "400", "431", "404", "404", "hidden"], "{answer:?}");
    skep.finish().await;
}

#[tokio::test]
async fn one_that_opens_every_connection_it_can_keeps_nobody_else_from_calling() {
    let skep = Skep::start("calls-many").await;
    skep.deploy(
        "hidden",
        &["handler=exec"],
        &NONE,
        &[&probe_image(), "echo", "hidden"],
    )
    .await;
    let script = r#"use Socket; my ($port) = $ENV{SKEP_URL} =~ /(\d+)$/; my @open;
for (1 .. 4000) {
  socket my $call, PF_INET, SOCK_STREAM, 0 or last;
  connect $call, sockaddr_in $port, inet_aton '127.0.0.1' or last; push @open, $call;
}
<STDIN>; print scalar @open;"#;
    let flags = ["--network", "none", "--ulimit", "nofile=5000"];
    let labels = ["handler=exec", "timeout=120s"];
    skep.deploy("greedy", &labels, &flags, &[DEBIAN, "perl", "-e", script])
        .await;
    caller(&skep, "modest", "ask hidden | grep -x hidden").await;
    let (mut sender, body) = body();
    let request = http::Request::post("/greedy").body(body).expect("a request");
    let public = skep.public;
    let greedy = tokio::spawn(async move { public.send(request).await });
    eventually("its connections", async || {
        let metrics = skep.control.get("/metrics").await;
        let refused = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix("skep_connections_refused_total{listener=\"call\"} "));
        refused.is_some_and(|count| count != "0").then_some(())
    })
    .await;
    assert_eq!(skep.public.get("/modest").await.text().trim(), "hidden");
    sender.send_data("done\n".into()).await.expect("it is read");
    drop(sender);
    assert_eq!(greedy.await.expect("it ends").status, StatusCode::OK);
    skep.finish().await;
}

#[tokio::test]
async fn a_listener_goes_with_its_instance() {
    let skep = Skep::start("calls-gone").await;
    skep.deploy(
        "hidden",
        &["handler=exec"],
        &NONE,
        &[&probe_image(), "echo", "hidden"],
    )
    .await;
    caller(&skep, "plain", "ask hidden | grep -x hidden").await;
    let script = "exec 4<>\"/dev/tcp/127.0.0.1/${SKEP_URL##*:}\"; exit 3";
    caller(&skep, "broken", script).await;
    let descriptors = || {
        let folder = format!("/proc/{}/fd", skep.pid().as_raw_nonzero());
        std::fs::read_dir(folder).expect("it runs").count()
    };
    let round = async || {
        for _ in 0..5 {
            assert_eq!(skep.public.get("/plain").await.text().trim(), "hidden");
            assert_eq!(skep.public.get("/broken").await.problem(), "exit-code");
        }
        skep.nothing_made().await;
    };
    round().await;
    // Far less than what a round opens inside; Skep's own connections to Docker come and go.
    let (before, slack) = (descriptors(), 4);
    round().await;
    eventually("what was opened to be closed", async || {
        (descriptors() <= before + slack).then_some(())
    })
    .await;
    skep.finish().await;
}
