//! A gateway's cluster against agents that the test plays.

mod world;

use std::time::Duration;

use http_body_util::BodyExt as _;
use skep_invoke::Report;
use skep_model::{Status, Trigger};
use skep_wire::{CALLER, CONTEXT, INVOCATION, NotStarted, SANDBOX, VISIT, Waiting};
use tokio::sync::oneshot;
use world::{Manner, World, text};

#[tokio::test]
async fn an_invocation_goes_to_an_agent_with_all_that_belongs_to_it() {
    let world = World::new(&[]);
    let agent = world.agent("a", Manner::Echo, 0).await;
    let (cluster, _finding) = world.cluster(&[&agent]).await;
    let invocation = world.invocation(Trigger::Request, Report::Journal);
    let id = invocation.id.to_string();
    let response = cluster.invoke(invocation).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["skep-invocation"], id.as_str());
    let timing = response.headers()["server-timing"].to_str().unwrap().to_owned();
    assert!(
        timing.contains("start;dur=3.000") && timing.contains("handler;dur=2.000"),
        "{timing}"
    );
    assert_eq!(timing.matches("queue").count(), 1, "{timing}");
    assert_eq!(text(response).await, "some work");
    let seen = agent.seen.lock().unwrap()[0].clone();
    assert_eq!(seen[INVOCATION], id.as_str());
    assert_eq!(seen[SANDBOX], "a-sandbox");
    assert_eq!(seen["host"], "shop.example.com");
}

#[tokio::test]
async fn what_only_members_may_say_is_not_passed_on_from_outside() {
    let world = World::new(&[]);
    let agent = world.agent("a", Manner::Echo, 0).await;
    let (cluster, _finding) = world.cluster(&[&agent]).await;
    let mut invocation = world.invocation(Trigger::Request, Report::Journal);
    let headers = invocation.request.headers_mut();
    for name in [VISIT, CALLER, CONTEXT, SANDBOX] {
        headers.append(name, "forged".parse().unwrap());
    }
    headers.insert("x-own", "stays".parse().unwrap());
    assert_eq!(cluster.invoke(invocation).await.status(), 200);
    let seen = agent.seen.lock().unwrap()[0].clone();
    assert!(
        !seen.contains_key(VISIT) && !seen.contains_key(CALLER),
        "{seen:?}"
    );
    for name in [SANDBOX, CONTEXT] {
        let all: Vec<_> = seen.get_all(&name).iter().collect();
        assert!(all.len() == 1 && all[0] != "forged", "{seen:?}");
    }
    assert_eq!(seen["x-own"], "stays");
}

#[tokio::test]
async fn what_was_not_started_is_given_to_another_as_it_was() {
    for reason in [NotStarted::Full, NotStarted::Draining, NotStarted::Unknown] {
        let world = World::new(&[]);
        let refusing = world.agent("a", Manner::Refuse(reason), 1).await;
        let other = world.agent("b", Manner::Echo, 0).await;
        let (cluster, _finding) = world.cluster(&[&refusing, &other]).await;
        let response = world.answer(&cluster).await;
        assert_eq!(response.status(), 200, "{reason}");
        assert_eq!(text(response).await, "some work");
        assert_eq!(
            (
                refusing.seen.lock().unwrap().len(),
                other.seen.lock().unwrap().len()
            ),
            (1, 1)
        );
    }
}

#[tokio::test]
async fn what_was_running_on_a_lost_node_fails_and_is_not_repeated() {
    let world = World::new(&[]);
    let mut dying = world.agent("a", Manner::Never, 1).await;
    let other = world.agent("b", Manner::Echo, 0).await;
    let (cluster, _finding) = world.cluster(&[&dying, &other]).await;
    let running = world.asking(&cluster);
    dying.began.wait_for(|count| *count > 0).await.unwrap();
    drop(dying);
    let response = tokio::time::timeout(Duration::from_secs(8), running)
        .await
        .expect("within seconds")
        .unwrap();
    assert_eq!(response.status(), 502);
    assert!(text(response).await.contains("node-lost"));
    assert!(other.seen.lock().unwrap().is_empty());
    // The next goes to the other.
    let next = world.answer(&cluster).await;
    assert_eq!(next.status(), 200);
}

#[tokio::test]
async fn who_waits_for_a_sandbox_gets_the_first_that_comes() {
    let world = World::new(&[]);
    let agent = world.agent("a", Manner::Echo, 0).await;
    let with = agent.picture.borrow().clone();
    agent.picture.send_modify(|picture| picture.sandboxes.clear());
    let (cluster, _finding) = world.cluster(&[&agent]).await;
    let waiting = world.asking(&cluster);
    while cluster.waiting().values().sum::<u32>() == 0 {
        tokio::task::yield_now().await;
    }
    agent.picture.send_replace(with);
    let response = waiting.await.unwrap();
    assert_eq!(response.status(), 200);
    let timing = response.headers()["server-timing"].to_str().unwrap();
    assert!(
        timing.contains("sandbox;dur="),
        "the wait says what it was for: {timing}"
    );
}

#[tokio::test]
async fn who_waits_here_is_told_to_one_agent_and_that_nobody_does_any_more() {
    let world = World::new(&[]);
    let mut agent = world.agent("a", Manner::Echo, 0).await;
    let with = agent.picture.borrow().clone();
    agent.picture.send_modify(|picture| picture.sandboxes.clear());
    let (cluster, _finding) = world.cluster(&[&agent]).await;
    let waiting = world.asking(&cluster);
    let told = agent.waiting.wait_for(Option::is_some).await.unwrap().clone();
    let told = told.unwrap();
    assert_eq!(
        (told.gateway.as_str(), told.namespace.as_str()),
        ("gateway", "default")
    );
    assert_eq!(told.functions, [("hello".to_owned(), 1)].into());
    agent.picture.send_replace(with);
    assert_eq!(waiting.await.unwrap().status(), 200);
    let nobody = |told: &Option<Waiting>| told.as_ref().is_some_and(|told| told.functions.is_empty());
    agent.waiting.wait_for(nobody).await.unwrap();
}

#[tokio::test]
async fn the_wait_for_a_sandbox_is_bounded() {
    let world = World::new(&[("skep.timeout", "100ms"), ("skep.queue", "0")]);
    let (cluster, _finding) = world.cluster(&[]).await;
    let response = world.answer(&cluster).await;
    assert_eq!(response.status(), 429);
    let world = World::new(&[("skep.timeout", "100ms")]);
    let response = world.answer(&cluster).await;
    assert_eq!(response.status(), 504);
    assert!(text(response).await.contains("queue-timeout"));
}

#[tokio::test]
async fn an_asynchronous_one_ends_as_its_node_says() {
    let world = World::new(&[]);
    let agent = world.agent("a", Manner::Echo, 0).await;
    let (cluster, _finding) = world.cluster(&[&agent]).await;
    let (report, ended) = oneshot::channel();
    let response = cluster
        .invoke(world.invocation(Trigger::Async, Report::To(report)))
        .await;
    let (collected, record) = tokio::join!(response.into_body().collect(), ended);
    assert!(
        collected.unwrap().trailers().is_none(),
        "what is for the gateway alone stays there"
    );
    let record = record.unwrap();
    assert_eq!(record.status, Status::Failed);
    assert_eq!(record.ending.unwrap().exit_code, Some(3));
    assert_eq!(record.revision.as_deref(), Some("0123456789ab"));
    drop(agent.task);
}
