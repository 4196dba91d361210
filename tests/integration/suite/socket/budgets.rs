//! Budgets: used up, they answer at once; given back, they serve again; a crash leaks none.

use skep_tests::{DEBIAN, Skep, eventually};

use super::{no_sockets, open, raw, run, shell};

#[tokio::test]
async fn a_budget_that_is_used_up_answers_at_once_and_is_given_back() {
    let skep = Skep::start("socket-budget").await;
    let labels = [
        "spawn=debian:bookworm-slim",
        "spawn.max=2",
        "spawn.memory=100m",
        "spawn.total=5",
    ];
    shell(&skep, "sh", &labels, &[]).await;
    let create = |flags: &str| format!("docker create {flags} {DEBIAN} sleep 50 >/dev/null");
    let said = run(&skep, "sh", &[create(""), create(""), create("")].join("\n")).await;
    assert!(said.contains("skep.spawn.max grants 2 at once"), "{said}");
    let said = run(
        &skep,
        "sh",
        &format!(
            "docker rm $(docker ps -aq) >/dev/null; {}; {}",
            create("-m 60m"),
            create("-m 60m")
        ),
    )
    .await;
    assert!(said.contains("skep.spawn.memory grants"), "{said}");
    // One after the other as soon as each has ended: no place is taken longer than its child.
    let script = format!(
        "docker rm $(docker ps -aq) >/dev/null; for i in 1 2 3 4 5 6; do docker run --rm -m 60m {DEBIAN} echo $i; done"
    );
    let said = run(&skep, "sh", &script).await;
    assert!(
        said.starts_with("1\n2\n3\n4\n5\n") && said.contains("skep.spawn.total grants 5"),
        "{said}"
    );
    // Another invocation has a total of its own.
    assert_eq!(
        run(&skep, "sh", &format!("docker run --rm {DEBIAN} echo again")).await,
        "again\n"
    );
    skep.finish().await;
}

#[tokio::test]
async fn children_without_limits_share_what_is_granted() {
    let skep = Skep::start("socket-share").await;
    shell(
        &skep,
        "sh",
        &["spawn=debian:bookworm-slim", "spawn.memory=64m", "spawn.max=2"],
        &[],
    )
    .await;
    // Twice as much as is granted, in a child that names no limit.
    let greedy = "head -c 128m /dev/zero | tail -c 128m | wc -c";
    let said = run(
        &skep,
        "sh",
        &format!("docker run --rm {DEBIAN} sh -c '{greedy}'; echo code $?"),
    )
    .await;
    assert!(!said.contains("134217728"), "{said}");
}

#[tokio::test]
async fn after_a_crash_children_are_found_again_and_still_count() {
    let mut skep = Skep::start("socket-crash").await;
    shell(
        &skep,
        "sh",
        &["spawn=debian:bookworm-slim", "spawn.max=1", "engine=docker"],
        &[],
    )
    .await;
    let first = run(
        &skep,
        "sh",
        &format!("docker run -d --name long {DEBIAN} sleep 300"),
    )
    .await;
    skep.kill();
    skep.restart().await;
    eventually("the function", async || {
        let answer = skep.control.get("/v1/functions/sh").await;
        (answer.status == http::StatusCode::OK).then_some(())
    })
    .await;
    let said = run(
        &skep,
        "sh",
        &format!("docker ps -q --no-trunc; docker run --rm {DEBIAN} echo more"),
    )
    .await;
    assert!(said.starts_with(first.trim()), "{said}");
    assert!(said.contains("skep.spawn.max grants 1"), "{said}");
    assert_eq!(
        run(
            &skep,
            "sh",
            &format!("docker rm -f long; docker run --rm {DEBIAN} echo more")
        )
        .await,
        "long\nmore\n"
    );
    // The sockets of the instances that the crash cut short are gone.
    no_sockets(&skep).await;
    skep.finish().await;
}

/// How many children of a function there are.
async fn there(skep: &Skep, function: &str) -> usize {
    let listed = skep.control.get("/v1/children").await.json();
    let children = listed["children"].as_array().unwrap().iter();
    let there = children.filter(|child| child["function"] == function && child["state"] != "removed");
    there.count()
}

#[tokio::test]
async fn a_child_ends_with_its_longest_life_and_with_its_function() {
    let skep = Skep::start("socket-life").await;
    shell(
        &skep,
        "short",
        &["spawn=debian:bookworm-slim", "spawn.life=2s"],
        &[],
    )
    .await;
    let id = shell(&skep, "gone", &["spawn=debian:bookworm-slim"], &[]).await;
    run(
        &skep,
        "short",
        &format!("docker run -d {DEBIAN} sleep 300; docker run -d {DEBIAN} true"),
    )
    .await;
    run(&skep, "gone", &format!("docker run -d {DEBIAN} sleep 300")).await;
    // A detached child outlives the invocation that started it.
    assert_eq!(there(&skep, "gone").await, 1);
    eventually("the end of its life", async || {
        (there(&skep, "short").await == 0).then_some(())
    })
    .await;
    assert_eq!(there(&skep, "gone").await, 1);
    skep.docker.remove(&id);
    eventually("the end of its function's children", async || {
        (there(&skep, "gone").await == 0).then_some(())
    })
    .await;
    assert!(skep.docker.containers("skep.child-of").is_empty());
}

#[tokio::test]
async fn a_thousand_connections_are_held_to_a_number_and_others_are_served() {
    let skep = Skep::start("socket-flood").await;
    shell(&skep, "sh", &["spawn=debian:bookworm-slim"], &[]).await;
    let (socket, running) = open(&skep, "sh").await;
    let mut held = Vec::new();
    for _ in 0..1000 {
        held.push(tokio::net::UnixStream::connect(&socket).await.unwrap());
    }
    let answer = raw(&socket, b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("too many connections"),
        "{answer}"
    );
    assert_eq!(run(&skep, "sh", "docker ps -q; echo fine").await, "fine\n");
    drop(held);
    eventually("a free place", async || {
        let answer = raw(
            &socket,
            b"GET /_ping HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n",
        )
        .await;
        answer.starts_with("HTTP/1.1 200").then_some(())
    })
    .await;
    running.abort();
}
