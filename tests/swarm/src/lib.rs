//! What the tests on a Swarm share: a cluster of nodes in containers (`scripts/swarm`), the image of Skep to install
//! there, and the docker command against each node. It knows Skep from the outside only: the binary, HTTP and Docker.
//!
//! [`Cluster::shared`] is one cluster for all tests of a run, each of which uses names of its own. A test that
//! installs Skep, or takes nodes away, has [`Cluster::own`].

mod cluster;
mod image;

pub use cluster::{Cluster, Ended};
pub use image::skep_image;

use std::time::{Duration, Instant};

/// Far more than anything takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within [`PATIENCE`]; `what` says what was waited for.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        // The state is another machine's: it can only be asked for.
        std::thread::sleep(Duration::from_millis(200));
    }
}
