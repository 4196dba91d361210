//! The `docker` engine: an instance is a Docker container made from the template's own `inspect`.
//!
//! It owns every container that Skep makes (from create to removal, and the sweep that finds what a crash left
//! behind), the way to an instance's port, the call listeners behind `SKEP_URL`, and the lock that gives a namespace
//! to one Skep. It never decides when an instance is made or ended, never reads labels of templates, and never
//! touches a container without Skep's labels.
//!
//! Start reading at [`DockerEngine`], then `launch.rs`.

mod addresses;
mod api;
mod body;
mod call;
mod client;
mod engine;
mod environment;
mod error;
mod exit;
mod inside;
mod instance;
mod launch;
mod lines;
mod lock;
mod metrics;
mod networks;
mod own_networks;
mod place;
mod ports;
mod raw;
mod reach;
mod removal;
mod shared;
mod streams;
mod subnet;
mod support;
mod sweep;
mod way;

pub use body::{Unreadable, template_body};
pub use call::CallReceiver;
pub use client::{ConnectError, DEFAULT_HOST, Endpoint, connect_client};
pub use engine::{Config, DockerEngine, EngineError};
pub use error::CallError;
pub use inside::Inside;
pub use lines::Lines;
pub use lock::{LockError, NamespaceLock};
pub use ports::{HeldPort, Ports};
pub use sweep::SweepReport;
pub use way::{FirstProcess, Way};
