//! Unmodified clients do what they do with Docker.

use skep_tests::{DEBIAN, Skep};

use super::{run, shell};

#[tokio::test]
async fn the_docker_command_runs_children() {
    let skep = Skep::start("socket-cli").await;
    shell(&skep, "sh", &["spawn=debian:bookworm-slim"], &[]).await;
    let script = format!(
        r#"
        docker run --rm {DEBIAN} echo hi
        echo in | docker run --rm -i {DEBIAN} cat
        docker run --rm {DEBIAN} sh -c 'exit 7'; echo "code $?"
        docker run --rm -t {DEBIAN} sh -c 'test -t 1 && echo tty' | tr -d '\r'
        "#
    );
    assert_eq!(run(&skep, "sh", &script).await, "hi\nin\ncode 7\ntty\n");
    let script = format!(
        r#"
        docker run -d --name web {DEBIAN} sh -c 'echo out; echo err >&2; sleep 100' >/dev/null
        docker ps --format '{{{{.Names}}}} {{{{.Image}}}} {{{{.State}}}}'
        timeout 10 docker logs -f web & until [ "$(docker logs web 2>&1 | wc -l)" = 2 ]; do :; done
        docker exec web echo inside
        echo content > /tmp/file; docker cp -q /tmp/file web:/tmp/; docker exec web cat /tmp/file
        docker cp web:/tmp/file - | tar xO
        docker rename web wob; docker pause wob; docker unpause wob
        docker stats --no-stream --format '{{{{.Name}}}}' wob
        docker top wob -o pid,comm | grep -c sleep
        docker diff wob | grep -c /tmp/file
        docker inspect -f '{{{{.Name}}}} {{{{.Config.Image}}}} {{{{.LogPath}}}}' wob
        docker kill wob; docker wait wob; docker start wob; docker stop -t 0 wob
        docker events --since 60s --until 0s --filter event=rename --format '{{{{.Actor.Attributes.name}}}} {{{{.Actor.Attributes.oldName}}}}'
        docker ps -aq --filter name=wob --filter status=exited | wc -l
        docker rm wob; docker ps -aq
        "#
    );
    let said = run(&skep, "sh", &script).await;
    let mut lines: Vec<&str> = said.lines().collect();
    // The followed log comes when it comes.
    lines.retain(|line| !matches!(*line, "out" | "err"));
    let expected = "web debian:bookworm-slim running|inside|content|content|wob|wob|wob|1|1|/wob debian:bookworm-slim|\
                    wob|137|wob|wob|wob /web|1|wob";
    let lines: Vec<&str> = lines.into_iter().map(str::trim_end).collect();
    assert_eq!(lines.join("|"), expected);
    skep.nothing_made().await;
    skep.finish().await;
}

#[tokio::test]
async fn any_user_may_use_the_socket_and_nothing_of_the_host_is_shown() {
    let skep = Skep::start("socket-user").await;
    shell(&skep, "sh", &["spawn=debian:bookworm-slim"], &["--user", "1234"]).await;
    let said = run(
        &skep,
        "sh",
        &format!("id -u; echo $DOCKER_HOST; docker run -q --rm {DEBIAN} id -u"),
    )
    .await;
    assert_eq!(said, "1234\nunix:///var/run/docker.sock\n0\n");
    let said = run(
        &skep,
        "sh",
        &format!("docker create --name xx {DEBIAN} >/dev/null; docker inspect xx; docker info; docker network inspect bridge"),
    )
    .await;
    for path in ["/var/lib/docker", "skep.", &*skep.data().to_string_lossy()] {
        assert!(!said.contains(path), "{path} is shown: {said}");
    }
    // Without the label there is none.
    skep.deploy("without", &["handler=exec"], &[], &[DEBIAN, "ls", "/var/run"])
        .await;
    assert!(!skep.public.get("/without").await.text().contains("docker.sock"));
}

#[tokio::test]
async fn the_name_of_a_granted_function_starts_its_template() {
    let skep = Skep::start("socket-function").await;
    let network = skep.docker.network("backend", &[]);
    let volume = format!("{}-data", skep.docker.namespace());
    let label = format!("skep.namespace={}", skep.docker.namespace());
    skep.docker.run(&["volume", "create", "--label", &label, &volume]);
    let mount = format!("{volume}:/data");
    let flags = [
        "--network",
        &network,
        "-v",
        &mount,
        "-e",
        "A=template",
        "-e",
        "B=template",
        "-m",
        "64m",
        "--user",
        "7",
    ];
    let script = "id -u; echo $A $B \"$@\"; ls -d /data; tail -1 /proc/net/route | cut -c1-4";
    let command = [DEBIAN, "sh", "-c", script, "it"];
    skep.deploy("task", &["handler=exec", "route=none"], &flags, &command)
        .await;
    shell(&skep, "sh", &["spawn=task"], &["--network", "none"]).await;
    let said = run(
        &skep,
        "sh",
        "docker run --rm -e B=request task; docker run --rm task sh -c 'echo over'
         docker create --name tt task >/dev/null; docker inspect -f '{{.HostConfig.Memory}} {{.Config.Image}}' tt",
    )
    .await;
    assert_eq!(said, "7\ntemplate request\n/data\neth0\nover\n67108864 task\n");
    for flag in [
        "-u 0",
        "-v /data",
        "--network none",
        "-m 10m",
        "--entrypoint sh",
        "--read-only",
    ] {
        let said = run(&skep, "sh", &format!("docker run --rm {flag} task")).await;
        assert!(said.contains("its template has settled that"), "{flag}: {said}");
    }
    let said = run(&skep, "sh", "docker start tt; docker exec -u 0 tt id").await;
    assert!(said.contains("its template has settled"), "{said}");
}

#[tokio::test]
async fn a_child_without_a_network_has_its_parents() {
    let skep = Skep::start("socket-network").await;
    let network = skep.docker.network("backend", &[]);
    let other = skep.docker.network("other", &[]);
    let granted = format!("spawn.networks={other}");
    shell(
        &skep,
        "sh",
        &["spawn=debian:bookworm-slim", &granted],
        &["--network", &network],
    )
    .await;
    shell(
        &skep,
        "alone",
        &["spawn=debian:bookworm-slim"],
        &["--network", "none"],
    )
    .await;
    let networks = "docker inspect -f '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}' xx";
    let script = format!("docker create --name xx {DEBIAN} >/dev/null; {networks}; docker rm xx >/dev/null");
    assert_eq!(run(&skep, "sh", &script).await.trim(), network);
    assert_eq!(run(&skep, "alone", &script).await.trim(), "none");
    let script = format!(
        "docker create --network {other} --name xx {DEBIAN} >/dev/null; {networks}; docker rm xx >/dev/null"
    );
    assert_eq!(run(&skep, "sh", &script).await.trim(), other);
    assert!(run(&skep, "alone", &script).await.contains("skep.spawn.networks"));
    // Others would resolve it.
    let said = run(&skep, "sh", &format!("docker create --hostname db {DEBIAN}; docker create --network-alias db --network {other} {DEBIAN}")).await;
    assert_eq!(said.matches("gives a child names").count(), 2, "{said}");
}
