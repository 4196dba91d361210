//! What the tests on a Swarm share: a cluster of nodes in containers (`scripts/swarm`), the image of Skep to install
//! there, and the docker command against each node. It knows Skep from the outside only: the binary, HTTP and Docker.
//!
//! [`Cluster::installed`] is one cluster for the tests that need Skep on three nodes, or do harm to it: one after the
//! other. A test about getting Skep onto a Swarm has [`Cluster::own`]. `SKEP_TEST_SWARM=NAME` keeps the former from
//! one run to the next.

mod cluster;
mod follow;
mod function;
mod http;
mod image;
mod installed;

pub use cluster::{Cluster, Ended};
pub use follow::Followed;
pub use function::Function;
pub use http::{Answer, Load, Sample, ask, get, get_at};
pub use image::{built, skep_image};
pub use installed::{NODES, SHELL, at_once};

use std::time::Duration;

use skep_testing::within;

/// Far more than anything takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// How long it is until another machine is asked again: most questions are a process of their own.
const PAUSE: Duration = Duration::from_millis(200);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none within [`PATIENCE`]; `what` says what was waited for.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, PAUSE, ask).unwrap_or_else(|| panic!("waited in vain for {what}"))
}
