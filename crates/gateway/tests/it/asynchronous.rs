//! `Prefer: respond-async`, from the 202 to the result.

use std::sync::Arc;

use skep_model::{Status, Trigger};
use skep_testing::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use crate::client::{body, field, get, invocation, raw};
use crate::engine::{Behaviour, program};
use crate::servers::mirror;
use crate::world::{Planned, World};

const EXEC: &[(&str, &str)] = &[("skep.handler", "exec")];

async fn ask(world: &World, path: &str, content: &str) -> String {
    let length = content.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nprefer: wait=5, respond-async\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{content}"
    );
    raw(world.address, &request).await
}

/// Asks until it has ended.
async fn ended(world: &World, location: &str) -> String {
    eventually("the end of it", async || {
        let status = get(world.address, location).await;
        let ended = status.contains("\"succeeded\"") || status.contains("\"failed\"");
        ended.then_some(status)
    })
    .await
}

/// Waits to be told, and copies its input.
fn told(go_on: Arc<Notify>, code: i64) -> Behaviour {
    program(move |mut command| {
        let go_on = go_on.clone();
        async move {
            let mut input = Vec::new();
            command.stdin.read_to_end(&mut input).await.unwrap();
            go_on.notified().await;
            command.stdout.write_all(&input).await.unwrap();
            code
        }
    })
}

#[tokio::test]
async fn the_answer_is_202_and_the_result_comes_later() {
    let go_on = Arc::new(Notify::new());
    let world = World::of(vec![Planned("later", EXEC, told(go_on.clone(), 0))]).await;
    let accepted = ask(&world, "/later", "the input").await;
    assert!(accepted.starts_with("HTTP/1.1 202 "), "{accepted}");
    assert_eq!(field(&accepted, "preference-applied"), Some("respond-async"));
    let location = field(&accepted, "location").unwrap();
    let id = invocation(&accepted);
    assert!(
        location.starts_with(&format!("/_skep/invocations/{id}/")),
        "{location}"
    );
    assert!(body(&accepted).contains("\"status\":\"queued\"") && body(&accepted).contains(location));
    let early = get(world.address, &format!("{location}/result")).await;
    assert!(
        early.starts_with("HTTP/1.1 409 ") && early.contains("\"not-finished\""),
        "{early}"
    );
    assert_eq!(field(&early, "retry-after"), Some("1"));
    go_on.notify_one();
    let status = ended(&world, location).await;
    assert_eq!(field(&status, "cache-control"), Some("no-store"));
    for part in [
        "\"status\":\"succeeded\"",
        "\"exit_code\":0",
        "\"attempts\":1",
        "\"received\":",
        "\"started\":",
        "\"ended\":",
    ] {
        assert!(status.contains(part), "{part} is not in {status}");
    }
    let result = get(world.address, &format!("{location}/result")).await;
    assert!(
        result.starts_with("HTTP/1.1 200 ") && body(&result) == "the input",
        "{result}"
    );
    assert_eq!(
        (field(&result, "content-type"), invocation(&result)),
        (Some("text/plain; charset=utf-8"), id)
    );
    let key = location.rsplit('/').next().unwrap();
    let record = world
        .store
        .look(id.parse().unwrap(), &key.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (record.trigger, record.status),
        (Trigger::Async, Status::Succeeded)
    );
}

