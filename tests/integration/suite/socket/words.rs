//! What clients are told, in Docker's own words and codes, with both kinds of children: of what is not there, of
//! processes that can't be run, of what happens.

use skep_tests::{DEBIAN, Skep, eventually};

use super::kinds::{both, compare};
use super::{call, docker, open, shell};

#[tokio::test]
async fn what_is_nowhere_is_looked_for_everywhere_as_with_docker() {
    let skep = both("words-none", &[]).await;
    let script = "for name in nosuch NOSUCH nosuch/thing nosuch:1 sha256:abcdef; do docker inspect $name; echo $?; done
         docker volume create x >/dev/null 2>&1; docker plugin install x >/dev/null 2>&1; echo $?
         docker service create x 2>&1 | grep -c 'Swarm is not managed'";
    let said = compare(&skep, script).await;
    let wanted = "[]\nError: No such object: nosuch\n1\n[]\nError: No such object: NOSUCH\n1\n";
    assert!(said.starts_with(wanted) && said.ends_with("\n1\n1\n"), "{said}");
    skep.finish().await;
}

#[tokio::test]
async fn a_process_that_can_not_join_a_child_is_told_in_dockers_words() {
    let skep = both("words-exec", &[]).await;
    let script = format!(
        "docker run -d --name box {DEBIAN} sleep 300 >/dev/null
         try() {{ docker exec \"$@\"; echo code $?; }}
         try box no-such; try box /no/such; try box /etc/passwd; try box /etc; try box /etc/passwd/x; try box ''
         try -w /no/such box id; try -w /etc/passwd box id; try -w etc box id
         try -u nobody-here box id; try -u 0:nobody-here box id; try -u 4294967295 box id
         try -t box no-such; try -d box no-such; try -d -u nobody-here box id; try -d -w /no/such box id
         docker rm -f box; docker run --rm -u 0:nobody-here {DEBIAN} true
         for again in 1 2 3 4 5 6; do docker run --rm -u nobody-here {DEBIAN} true; done
         docker create --name one -u nobody-here {DEBIAN} true >/dev/null; docker start one
         docker inspect -f '{{{{.State.ExitCode}}}} {{{{.State.Error}}}}' one; docker rm one"
    );
    let said = compare(&skep, &script).await;
    let missing = "exec: \"no-such\": executable file not found in $PATH: unknown";
    assert!(said.contains(missing) && said.contains("\ncode 126\n"), "{said}");
    assert!(!said.contains("code 128"), "{said}");
    skep.finish().await;
}

#[tokio::test]
async fn who_waits_for_a_process_in_a_child_that_is_removed_is_told_its_code() {
    let skep = both("words-removed", &[]).await;
    let script = format!(
        "for again in 1 2 3; do
           docker run -d --name box {DEBIAN} sleep 300 >/dev/null
           (docker exec box sh -c 'echo runs; exec sleep 300' >/tmp/said; echo code $? >>/tmp/said) & waits=$!
           for once in $(seq 600); do grep -qs runs /tmp/said && break; sleep 0.05; done
           docker rm -f box; wait $waits; cat /tmp/said; rm /tmp/said
         done
         docker exec box true"
    );
    let said = compare(&skep, &script).await;
    let once = "box\nruns\ncode 137\n";
    assert!(said.starts_with(&once.repeat(3)), "{said}");
    skep.finish().await;
}

#[tokio::test]
async fn a_process_of_a_child_that_is_gone_is_nobody_elses() {
    let skep = Skep::start("words-others").await;
    let labels = ["spawn=debian:bookworm-slim", "engine=lean"];
    for name in ["one", "two"] {
        shell(&skep, name, &labels, &["--network", "none"]).await;
    }
    let (mine, running) = open(&skep, "one").await;
    let (theirs, other) = open(&skep, "two").await;
    let started = docker(&mine, &["run", "-d", "--name", "box", DEBIAN, "sleep", "300"]).await;
    started.expect("a child");
    let body = r#"{"Cmd":["sleep","300"],"AttachStdout":true}"#;
    let (_, made) = call(&mine, "POST", "/containers/box/exec", body).await;
    let made: serde_json::Value = serde_json::from_str(&made).expect("a process");
    let path = format!("/exec/{}", made["Id"].as_str().expect("its id"));
    let detached = r#"{"Detach":true}"#;
    let (status, said) = call(&mine, "POST", &format!("{path}/start"), detached).await;
    assert_eq!(status, 200, "{said}");
    docker(&mine, &["rm", "-f", "box"]).await.expect("removed");
    let ended = eventually("its end", async || {
        let (status, said) = call(&mine, "GET", &format!("{path}/json"), "").await;
        assert_eq!(status, 200, "{said}");
        let said: serde_json::Value = serde_json::from_str(&said).ok()?;
        (said["Running"] == false).then_some(said)
    });
    assert_eq!(ended.await["ExitCode"], 137);
    for tail in ["json", "start", "resize?h=1&w=1"] {
        let method = if tail == "json" { "GET" } else { "POST" };
        let (status, said) = call(&theirs, method, &format!("{path}/{tail}"), detached).await;
        assert_eq!(status, 404, "{tail}: {said}");
    }
    eventually("it to be forgotten", async || {
        let (status, _) = call(&mine, "GET", &format!("{path}/json"), "").await;
        (status == 404).then_some(())
    })
    .await;
    running.abort();
    other.abort();
    skep.finish().await;
}

#[tokio::test]
async fn events_of_a_child_are_told_to_who_asked_for_them_before_it_was_there() {
    let skep = both("words-events", &[]).await;
    let script = format!(
        "follow() {{ docker events --format '{{{{.Action}}}} {{{{.Actor.Attributes.name}}}}' \"$@\"; }}
         follow --filter container=one --filter container=first --filter event=die >/tmp/named & named=$!
         follow --filter container=on --filter container=tw --filter container=first --filter event=destroy >/tmp/several & several=$!
         for again in $(seq 100); do
           [ -s /tmp/named ] && [ -s /tmp/several ] && break
           docker run --rm --name first {DEBIAN} true
         done
         for name in one two three; do docker run --rm --name $name {DEBIAN} true; done
         for again in $(seq 200); do
           grep -q one /tmp/named && grep -q two /tmp/several && break
           sleep 0.1
         done
         kill $named $several; wait 2>/dev/null; sort -u /tmp/named /tmp/several | grep -v first
         begin=$(date +%s); id=$(docker create --name gone {DEBIAN} true); docker rename gone away; docker rm away >/dev/null; sleep 1.1
         for child in $id $(echo $id | cut -c 1-12) gone away go none; do
           echo $(follow --since $begin --until $(date +%s) --filter container=$child)
         done"
    );
    let said = compare(&skep, &script).await;
    let all = "create gone rename away destroy away";
    assert_eq!(
        said,
        format!(
            "destroy one\ndestroy two\ndie one\n{all}\n{all}\ncreate gone\nrename away destroy away\ncreate gone\n\n"
        )
    );
    skep.finish().await;
}

#[tokio::test]
async fn stops_and_restarts_are_told_in_the_events_of_docker() {
    let skep = both("words-stops", &[]).await;
    let script = format!(
        "begin=$(date +%s)
         docker run -d --name one {DEBIAN} sleep 300 >/dev/null
         docker restart -t 0 one; docker stop -t 0 one; docker restart -t 0 one; docker top one >/dev/null; docker stop -t 0 one
         docker top one; docker cp one:/no/such - >/dev/null; docker stop one; docker start one
         docker kill -s USR1 one; docker rm -f one
         docker run -d --name two {DEBIAN} sh -c 'trap \"exit 3\" TERM; echo ready; while :; do sleep 0.05; done' >/dev/null
         for again in $(seq 300); do docker logs two | grep -q ready && break; sleep 0.1; done
         docker stop two; docker rm two; sleep 1.1
         docker events --since $begin --until $(date +%s) --format '{{{{.Action}}}} {{{{.Actor.Attributes.name}}}} {{{{.Actor.Attributes.signal}}}} {{{{.Actor.Attributes.exitCode}}}}' | sed 's/<no value>//g'"
    );
    let said = compare(&skep, &script).await;
    let stop = "kill one 15 \nkill one 9 \ndie one  137\nstop one  \n";
    let wanted = format!(
        "{stop}start one  \nrestart one  \n{stop}start one  \nrestart one  \ntop one  \n{stop}start one"
    );
    assert!(said.contains(&wanted), "{said}");
    assert!(said.contains("kill one 9 \ndie one  137\ndestroy one"), "{said}");
    assert!(said.contains("kill two 15 \ndie two  3\nstop two"), "{said}");
    skep.finish().await;
}

#[tokio::test]
async fn health_is_checked_as_often_as_docker_would() {
    let skep = both("words-health", &[]).await;
    let script = format!(
        "docker run -d --name one --health-cmd true --health-interval 100ms {DEBIAN} sleep 300 >/dev/null
         for again in $(seq 300); do
           [ \"$(docker inspect -f '{{{{.State.Health.Status}}}}' one)\" = healthy ] && break
           sleep 0.1
         done
         docker inspect -f '{{{{.Config.Healthcheck.Interval}}}}' one; docker rm -f one
         docker run --health-cmd true --health-interval 100us {DEBIAN} true 2>&1 | head -1"
    );
    let said = compare(&skep, &script).await;
    assert_eq!(
        said,
        "100ms\none\ndocker: Error response from daemon: Interval in Healthcheck cannot be less than 1ms\n"
    );
    skep.finish().await;
}

#[tokio::test]
async fn details_of_a_log_stand_before_its_lines() {
    let skep = both("words-details", &[]).await;
    let script = format!(
        "docker run --name one {DEBIAN} sh -c 'echo said; echo more' >/dev/null
         docker logs --details one; docker logs --details -t one | cut -c 31- ; docker logs -t one | cut -c 31-
         docker run -t --name two {DEBIAN} echo said >/dev/null; docker logs --details two; docker rm one two"
    );
    let said = compare(&skep, &script).await;
    assert!(
        said.starts_with(" said\n more\n  said\n  more\n said\n more\n said\n"),
        "{said:?}"
    );
    skep.finish().await;
}
