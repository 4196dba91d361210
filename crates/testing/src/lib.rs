//! What tests share. Against a real Docker engine: a guard that removes what a test made, namespaces that no other
//! test uses, and `skep-test/probe`, a tiny image whose one static program can play every kind of function. Without
//! one: functions and records that no engine knows.
//! It is for tests only: no crate that ships depends on it. It never touches an object that it didn't make, and
//! it talks to Docker through the `docker` command, so that a test doesn't prove Skep with Skep's own client.
//!
//! ```no_run
//! let docker = skep_testing::Docker::new("streams");
//! let probe = skep_testing::probe_image();
//! let template = docker.create(&["--label", "skep.function=echo", "--label", "skep.handler=exec", &probe, "cat"]);
//! let function = docker.function(&template);
//! ```
//!
//! The modes of the probe (its first argument) are listed at the head of `probe/main.rs`.

mod cgroups;
mod docker;
mod eventually;
mod function;
mod lean;
mod nats;
mod probe;
mod record;

pub use docker::Docker;
pub use eventually::{PATIENCE, PAUSE, eventually, within};
pub use function::{function, template};
pub use nats::Nats;
pub use probe::probe_image;
pub use record::{ended, now, record};
