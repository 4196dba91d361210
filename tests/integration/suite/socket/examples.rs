//! The two examples whose functions start containers, as they are deployed.

use std::process::Command;

use skep_tests::{Skep, eventually};

/// Where the examples are; `examples/voting/build` and `skep deploy` make their images.
fn example(path: &str) -> String {
    format!("{}/../../examples/{path}", env!("CARGO_MANIFEST_DIR"))
}

fn deploy(skep: &Skep, files: &[&str], variables: &[(&str, &str)], more: &[&str]) {
    let namespace = skep.docker.namespace();
    let mut command = Command::new(skep_tests::binary());
    command
        .arg("deploy")
        .args(["-p", namespace, "--namespace", namespace]);
    command.args(["--control", &format!("http://{}", skep.control.address)]);
    for file in files {
        command.args(["-f", &example(file)]);
    }
    let output = command.args(more).envs(variables.iter().copied()).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[tokio::test]
async fn a_book_is_counted_by_containers_of_containers_whatever_the_budget_is() {
    let skep = Skep::start("example-fan-out").await;
    let mut counts = Vec::new();
    // Room for all, for one at a time, and one in all for each invocation.
    for (max, total) in [("8", "100"), ("1", "100"), ("8", "1")] {
        let variables = [("FAN_OUT_MAX", max), ("FAN_OUT_TOTAL", total)];
        deploy(&skep, &["fan-out/compose.yaml"], &variables, &[]);
        let answer = skep.public.get("/count").await;
        assert_eq!(answer.status, http::StatusCode::OK, "{answer:?}");
        let invocation = answer.header("skep-invocation").to_owned();
        skep.record(&invocation).await;
        let listed = skep.control.get("/v1/children").await.json();
        let children = listed["children"].as_array().unwrap().iter();
        let children: Vec<_> = children
            .filter(|child| child["invocation"] == invocation.as_str())
            .collect();
        let deepest = children
            .iter()
            .filter_map(|child| child["generation"].as_u64())
            .max();
        counts.push((answer.text().to_owned(), children.len(), deepest));
    }
    let [(first, all, depth), (second, few, _), (third, one, _)] = &counts[..] else {
        panic!("{counts:?}")
    };
    assert!(
        first.trim().parse::<u64>().unwrap() > 5000 && first == second && first == third,
        "{counts:?}"
    );
    assert_eq!((*all, *depth), (6, Some(2)), "{counts:?}");
    // Held to the budget, and the work is done all the same.
    assert!(few < all && *one == 1, "{counts:?}");
    skep.finish().await;
}

#[tokio::test]
async fn a_vote_is_recorded_by_a_container_that_vote_started_through_its_socket() {
    let skep = Skep::start("example-voting").await;
    let files = ["voting/serverless/compose.yaml", "voting/serverless/socket.yaml"];
    let variables = [("VOTING_SPARES", "0")];
    deploy(&skep, &files, &variables, &[]);
    eventually("the database", async || {
        let tally = skep.public.get("/result/tally").await;
        (tally.status == http::StatusCode::OK).then_some(())
    })
    .await;
    let vote = http::Request::post("/vote")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(skep_tests::full("choice=tea"))
        .unwrap();
    let answer = skep.public.send(vote).await;
    assert!(answer.text().contains("You voted for tea"), "{answer:?}");
    eventually("the vote in the tally", async || {
        let tally = skep.public.get("/result/tally").await;
        tally.text().contains("\"tea\":1").then_some(())
    })
    .await;
    let children = skep.control.get("/v1/children").await.json();
    assert_eq!(children["children"][0]["started_as"], "record-vote", "{children}");
    // Not through SKEP_URL as well.
    let asked = skep
        .control
        .get("/v1/invocations?function=record-vote")
        .await
        .json();
    assert_eq!(asked["invocations"].as_array().map(Vec::len), Some(0), "{asked}");
    deploy(&skep, &files, &variables, &["--down", "--volumes"]);
    eventually("the child to go with its function", async || {
        let children = skep.control.get("/v1/children").await.json();
        let all = children["children"].as_array()?;
        all.iter().all(|child| child["state"] == "removed").then_some(())
    })
    .await;
    skep.finish().await;
}
