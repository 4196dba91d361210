//! Who runs where, and what is shown of it.

use skep_engine::Stdio;

use super::engine::Behaviour;
use super::functions::{exec, function};
use super::{SECOND, dispatcher, work};
use crate::Config;

#[tokio::test(start_paused = true)]
async fn invocations_are_known_by_their_instances_address() {
    let (dispatcher, _engine) = dispatcher(Config::new(100));
    let hello = function("hello", |_| {});
    let asked = work(&hello);
    let lease = dispatcher
        .acquire(&hello, asked.clone())
        .await
        .expect("it starts");
    let address = lease.instance().addresses()[0];
    assert_eq!(dispatcher.invocations_at(address), [asked.invocation]);
    drop(lease);
    assert!(dispatcher.invocations_at(address).is_empty());
    assert_eq!(asked.stdio, Stdio::Log);
}

#[tokio::test(start_paused = true)]
async fn who_calls_before_its_launch_has_returned_is_waited_for_and_then_known() {
    let (dispatcher, engine) = dispatcher(Config::new(100));
    let behaviour = Behaviour {
        start: SECOND,
        ..Behaviour::default()
    };
    engine.behave("command", behaviour);
    let command = function("command", exec);
    let asked = work(&command);
    let (invocation, address) = (asked.invocation, [10, 0, 0, 1].into());
    let early = async {
        tokio::task::yield_now().await;
        assert!(dispatcher.invocations_at(address).is_empty(), "nobody knows yet");
        dispatcher.launched(|_, other| other != Some(invocation)).await;
        assert!(
            dispatcher.invocations_at(address).is_empty(),
            "it was not asked for"
        );
        dispatcher.launched(|_, other| other == Some(invocation)).await;
        dispatcher.invocations_at(address)
    };
    let (lease, known) = tokio::join!(dispatcher.acquire(&command, asked), early);
    assert_eq!(known, [invocation]);
    drop(lease);
    dispatcher.launched(|_, _| true).await;
}

#[tokio::test(start_paused = true)]
async fn metrics_show_instances_queues_and_totals() {
    let (dispatcher, _engine) = dispatcher(Config::new(100));
    let hello = function("hello", |_| {});
    let _lease = dispatcher.acquire(&hello, work(&hello)).await.expect("it starts");
    let mut registry = prometheus_client::registry::Registry::default();
    crate::metrics::register(&mut registry, &dispatcher);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("text can be written");
    for line in [
        r#"skep_instances{function="hello",state="busy"} 1"#,
        r#"skep_queue_depth{function="hello",class="foreground"} 0"#,
        "skep_memory_promised_bytes 1",
        "skep_launches_total 1",
        r#"skep_grants_total{kind="cold"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
