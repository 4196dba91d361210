//! Functions that call each other through `SKEP_URL`, wherever they run.

use skep_swarm_tests::{Cluster, NODES, SHELL, ask, eventually, get};
use skep_testing::probe_image;

/// Defines `call PATH [FIELD]...`, which asks `$SKEP_URL/PATH` and prints the whole answer.
pub(crate) const CALL: &str = r#"call() {
  exec 3<>"/dev/tcp/127.0.0.1/${SKEP_URL##*:}"
  printf 'POST /%s HTTP/1.1\r\nHost: skep\r\nConnection: close\r\n' "$1" >&3; shift
  for field in "$@"; do printf '%s\r\n' "$field" >&3; done
  printf 'Content-Length: 0\r\n\r\n' >&3
  cat <&3; exec 3>&-
}
"#;

/// What only members of the cluster say to each other, said by somebody else.
const FORGED: &str = "'skep-visit: e30' 'skep-caller: e30' 'skep-sandbox: none' 'skep-context: e30'";

/// The invocation that an answer is of, as a gateway tells of it.
fn record(cluster: &Cluster, id: &str) -> serde_json::Value {
    eventually("the invocation's record", || {
        let said = cluster.control(1, &["inspect", "--json", id])?;
        serde_json::from_str(&said).ok()
    })
}

fn invocation_of(head: &str) -> String {
    let id = head
        .lines()
        .find_map(|line| line.strip_prefix("skep-invocation: "));
    id.expect("an invocation").trim().to_owned()
}

#[test]
fn a_function_calls_another_that_nobody_else_can_and_is_its_parent() {
    let cluster = Cluster::installed();
    let hidden = cluster.function(
        "hidden",
        &["handler=exec", "route=none"],
        SHELL,
        &["echo", "found"],
    );
    let caller = cluster.function("caller", &["max=8"], &cluster.push(&probe_image()), &["http"]);
    for node in NODES {
        let address = cluster.address(node);
        let refused = eventually("an answer", || get(&address, &hidden.path()).ok());
        assert_eq!(refused.status, 404, "{refused:?}");
        let environment = eventually("the caller's environment", || {
            get(&address, &format!("{}/env", caller.path()))
                .ok()
                .filter(|answer| answer.status == 200)
        });
        let line = environment
            .body
            .lines()
            .find_map(|line| line.strip_prefix("SKEP_URL=http://"));
        let url = line.unwrap_or_else(|| panic!("no SKEP_URL: {environment:?}"));
        let answer = get(
            &address,
            &format!("{}/fetch/{url}{}", caller.path(), hidden.path()),
        );
        let answer = answer.expect("an answer");
        assert!(
            answer.body.starts_with("HTTP/1.1 200") && answer.body.ends_with("found"),
            "{answer:?}"
        );
        let (parent, child) = (
            invocation_of(&answer.head),
            invocation_of(&answer.body.to_ascii_lowercase()),
        );
        let record = record(&cluster, &child);
        assert_eq!(record["parent"], parent.as_str(), "{record}");
    }
}

#[test]
fn a_function_has_another_run_later_and_looks_at_what_came_of_it() {
    let cluster = Cluster::installed();
    let later = cluster.function(
        "later",
        &["handler=exec", "async=false"],
        SHELL,
        &["sh", "-c", "echo done on $NODE"],
    );
    let script = format!(
        r#"{CALL} call {later} {FORGED} | grep -a '^HTTP/1.1 200' | sed 's/^/as ever: /'
        at=$(call {later} 'Prefer: respond-async' | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
        echo "at $at"; for i in $(seq 100); do
          exec 3<>"/dev/tcp/127.0.0.1/${{SKEP_URL##*:}}"
          printf 'GET %s/result HTTP/1.1\r\nHost: skep\r\nConnection: close\r\n\r\n' "$at" >&3
          said=$(cat <&3); exec 3>&-
          case "$said" in "HTTP/1.1 200"*) echo "$said"; exit 0;; esac; sleep 1
        done; echo "$said"; exit 1"#,
        later = later.name
    );
    let labels = ["handler=exec", "timeout=120s"];
    let caller = cluster.function("asks", &labels, SHELL, &["bash", "-c", &script]);
    let address = cluster.address(2);
    let forged = [
        "skep-visit: e30",
        "skep-caller: e30",
        "skep-sandbox: none",
        "skep-context: e30",
    ];
    let answer = eventually("an answer", || {
        ask(&address, &format!("POST {}", caller.path()), &forged, "").ok()
    });
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.contains("as ever: HTTP/1.1 200"), "{answer:?}");
    let (_, node) = answer.body.rsplit_once("done on ").expect("what came of it");
    let line = answer
        .body
        .lines()
        .find_map(|line| line.strip_prefix("at /_skep/invocations/"));
    let child = line.and_then(|line| line.split('/').next()).expect("an id");
    let record = record(&cluster, child);
    assert_eq!(record["parent"], invocation_of(&answer.head).as_str(), "{record}");
    assert_eq!(record["node"], node.trim_end(), "{record}");
}
