//! What somebody tries who has the socket and wants the host.

use skep_tests::{DEBIAN, Skep};

use super::{docker, open, raw, run, shell};

#[tokio::test]
async fn every_way_out_is_refused_and_the_answer_names_the_reason() {
    let skep = Skep::start("socket-refused").await;
    shell(&skep, "sh", &["spawn=debian:bookworm-slim"], &[]).await;
    let (socket, running) = open(&skep, "sh").await;
    for (flags, reason) in [
        ("--privileged", "privileged"),
        ("--cap-add SYS_ADMIN", "capabilities"),
        ("--device /dev/kmsg", "devices"),
        ("--device-cgroup-rule c*:*rwm", ""),
        ("-v /:/host", "folders of the host"),
        ("--mount type=bind,src=/,dst=/host", "folders of the host"),
        ("-v /var/run/docker.sock:/var/run/docker.sock", "skep.spawn.depth"),
        ("-v data:/data", "skep.spawn.volumes"),
        ("--volumes-from other", "other containers"),
        ("--pid host", "namespace"),
        ("--ipc host", "namespace"),
        ("--uts host", "namespace"),
        ("--userns host", "namespace"),
        ("--cgroupns host", "namespace"),
        ("--network host", "host's network"),
        ("--network other", "skep.spawn.networks"),
        ("--security-opt seccomp=unconfined", "confinement"),
        ("--security-opt systempaths=unconfined", "confinement"),
        ("--cgroup-parent /", "Skep places children"),
        ("--runtime other", "engine's own choice"),
        ("--sysctl net.ipv4.ip_forward=1", "confinement"),
        ("-p 8080:80", "skep.spawn.ports"),
        ("-P", "skep.spawn.ports"),
        ("--label skep.child-of=other", "begins with skep."),
        ("--label com.docker.compose.project=x", "begins with com.docker."),
        ("-m 100g", "skep.spawn.memory"),
        ("--cpus 2", "skep.spawn.cpus"),
        ("--oom-score-adj -500", "not kept longer"),
        ("--log-driver syslog", "bounds the logs"),
        ("--link other", "other containers"),
    ] {
        let arguments: Vec<&str> = ["run", "--rm"]
            .into_iter()
            .chain(flags.split(' '))
            .chain([DEBIAN, "true"])
            .collect();
        let refusal = docker(&socket, &arguments).await.expect_err(flags);
        assert!(refusal.contains(reason), "{flags}: {refusal}");
    }
    for command in [
        "run alpine",
        "pull alpine",
        "rmi debian:bookworm-slim",
        "volume create x",
        "network create x",
        "tag debian:bookworm-slim x",
        "commit x",
        "save debian:bookworm-slim -o /tmp/skep-test-no-image",
        "swarm init",
        "plugin ls",
        "service ls",
        "node ls",
        "secret ls",
        "config ls",
        "system df",
        "image prune -f",
        "network prune -f",
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let refusal = docker(&socket, &arguments).await.expect_err(command);
        assert!(
            refusal.contains("Error response from daemon"),
            "{command}: {refusal}"
        );
    }
    assert!(skep.docker.containers("skep.child-of").is_empty());
    running.abort();
}

