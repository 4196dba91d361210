//! What children write to the node's disk is bounded, where Docker itself doesn't.

use skep_tests::{DEBIAN, Skep, eventually};

use super::{run, shell};

#[tokio::test]
async fn a_child_that_writes_more_than_it_may_is_stopped_and_told_why() {
    let skep = Skep::start("socket-disk").await;
    let labels = ["spawn=debian:bookworm-slim", "disk=1m", "engine=docker"];
    shell(&skep, "sh", &labels, &[]).await;
    let small = "head -c 100k /dev/zero > /file; sleep 300";
    let script = format!(
        "docker run -d --name small {DEBIAN} sh -c '{small}' >/dev/null
         docker run -d --name own {DEBIAN} sh -c 'head -c 40m /dev/zero > /file; sleep 300' >/dev/null
         docker run -d --name volume -v /data {DEBIAN} sh -c 'head -c 40m /dev/zero > /data/file; sleep 300' >/dev/null
         docker wait own volume
         docker start own
         docker cp /etc/hostname own:/x
         docker inspect -f '{{{{.State.Error}}}}' volume
         docker inspect -f '{{{{.State.Running}}}}' small"
    );
    let said = run(&skep, "sh", &script).await;
    assert!(said.starts_with("137\n137\n"), "{said}");
    assert!(said.matches("skep.disk allows").count() >= 3, "{said}");
    assert!(said.ends_with("true\n"), "{said}");
    run(&skep, "sh", "docker rm -f small own volume").await;
    skep.finish().await;
}

#[tokio::test]
async fn children_that_ended_make_room_for_each_other_on_the_disk() {
    let skep = Skep::start("socket-room").await;
    let labels = [
        "spawn=debian:bookworm-slim",
        "disk=1m",
        "spawn.max=1",
        "engine=docker",
    ];
    shell(&skep, "sh", &labels, &[]).await;
    let fill =
        |name: &str| format!("docker run --name {name} {DEBIAN} sh -c 'head -c 12m /dev/zero > /file'\n");
    let script = ["one", "two", "three"].map(fill).concat();
    assert_eq!(run(&skep, "sh", &script).await, "");
    eventually("room", async || {
        let left = skep.docker.run(&[
            "ps",
            "-a",
            "--filter",
            &format!("label=skep.namespace={}", skep.docker.namespace()),
            "--filter",
            "label=skep.child-of",
            "--format",
            "{{.Names}}",
        ]);
        let last = format!("skep_{}_sh_three", skep.docker.namespace());
        (left == last).then_some(())
    })
    .await;
    run(&skep, "sh", "docker rm -f three").await;
    skep.finish().await;
}