#[tokio::test]
async fn nobody_sees_it_without_its_key() {
    let world = World::of(vec![Planned("m", &[], mirror())]).await;
    let accepted = ask(&world, "/m", "").await;
    let location = field(&accepted, "location").unwrap();
    ended(&world, location).await;
    let (own, key) = location.rsplit_once('/').unwrap();
    let wrong = format!("{}{}", if key.starts_with('0') { '1' } else { '0' }, &key[1..]);
    for path in [
        own.to_owned(),
        format!("{own}/{wrong}"),
        format!("{own}/{wrong}/result"),
        format!("{own}/"),
        "/_skep/".to_owned(),
        "/_skep/health".to_owned(),
        format!("{location}/x"),
    ] {
        let response = get(world.address, &path).await;
        assert!(response.starts_with("HTTP/1.1 404 "), "{path}: {response}");
        assert!(!response.contains(key));
    }
    let response = raw(
        world.address,
        &format!("DELETE {location} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
    )
    .await;
    assert!(
        response.starts_with("HTTP/1.1 405 ") && field(&response, "allow") == Some("GET, HEAD"),
        "{response}"
    );
}

#[tokio::test]
async fn the_stored_request_is_the_one_that_a_caller_who_waits_would_have_made() {
    let world = World::of(vec![Planned("m", &[], mirror())]).await;
    let accepted = ask(&world, "/m/a%2Fb?c", "body").await;
    let location = field(&accepted, "location").unwrap();
    ended(&world, location).await;
    let result = get(world.address, &format!("{location}/result")).await;
    for line in [
        "POST /a%2Fb?c",
        "x-forwarded-prefix: /m",
        "x-forwarded-for: 127.0.0.1",
        "content-length: 4",
        "host: a",
    ] {
        assert!(
            body(&result).lines().any(|own| own == line),
            "{line} is not in {result}"
        );
    }
    assert!(
        result.ends_with("\n\nbody") && !result.contains("prefer:"),
        "{result}"
    );
    assert!(result.contains(&format!("skep-invocation: {}", invocation(&accepted))));
}

#[tokio::test]
async fn a_failure_is_a_result_as_well() {
    let go_on = Arc::new(Notify::new());
    go_on.notify_one();
    let world = World::of(vec![Planned("fails", EXEC, told(go_on, 7))]).await;
    let accepted = ask(&world, "/fails", "").await;
    let location = field(&accepted, "location").unwrap();
    let status = ended(&world, location).await;
    assert!(
        status.contains("\"failed\"") && status.contains("\"exit_code\":7"),
        "{status}"
    );
    let result = get(world.address, &format!("{location}/result")).await;
    assert!(
        result.starts_with("HTTP/1.1 500 ") && result.contains("\"exit-code\""),
        "{result}"
    );
    assert_eq!(result.matches("skep-invocation").count(), 1, "{result}");
}

#[tokio::test]
async fn a_large_body_is_kept_and_given_back() {
    let go_on = Arc::new(Notify::new());
    go_on.notify_one();
    let world = World::of(vec![Planned("large", EXEC, told(go_on, 0))]).await;
    let content = "0123456789".repeat(50_000);
    let accepted = ask(&world, "/large", &content).await;
    let location = field(&accepted, "location").unwrap();
    ended(&world, location).await;
    let result = get(world.address, &format!("{location}/result")).await;
    assert!(body(&result) == content, "{}", result.len());
}

#[tokio::test]
async fn a_full_backlog_is_an_answer() {
    let labels: &[_] = &[("skep.handler", "exec"), ("skep.backlog", "2"), ("skep.max", "1")];
    let go_on = Arc::new(Notify::new());
    let world = World::of(vec![Planned("few", labels, told(go_on.clone(), 0))]).await;
    let mut refused = None;
    // One runs and two wait; claiming takes its time.
    for _ in 0..8 {
        let answer = ask(&world, "/few", "").await;
        if !answer.starts_with("HTTP/1.1 202 ") {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("no more than a few are accepted");
    assert!(
        refused.starts_with("HTTP/1.1 429 ") && refused.contains("\"backlog-full\""),
        "{refused}"
    );
    assert!(field(&refused, "retry-after").is_some());
}

#[tokio::test]
async fn a_function_that_does_not_honour_it_is_waited_for() {
    let world = World::of(vec![Planned("m", &[("skep.async", "false")], mirror())]).await;
    let response = ask(&world, "/m", "").await;
    assert!(
        response.starts_with("HTTP/1.1 200 ") && field(&response, "preference-applied").is_none(),
        "{response}"
    );
}
