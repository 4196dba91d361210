//! What children that are Docker's keep while Skep is away: their place in the budget, and their own socket.

use skep_tests::{DEBIAN, Skep, eventually};

use super::{docker, docker_volume, no_sockets, run, shell};

async fn away_and_back(skep: &mut Skep) {
    skep.kill();
    skep.restart().await;
    eventually("the function", async || {
        let answer = skep.control.get("/v1/functions/sh").await;
        (answer.status == http::StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_childs_own_socket_is_there_again_after_a_crash() {
    let mut skep = Skep::start("socket-back").await;
    let volume = docker_volume(&skep);
    let volumes = format!("spawn.volumes={volume}");
    let labels = [
        "spawn=debian:bookworm-slim",
        "spawn.depth=2",
        "engine=docker",
        &volumes,
    ];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    let mounts = format!("-v /var/run/docker.sock:/var/run/docker.sock -v {volume}:/cli");
    let script = format!(
        "docker run -d --name usual {mounts} {DEBIAN} sleep 300
         docker run -d --name read {mounts} --read-only {DEBIAN} sleep 300
         docker run -d --name covered {mounts} --tmpfs /run --user 1234 {DEBIAN} sleep 300
         docker inspect -f '{{{{.HostConfig.Binds}}}}' usual read
         docker inspect -f '{{{{range .Mounts}}}}{{{{.Destination}}}} {{{{end}}}}' covered"
    );
    let said = run(&skep, "sh", &script).await;
    let lines: Vec<&str> = said.lines().collect();
    let [usual, read, covered, binds, again, places] = lines[..] else {
        panic!("{said}")
    };
    let own = "/var/run/docker.sock:/var/run/docker.sock";
    assert_eq!(binds.matches(own).count(), 1, "{said}");
    assert_eq!(binds.matches(':').count(), again.matches(':').count(), "{said}");
    assert!(
        !places.contains("/run/skep") && places.contains("/var/run/docker.sock"),
        "{said}"
    );
    let within = |child: &str, script: &str| {
        let script = format!("exec 2>&1; {script}; true");
        skep.docker.run(&["exec", child, "sh", "-c", &script])
    };
    // In the usual place, whatever the environment says.
    let ask =
        "/cli/docker ps -aq; env -u DOCKER_HOST /cli/docker create --name NAME debian:bookworm-slim true";
    let ask_there = "/cli/docker ps -aq; /cli/docker create --name NAME debian:bookworm-slim true";
    for child in [usual, read, covered] {
        let made = within(child, &ask.replace("NAME", "before"));
        assert!(made.len() == 64, "{made}");
        within(child, "/cli/docker rm before");
        // Its folder is not a child's to write to.
        let refused = within(child, "rm -f /run/skep/docker.sock; touch /run/skep/x");
        assert!(
            refused.contains("Read-only") || refused.contains("denied"),
            "{refused}"
        );
    }
    away_and_back(&mut skep).await;
    let within = |child: &str, script: &str| {
        let script = format!("exec 2>&1; {script}; true");
        skep.docker.run(&["exec", child, "sh", "-c", &script])
    };
    for (child, ask, name) in [
        (usual, ask, "first"),
        (read, ask_there, "second"),
        (covered, ask_there, "third"),
    ] {
        let made = eventually("the socket", async || {
            let made = within(child, &ask.replace("NAME", name));
            (!made.contains("Cannot connect")).then_some(made)
        })
        .await;
        assert!(made.len() == 64, "{made}");
    }
    // It may do what it could before, sees its own and nobody else's, and goes with its child.
    let said = within(
        usual,
        "/cli/docker ps -a --format '{{.Names}}'; /cli/docker run --privileged debian:bookworm-slim",
    );
    assert!(said.starts_with("first\n") && !said.contains("second"), "{said}");
    assert!(said.contains("makes a child privileged"), "{said}");
    run(&skep, "sh", "docker rm -f $(docker ps -aq)").await;
    no_sockets(&skep).await;
    skep.finish().await;
}

#[tokio::test]
async fn removed_children_count_after_a_crash_where_a_childs_own_socket_outlived_it() {
    let mut skep = Skep::start("socket-recount").await;
    let labels = [
        "spawn=debian:bookworm-slim",
        "spawn.depth=2",
        "spawn.total=3",
        "engine=docker",
    ];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    let own = "/var/run/docker.sock:/var/run/docker.sock";
    run(
        &skep,
        "sh",
        &format!("docker run -d --name top -v {own} {DEBIAN} sleep 300"),
    )
    .await;
    let sockets = skep.data().join("sockets");
    let own = eventually("the child's socket alone", async || {
        let left: Vec<_> = std::fs::read_dir(&sockets).unwrap().flatten().collect();
        (left.len() == 1).then(|| left[0].path().join("docker.sock"))
    })
    .await;
    docker(&own, &["run", "--rm", DEBIAN, "true"]).await.unwrap();
    away_and_back(&mut skep).await;
    let more = eventually("the socket", async || {
        let more = docker(&own, &["run", "--rm", DEBIAN, "true"]).await;
        let closed = more.as_ref().is_err_and(|error| error.contains("Cannot connect"));
        (!closed).then_some(more)
    })
    .await;
    assert_eq!(more, Ok(String::new()));
    let refusal = docker(&own, &["run", "--rm", DEBIAN, "true"]).await.unwrap_err();
    assert!(refusal.contains("skep.spawn.total grants 3"), "{refusal}");
    run(&skep, "sh", "docker rm -f top").await;
    skep.finish().await;
}

#[tokio::test]
async fn a_child_that_docker_starts_again_counts_after_a_crash_too() {
    let mut skep = Skep::start("socket-restarts").await;
    let labels = ["spawn=debian:bookworm-slim", "spawn.max=1", "engine=docker"];
    shell(&skep, "sh", &labels, &[]).await;
    let script = format!(
        "docker run -d --name again --restart on-failure:9 {DEBIAN} true >/dev/null; docker wait again"
    );
    assert_eq!(run(&skep, "sh", &script).await, "0\n");
    let more = format!("docker run --rm {DEBIAN} echo more");
    let said = run(&skep, "sh", &more).await;
    assert!(said.contains("skep.spawn.max grants 1"), "{said}");
    away_and_back(&mut skep).await;
    let said = run(&skep, "sh", &more).await;
    assert!(said.contains("skep.spawn.max grants 1"), "{said}");
    let said = run(&skep, "sh", &format!("docker rm again; {more}")).await;
    assert_eq!(said, "again\nmore\n");
    skep.finish().await;
}
