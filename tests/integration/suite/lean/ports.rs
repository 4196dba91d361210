//! Instances that share a sandbox's network get a port each, and nothing else takes it.

use futures::future::join_all;
use http::StatusCode;
use skep_tests::{Skep, probe_image};

/// Instances at once.
const TOGETHER: usize = 12;

#[tokio::test]
async fn instances_that_start_together_in_one_network_never_get_the_same_port() {
    let skep = Skep::start("lean-ports").await;
    // Few ports for outgoing connections: whoever took an instance's port from these would take one twice at once.
    let few = ["--sysctl", "net.ipv4.ip_local_port_range=40000 40063"];
    let labels = ["engine=lean", "max=100"];
    skep.deploy("h", &labels, &few, &[&probe_image(), "http", "--delay", "200"])
        .await;
    for _ in 0..3 {
        let answers = join_all((0..TOGETHER).map(|_| skep.public.get("/h"))).await;
        for answer in answers {
            let record = skep.record_of(&answer).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}\n{record:#}");
        }
    }
    skep.finish().await;
}
