//! What may be said through a function's Docker socket: requests of the Engine API, parsed into types that know only
//! what is allowed, and written afresh for the daemon.
//!
//! It owns the policy: which endpoints there are, which field of a body may say what, which names a grant covers. It
//! never does I/O, never knows which containers exist, and never lets a byte of a request through: whatever the
//! daemon gets is made from these types. The rules stand as tables in `tables.rs` and `route.rs`.

pub mod create;
mod exec;
mod fields;
mod filters;
mod host;
mod image;
mod json;
mod mounts;
mod network;
mod query;
mod refusal;
mod route;
mod tables;

pub use create::{Create, Settled};
pub use exec::{ExecCreate, ExecStart};
pub use filters::Filters;
pub use host::Host;
pub use image::Image;
pub use json::Json;
pub use network::{Connect, NetworkAsked};
pub use query::{Kind, Query};
pub use refusal::Refusal;
pub use route::{Call, ContainerCall, Target, target};

/// Where clients look for Docker; bound into a child, it means the child's own socket.
pub const SOCKET: &str = "/var/run/docker.sock";
