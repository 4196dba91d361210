//! Children of children: never more than the child, and gone with what allowed them.

use skep_tests::{DEBIAN, Skep};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{docker_volume, no_sockets, run, shell};

#[tokio::test]
async fn a_grandchild_has_no_more_than_the_child_and_sees_only_its_own() {
    let skep = Skep::start("socket-depth").await;
    let volume = docker_volume(&skep);
    let volumes = format!("spawn.volumes={volume}");
    let labels = ["spawn=debian:bookworm-slim", "spawn.depth=2", &volumes];
    shell(&skep, "sh", &labels, &["--network", "none"]).await;
    let socket = "-v /var/run/docker.sock:/var/run/docker.sock";
    let child = format!("docker run --rm {socket} -v {volume}:/cli {DEBIAN} /cli/docker");
    let script = format!(
        "docker run -d --name sibling {DEBIAN} sleep 60 >/dev/null
         {child} run --rm {DEBIAN} echo grandchild
         {child} ps -aq
         {child} run --rm {socket} {DEBIAN} true
         {child} run --rm --privileged {DEBIAN} true"
    );
    let said = run(&skep, "sh", &script).await;
    let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines[0], "grandchild", "{said}");
    assert!(lines[1].contains("skep.spawn.depth of sh is 2"), "{said}");
    assert!(said.contains("makes a child privileged"), "{said}");
    no_sockets(&skep).await;
}

#[tokio::test]
async fn the_tree_draws_children_below_the_invocation_that_started_them() {
    let skep = Skep::start("socket-tree").await;
    shell(&skep, "sh", &["spawn=debian:bookworm-slim"], &[]).await;
    let script = format!("docker run -d --name kept {DEBIAN} sh -c 'exit 3' >/dev/null; docker wait kept");
    let answer = skep.public.post("/sh", script).await;
    assert_eq!(answer.text(), "3\n");
    let invocation = answer.header("skep-invocation").to_owned();
    skep.record(&invocation).await;
    let listed = skep.control.get("/v1/children").await.json();
    let child = &listed["children"][0];
    assert_eq!(child["invocation"], invocation.as_str());
    assert_eq!(
        (&child["name"], &child["state"]),
        (&"kept".into(), &"exited".into())
    );
    let drawn = std::process::Command::new(skep_tests::binary())
        .args([
            "tree",
            "sh",
            "--control",
            &format!("http://{}", skep.control.address),
        ])
        .output()
        .unwrap();
    let drawn = String::from_utf8_lossy(&drawn.stdout).into_owned();
    let lines: Vec<&str> = drawn.lines().collect();
    assert!(
        lines[0].starts_with(&format!("sh invocation {}", &invocation[24..])),
        "{drawn}"
    );
    assert!(
        lines[1].starts_with("└─ debian:bookworm-slim (kept) container"),
        "{drawn}"
    );
    assert!(lines[1].contains("exited 3"), "{drawn}");
}

#[tokio::test]
async fn a_followed_tree_is_drawn_again_when_something_happens_and_only_then() {
    let skep = Skep::start("socket-follow").await;
    shell(&skep, "sh", &["spawn=debian:bookworm-slim"], &[]).await;
    let control = format!("http://{}", skep.control.address);
    let follow = |json: &[&str]| {
        let mut command = tokio::process::Command::new(skep_tests::binary());
        command
            .args(["tree", "-f", "sh", "--control", &control])
            .args(json)
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true);
        command.spawn().unwrap()
    };
    let (mut drawn, mut listed) = (follow(&[]), follow(&["--json"]));
    let mut lines = BufReader::new(drawn.stdout.take().unwrap()).lines();
    let mut values = BufReader::new(listed.stdout.take().unwrap()).lines();
    // The first look is over, and showed that there is nothing.
    assert_eq!(values.next_line().await.unwrap().unwrap(), "[]");
    let script = format!("docker run --name seen {DEBIAN} sleep 3");
    assert_eq!(run(&skep, "sh", &script).await, "");
    let mut seen = Vec::new();
    let mut until = async |word: &str| {
        let wait = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("a line more");
                seen.push(line.clone());
                if line.contains("(seen)") && line.contains(word) {
                    break;
                }
            }
        };
        let waited = tokio::time::timeout(skep_tests::PATIENCE, wait).await;
        waited.unwrap_or_else(|_| panic!("{word} was not drawn: {seen:?}"));
    };
    until("running").await;
    until("exited 0").await;
    // Three seconds are six looks, each of which would draw two such lines; what is drawn is what happened, which a busy
    // Docker lets be seen step by step.
    assert!(
        seen.iter().filter(|line| line.contains("running")).count() <= 6,
        "{seen:?}"
    );
    let value = values.next_line().await.unwrap().expect("a picture more");
    let value: serde_json::Value = serde_json::from_str(&value).expect("one in each line");
    assert_eq!(value[0]["name"], "sh");
    for mut process in [drawn, listed] {
        let id = process
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(id as i32));
        rustix::process::kill_process(id.unwrap(), rustix::process::Signal::INT).unwrap();
        assert!(process.wait().await.unwrap().success());
    }
    run(&skep, "sh", "docker rm seen").await;
    skep.finish().await;
}
