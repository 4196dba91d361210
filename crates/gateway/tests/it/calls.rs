//! The listener by which functions call each other.

use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::client::{body, field, invocation, rest};
use crate::servers::{by_hand, mirror};
use crate::world::{Planned, World};

async fn call(world: &World, request: &str) -> String {
    let mut stream = world.call().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: gateway:8082\r\n{fields}connection: close\r\n\r\n")
}

#[tokio::test]
async fn every_function_is_found_by_its_name_and_by_no_route() {
    let world = World::of(vec![
        Planned("hidden", &[("skep.route", "none")], mirror()),
        Planned("moved", &[("skep.route", "/elsewhere")], mirror()),
        Planned("whole", &[("skep.strip", "false")], mirror()),
    ])
    .await;
    let hidden = call(&world, &get("/hidden/x?y", "")).await;
    assert!(
        body(&hidden).starts_with("GET /x?y\n") && hidden.contains("x-forwarded-prefix: /hidden"),
        "{hidden}"
    );
    assert!(body(&call(&world, &get("/moved", "")).await).starts_with("GET /\n"));
    assert!(body(&call(&world, &get("/whole/x", "")).await).starts_with("GET /whole/x\n"));
    for path in ["/elsewhere", "/", "/hiddenx", "/v1/functions", "/metrics"] {
        let response = call(&world, &get(path, "")).await;
        assert!(response.starts_with("HTTP/1.1 404 "), "{path}: {response}");
    }
    let public = crate::client::get(world.address, "/hidden").await;
    assert!(public.starts_with("HTTP/1.1 404 "), "{public}");
}

#[tokio::test]
async fn a_claimed_parent_is_believed_where_it_runs_and_nowhere_else() {
    let (begun, mut waiting) = mpsc::channel::<()>(1);
    let hang = by_hand(std::sync::Arc::default(), move |stream, _| {
        let begun = begun.clone();
        async move {
            begun.send(()).await.unwrap();
            std::future::pending::<()>().await;
            drop(stream);
        }
    });
    let world = World::of(vec![
        Planned("caller", &[], hang),
        Planned("called", &[], mirror()),
    ])
    .await;
    let alone = call(&world, &get("/called", "")).await;
    assert_eq!(world.record(invocation(&alone)).await.parent, None);
    // Instances of this engine all have the address from which these calls come.
    let mut outer = tokio::net::TcpStream::connect(world.address).await.unwrap();
    outer
        .write_all(b"GET /caller HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    waiting.recv().await.unwrap();
    let running = world.dispatcher.invocations_at([127, 0, 0, 1].into());
    assert_eq!(running.len(), 1);
    for claim in [format!("skep-invocation: {}\r\n", running[0]), String::new()] {
        let response = call(&world, &get("/called", &claim)).await;
        assert_eq!(
            world.record(invocation(&response)).await.parent,
            Some(running[0]),
            "{claim:?}"
        );
    }
    let lie = format!("skep-invocation: {}\r\n", skep_model::InvocationId::generate());
    let response = call(&world, &get("/called", &lie)).await;
    assert_eq!(world.record(invocation(&response)).await.parent, None);
}

#[tokio::test]
async fn asynchronous_calls_are_taken_whatever_the_label_says_and_looked_at_from_there() {
    let world = World::of(vec![Planned(
        "m",
        &[("skep.async", "false"), ("skep.route", "none")],
        mirror(),
    )])
    .await;
    let accepted = call(&world, &get("/m/x", "prefer: respond-async\r\n")).await;
    assert!(accepted.starts_with("HTTP/1.1 202 "), "{accepted}");
    let location = field(&accepted, "location").unwrap().to_owned();
    let asking = async {
        loop {
            let result = call(&world, &get(&format!("{location}/result"), "")).await;
            if result.starts_with("HTTP/1.1 200 ") {
                return result;
            }
            assert!(result.starts_with("HTTP/1.1 409 "), "{result}");
        }
    };
    let result = tokio::time::timeout(crate::client::PATIENCE, asking)
        .await
        .expect("it ends");
    assert!(body(&result).starts_with("GET /x\n"), "{result}");
}
