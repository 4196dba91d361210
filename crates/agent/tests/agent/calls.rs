//! `SKEP_URL` on a node of a Swarm.

use skep_model::{InvocationId, Trigger};

use crate::support::{Agent, eventually, request, whole};

const EXEC: (&str, &str) = ("skep.handler", "exec");

/// What a function's instance finds in `SKEP_URL`, without the scheme.
async fn url(agent: &Agent, container: &str) -> String {
    let environment = agent.invoke(container, "/env", "").await.text;
    let line = environment
        .lines()
        .find_map(|line| line.strip_prefix("SKEP_URL=http://"));
    line.unwrap_or_else(|| panic!("no SKEP_URL: {environment}"))
        .to_owned()
}

#[tokio::test]
async fn a_call_is_brought_to_a_gateway_and_the_agent_vouches_for_who_calls() {
    let agent = Agent::start("agent-calls").await;
    let docker: &[(&str, &str)] = &[("skep.engine", "docker")];
    for (labels, network) in [(&[][..], "none"), (&[], "bridge"), (docker, "none")] {
        let container = agent
            .sandbox(labels, 16, &["http"], &["--network", network])
            .await;
        let url = url(&agent, &container).await;
        let mut calling = request(
            &container,
            &format!("/fetch/{url}/other/path"),
            "",
            Trigger::Request,
        );
        let invocation = InvocationId::generate();
        let id = invocation.to_string().parse().expect("a field");
        calling.headers_mut().insert(skep_wire::INVOCATION, id);
        let answer = whole(agent.line.send(calling).await.expect("an answer")).await;
        let said = &answer.text;
        assert!(
            said.starts_with("HTTP/1.1 200 ") && said.ends_with("gateway"),
            "{said}"
        );
        let brought: Vec<_> = agent.gateways.iter().flat_map(|gateway| gateway.take()).collect();
        let [(path, caller)] = &brought[..] else {
            panic!("{brought:?}")
        };
        assert_eq!(path, "/other/path");
        assert_eq!(
            caller.parent,
            Some(invocation),
            "on the network {network}, {labels:?}"
        );
    }
}

#[tokio::test]
async fn a_gateway_that_went_is_not_asked_and_one_that_knows_nothing_is_not_the_last() {
    let mut agent = Agent::start("agent-gateways").await;
    let container = agent.sandbox(&[], 16, &["http"], &["--network", "none"]).await;
    let url = url(&agent, &container).await;
    // Whichever is asked first.
    for _ in 0..4 {
        for name in ["first-gateway", "second-gateway"] {
            let path = format!("/fetch/{url}/_skep/{name}");
            let said = agent.invoke(&container, &path, "").await.text;
            assert!(
                said.starts_with("HTTP/1.1 200 ") && said.ends_with(name),
                "{said}"
            );
        }
    }
    let path = format!("/fetch/{url}/_skep/nobodys");
    let said = agent.invoke(&container, &path, "").await.text;
    assert!(said.starts_with("HTTP/1.1 404 "), "{said}");
    drop(agent.gateways.remove(0));
    eventually("only the other is asked", async || {
        let mut all = true;
        for _ in 0..4 {
            let said = agent
                .invoke(&container, &format!("/fetch/{url}/x"), "")
                .await
                .text;
            assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
            all &= said.ends_with("second-gateway");
        }
        all
    })
    .await;
}

#[tokio::test]
async fn an_instance_that_could_not_be_started_says_so_and_work_is_marked_as_skeps_own() {
    let agent = Agent::start("agent-unstarted").await;
    let container = agent.sandbox(&[EXEC], 16, &["cat"], &[]).await;
    agent.docker.run(&["kill", &container]);
    // The task is gone, and so is the function's chance here: whether the agent has heard of it or not.
    let refused = agent.invoke(&container, "/", "").await;
    assert_eq!(
        refused.headers[skep_wire::NOT_STARTED],
        "unknown",
        "{}",
        refused.text
    );
    let nonsense = agent.sandbox(&[EXEC], 16, &["exit", "3"], &[]).await;
    let failed = agent.invoke(&nonsense, "/", "").await;
    assert_eq!(failed.headers[skep_wire::PROBLEM], "exit-code");
    assert!(!failed.headers.contains_key(skep_wire::NOT_STARTED));
    let page = agent.ask("/v1/invocations").await;
    assert_eq!(page["invocations"].as_array().map(Vec::len), Some(1), "{page}");
}
