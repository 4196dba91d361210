//! What somebody tries who knows how budgets are counted, and what a function's template settles.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use skep_tests::{DEBIAN, Skep};

use super::{call, docker, open, run, shell};

/// The sockets that there are, on the host.
fn sockets(skep: &Skep) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(skep.data().join("sockets"))
        .into_iter()
        .flatten();
    let folders = folders.flatten().map(|folder| folder.path().join("docker.sock"));
    folders.collect()
}

#[tokio::test]
async fn the_end_of_a_child_with_a_socket_gives_no_more_children_in_all() {
    let skep = Skep::start("socket-total").await;
    let labels = ["spawn=debian:bookworm-slim", "spawn.depth=2", "spawn.total=3"];
    shell(&skep, "sh", &labels, &[]).await;
    let (socket, running) = open(&skep, "sh").await;
    let mut made = 0;
    let refusal = loop {
        let own = "/var/run/docker.sock:/var/run/docker.sock";
        let child = match docker(&socket, &["create", "-v", own, DEBIAN, "true"]).await {
            Ok(child) => child,
            Err(refusal) => break refusal,
        };
        made += 1;
        let own = sockets(&skep).into_iter().find(|own| *own != socket);
        let grandchild = docker(&own.expect("the child's"), &["create", DEBIAN, "true"]).await;
        made += usize::from(grandchild.is_ok());
        docker(&socket, &["rm", &child]).await.unwrap();
        assert!(made < 10, "skep.spawn.total holds nothing");
    };
    assert!(refusal.contains("skep.spawn.total grants 3"), "{refusal}");
    assert_eq!(made, 3);
    running.abort();
}

#[tokio::test]
async fn a_start_finds_the_common_limits_in_place_whatever_became_of_them() {
    let skep = Skep::start("socket-cgroup").await;
    shell(
        &skep,
        "sh",
        &["spawn=debian:bookworm-slim", "spawn.memory=64m"],
        &[],
    )
    .await;
    let (socket, running) = open(&skep, "sh").await;
    let child = docker(&socket, &["create", DEBIAN, "sleep", "60"]).await.unwrap();
    let below = format!("skep-children/{}/sh", skep.docker.namespace());
    let (old, new) = (
        Path::new("/sys/fs/cgroup/memory").join(&below),
        Path::new("/sys/fs/cgroup").join(&below),
    );
    // As a boot leaves it. Where children have even shares there is nothing to remove.
    for place in [&old, &new] {
        drop(std::fs::remove_dir(place));
    }
    docker(&socket, &["start", &child]).await.unwrap();
    for limit in [old.join("memory.limit_in_bytes"), new.join("memory.max")] {
        if let Ok(text) = std::fs::read_to_string(&limit) {
            assert_eq!(text.trim(), (64 << 20).to_string(), "{}", limit.display());
        }
    }
    docker(&socket, &["rm", "-f", &child]).await.unwrap();
    running.abort();
}

/// Two functions: `tool` runs as nobody, alone on no network, from an image that has its name; `sh` may start it.
async fn with_tool(skep: &Skep) -> (PathBuf, tokio::task::JoinHandle<()>, Tag) {
    let tool = format!("{}-tool", skep.docker.namespace());
    skep.docker.run(&["tag", DEBIAN, &tool]);
    let tag = Tag(tool.clone());
    let flags = ["--user", "65534", "--network", "none"];
    skep.deploy(&tool, &["handler=exec"], &flags, &[&tool, "true"])
        .await;
    let (own, network) = (format!("spawn={tool},{DEBIAN}"), skep.docker.namespace());
    let labels = [
        own.as_str(),
        &format!("spawn.networks={network}"),
        "engine=docker",
    ];
    shell(skep, "sh", &labels, &[]).await;
    let label = format!("skep.namespace={network}");
    skep.docker
        .run(&["network", "create", "--label", &label, network]);
    let (socket, running) = open(skep, "sh").await;
    (socket, running, tag)
}

/// An image's name that goes with the test.
struct Tag(String);

impl Drop for Tag {
    fn drop(&mut self) {
        let removal = std::process::Command::new("docker")
            .args(["rmi", &self.0])
            .output();
        drop(removal);
    }
}

