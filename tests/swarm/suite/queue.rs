//! The queue that gateways share: what one accepted is not lost with its node.

use skep_swarm_tests::{Answer, Cluster, SHELL, ask, eventually, get, skep_image};

const MANY: usize = 24;

/// Where the result of what was accepted will be.
fn result_of(accepted: &Answer) -> String {
    let mut lines = accepted.head.lines();
    let location = lines.find_map(|line| line.strip_prefix("location: "));
    format!("{}/result", location.expect("a place"))
}

#[test]
fn what_a_gateway_accepted_whose_node_is_lost_is_run_and_shown_by_another() {
    let cluster = Cluster::own(3, 3);
    let image = cluster.push(&skep_image());
    cluster.push("debian:bookworm-slim");
    let installed = cluster.install_with_queue(&image);
    assert_eq!(installed.code, Some(0), "{}", installed.stderr);
    assert!(!installed.stderr.contains("loses"), "{}", installed.stderr);
    let labels = ["handler=exec", "max=8", "slots=2"];
    let command = ["sh", "-c", "sleep 2; cat"];
    let function = cluster.function_by(2, "slow", &labels, SHELL, &command);
    let (first, second) = (cluster.address(1), cluster.address(2));
    let request = format!("POST {}", function.path());
    for address in [&first, &second] {
        eventually("the function to be known", || {
            ask(address, &request, &[], "hello")
                .ok()
                .filter(|answer| answer.body == "hello")
        });
    }

    // Some are large: they are not on the gateway's disk either.
    let body = |number: usize| match number % 4 {
        0 => format!("{number}:{}", "x".repeat(200_000)),
        _ => format!("{number}:"),
    };
    let accepted: Vec<String> = (0..MANY)
        .map(|number| {
            let accepted = ask(&first, &request, &["Prefer: respond-async"], &body(number));
            let accepted = accepted.expect("an answer");
            assert_eq!(accepted.status, 202, "{accepted:?}");
            result_of(&accepted)
        })
        .collect();
    cluster.kill(1);

    for (number, result) in accepted.iter().enumerate() {
        let answer = eventually("a result at the second gateway", || {
            get(&second, result).ok().filter(|answer| answer.status == 200)
        });
        assert!(answer.body == body(number), "{result}: {}", answer.body.len());
    }
    let path = format!("/v1/invocations?limit=1000&function={}", function.name);
    eventually("the other's list to show them all as ended", || {
        let list = cluster.listed(2, &path)?;
        let list = list["invocations"].as_array()?.iter();
        let ended = list.filter(|one| {
            one["trigger"] == "async" && one["status"] == "succeeded" && one["node"].is_string()
        });
        (ended.count() == MANY).then_some(())
    });
    // And it goes on accepting, with two servers of three.
    let accepted = eventually("another to be accepted", || {
        ask(&second, &request, &["Prefer: respond-async"], "later")
            .ok()
            .filter(|answer| answer.status == 202)
    });
    let result = result_of(&accepted);
    eventually("its result", || {
        get(&second, &result).ok().filter(|answer| answer.body == "later")
    });
}