#[tokio::test]
async fn another_functions_children_do_not_exist() {
    let skep = Skep::start("socket-others").await;
    shell(&skep, "one", &["spawn=debian:bookworm-slim"], &[]).await;
    shell(&skep, "two", &["spawn=debian:bookworm-slim"], &[]).await;
    let id = run(
        &skep,
        "one",
        &format!("docker run -d --name target {DEBIAN} sleep 100"),
    )
    .await;
    let id = id.trim();
    let service = skep.docker.run(&[
        "run",
        "-d",
        "--label",
        &format!("skep.namespace={}", skep.docker.namespace()),
        DEBIAN,
        "sleep",
        "100",
    ]);
    // Its own function sees it, in another instance too.
    assert_eq!(
        run(&skep, "one", "docker ps --format '{{.Names}}'").await,
        "target\n"
    );
    for whom in [
        id,
        &id[..12],
        &id[..4],
        "target",
        &service,
        &service[..12],
        &format!("skep_{}_one_target", skep.docker.namespace()),
    ] {
        let commands = [
            "inspect",
            "logs",
            "stop -t 0",
            "kill",
            "rm",
            "pause",
            "top",
            "diff",
            "wait",
            "rename x",
        ];
        let mut script = String::new();
        for command in commands {
            let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
            let words = if verb == "rename" {
                format!("rename {whom} x")
            } else {
                format!("{verb} {rest} {whom}")
            };
            script += &format!("docker {words} >/dev/null 2>/tmp/said && echo DONE {words}\n");
        }
        script += &format!(
            "docker exec {whom} id; docker cp {whom}:/etc/passwd -; docker run --network container:{whom} {DEBIAN} id"
        );
        let said = run(&skep, "two", &script).await;
        assert!(!said.contains("DONE") && !said.contains("uid="), "{whom}: {said}");
    }
    assert_eq!(
        run(
            &skep,
            "two",
            "docker ps -aq; docker events --since 100s --until 0s"
        )
        .await,
        ""
    );
    // The same name is another container to another function.
    assert_eq!(
        run(
            &skep,
            "two",
            &format!("docker run --rm --name target {DEBIAN} echo mine")
        )
        .await,
        "mine\n"
    );
    assert_eq!(
        run(&skep, "one", "docker inspect -f '{{.State.Running}}' target").await,
        "true\n"
    );
}

#[tokio::test]
async fn requests_that_could_be_read_in_two_ways_are_refused() {
    let skep = Skep::start("socket-raw").await;
    shell(&skep, "sh", &["spawn=debian:bookworm-slim"], &[]).await;
    let (socket, running) = open(&skep, "sh").await;
    let answers = async |request: &str| raw(&socket, request.replace('\n', "\r\n").as_bytes()).await;
    for path in [
        "//containers/json",
        "/containers/../containers/json",
        "/containers/%6ason",
        "/v1.41/../v1.41/info",
        "/v1.99/info",
        "/v1.41//info",
        "/./info",
        "/info/",
        "http://docker/info",
        "/containers/json?all=1&all=0",
        "/containers/json?filters=%7B%22label%22%3A%5B%22a%22%5D%2C%22label%22%3A%5B%5D%7D",
    ] {
        let answer = answers(&format!(
            "GET {path} HTTP/1.1\nHost: docker\nConnection: close\n\n"
        ))
        .await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
    }
    // A second request behind a body whose length is said twice must never be answered.
    for framing in [
        "Content-Length: 4\nTransfer-Encoding: chunked",
        "Content-Length: 4\nContent-Length: 30",
        "Transfer-Encoding: chunked\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Content-Length: +4",
    ] {
        let request = format!(
            "POST /containers/create HTTP/1.1\nHost: docker\n{framing}\n\n0\n\nGET /version HTTP/1.1\nHost: docker\n\n"
        );
        let answer = answers(&request).await;
        assert!(!answer.contains("ApiVersion"), "{framing}: {answer}");
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{framing}: {answer}"
        );
    }
    for body in [
        r#"{"Image":"debian:bookworm-slim","HostConfig":{"Privileged":false,"privileged":true}}"#,
        r#"{"Image":"debian:bookworm-slim","HostConfig":{"Privileged":false,"Privileged":true}}"#,
        r#"{"Image":"debian:bookworm-slim","hostConfig":{"Privileged":true}}"#,
        r#"{"Image":"debian:bookworm-slim","HostConfig":{"MaskedPaths":[]}}"#,
    ] {
        let length = body.len();
        let answer = answers(&format!("POST /containers/create HTTP/1.1\nHost: docker\nContent-Length: {length}\nConnection: close\n\n{body}")).await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{body}: {answer}");
    }
    // What stands behind an upgrade that wasn't one is not handed on.
    let answer = answers("POST /containers/none/attach?stream=1 HTTP/1.1\nHost: docker\nConnection: Upgrade\nUpgrade: tcp\n\nPOST /containers/create HTTP/1.1\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let endless = format!(
        "POST /containers/create HTTP/1.1\nHost: docker\nContent-Length: 9999999999\n\n{}",
        "x".repeat(3 << 20)
    );
    assert!(answers(&endless).await.starts_with("HTTP/1.1 400"));
    assert!(skep.docker.containers("skep.child-of").is_empty());
    running.abort();
}