#[tokio::test]
async fn what_a_template_settled_stays_settled_while_its_container_lives() {
    let skep = Skep::start("socket-settled").await;
    let (socket, running, tag) = with_tool(&skep).await;
    let tool = tag.0.clone();
    let network = skep.docker.namespace();
    docker(&socket, &["run", "-d", "--name", "one", &tool, "sleep", "60"])
        .await
        .unwrap();
    let sibling = ["run", "--network", "container:one", DEBIAN, "true"];
    for words in [
        &["exec", "-u", "0", "one", "id"][..],
        &["network", "connect", network, "one"],
        &["network", "disconnect", "none", "one"],
        &["cp", "one:/etc/shadow", "-"],
        &sibling,
    ] {
        let refusal = docker(&socket, words).await.expect_err(&words.join(" "));
        assert!(refusal.contains("is a function"), "{words:?}: {refusal}");
    }
    assert_eq!(call(&socket, "GET", "/containers/one/export", "").await.0, 403);
    assert_eq!(
        docker(&socket, &["exec", "one", "id", "-u"]).await.unwrap(),
        "65534"
    );
    // Not by a name that Docker reads as the same image either.
    let id = skep.docker.run(&["image", "inspect", "-f", "{{.Id}}", &tool]);
    for name in [
        format!("library/{tool}"),
        format!("docker.io/{tool}"),
        format!("docker.io/library/{tool}:latest"),
        format!("index.docker.io/library/{tool}"),
    ] {
        let refusal = docker(&socket, &["create", "-u", "0", &name, "id"]).await;
        let refusal = refusal.expect_err(&name);
        assert!(
            refusal.contains("User:") || refusal.contains("is not granted"),
            "{name}: {refusal}"
        );
    }
    // The image is granted under its other name; the function's settings are not lost by that.
    let child = docker(&socket, &["create", &id, "id"]).await.unwrap();
    assert_eq!(
        skep.docker.run(&["inspect", "-f", "{{.Config.Image}}", &child]),
        DEBIAN
    );
    docker(&socket, &["rm", "-f", "one", &child]).await.unwrap();
    running.abort();
}

#[tokio::test]
async fn nothing_of_a_removed_child_stays_on_the_node() {
    let skep = Skep::start("socket-volumes").await;
    shell(&skep, "sh", &["spawn=debian:bookworm-slim", "engine=docker"], &[]).await;
    let (socket, running) = open(&skep, "sh").await;
    let child = docker(&socket, &["create", "-v", "/data", DEBIAN, "true"])
        .await
        .unwrap();
    let volume = skep
        .docker
        .run(&["inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", &child]);
    let (status, _) = call(&socket, "DELETE", &format!("/containers/{child}?v=0"), "").await;
    assert_eq!(status, 204);
    let filter = format!("name={volume}");
    assert_eq!(skep.docker.run(&["volume", "ls", "-q", "-f", &filter]), "");
    running.abort();
}

#[tokio::test]
async fn processes_that_are_never_started_and_pulls_for_other_machines_are_refused() {
    let skep = Skep::start("socket-waiting").await;
    shell(&skep, "sh", &["spawn=debian:bookworm-slim"], &[]).await;
    let (socket, running) = open(&skep, "sh").await;
    docker(&socket, &["run", "-d", "--name", "one", DEBIAN, "sleep", "60"])
        .await
        .unwrap();
    let mut made = 0;
    let refusal = loop {
        let answer = call(&socket, "POST", "/containers/one/exec", r#"{"Cmd":["true"]}"#).await;
        match answer {
            (201, _) => made += 1,
            (status, refusal) => break format!("{status} {refusal}"),
        }
    };
    assert!((1..=64).contains(&made), "{made}");
    assert!(
        refusal.starts_with("429") && refusal.contains("never started"),
        "{refusal}"
    );
    let path = "/images/create?fromImage=debian&tag=bookworm-slim&platform=linux%2Fs390x";
    let (status, refusal) = call(&socket, "POST", path, "").await;
    assert!(status == 403 && refusal.contains("s390x"), "{status} {refusal}");
    docker(&socket, &["rm", "-f", "one"]).await.unwrap();
    running.abort();
}

#[tokio::test]
async fn a_childs_own_network_is_nobody_elses_while_it_runs() {
    let skep = Skep::start("socket-own").await;
    let labels = ["spawn=debian:bookworm-slim", "engine=lean"];
    // Those of the first round leave theirs for the second's.
    let script = format!(
        "docker run --rm {DEBIAN} true; docker run --rm {DEBIAN} true
         for child in first second third; do
             docker run -d --name $child {DEBIAN} sh -c 'readlink /proc/self/ns/net; sleep 60' >/dev/null
         done
         for child in first second third; do
             for _ in $(seq 300); do docker logs $child | grep net: && break; sleep 0.1; done
         done"
    );
    let mut all = HashSet::new();
    for name in ["one", "other"] {
        shell(&skep, name, &labels, &["--network", "none"]).await;
        let said = run(&skep, name, &script).await;
        all.extend(said.lines().map(str::to_owned));
    }
    assert_eq!(all.len(), 6, "{all:?}");
    skep.finish().await;
}
