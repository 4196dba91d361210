//! What the tests of the whole share: the real `skep serve` on a real engine, started on ports of its own in a
//! namespace of its own, and plain clients to talk to it. It knows Skep from the outside only: the binary, its
//! flags, HTTP and Docker; no crate of Skep's is linked. It ends and removes only what it started and made.

mod cgroups;
mod client;
mod engine;
mod relay;
mod serve;

pub use cgroups::{cgroup_homes, cgroups};
pub use client::{Answer, Body, Client, empty, full};
pub use engine::Engine;
pub use relay::Relay;
pub use serve::{Skep, Start, binary};
pub use skep_testing::{Docker, probe_image};

use std::time::{Duration, Instant};

/// The image of an ordinary distribution, for what needs a shell.
pub const DEBIAN: &str = "debian:bookworm-slim";

/// Far more than anything takes, also in an emulated machine; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within [`PATIENCE`]; `what` says what was waited for.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        // The state is another process's: it can only be asked for.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
