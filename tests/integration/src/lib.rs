//! What the tests of the whole share: the real `skep serve` on a real engine, started on ports of its own in a
//! namespace of its own, and plain clients to talk to it. It knows Skep from the outside only: the binary, its
//! flags, HTTP and Docker; no crate of Skep's is linked. It ends and removes only what it started and made.

mod cgroups;
mod client;
mod engine;
mod relay;
mod serve;

pub use cgroups::{cgroup_homes, cgroups, processes_in};
pub use client::{Answer, Body, Client, empty, full};
pub use engine::Engine;
pub use relay::Relay;
pub use serve::{Skep, Start, binary};
pub use skep_testing::{Docker, PATIENCE, eventually, probe_image};

/// The image of an ordinary distribution, for what needs a shell.
pub const DEBIAN: &str = "debian:bookworm-slim";
