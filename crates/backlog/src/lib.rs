//! Runs accepted asynchronous invocations: an idempotent reconciler that compares the work that waits in the store
//! with what may run now, claims it, has it run and stores how it ended. It owns the decision when accepted work is
//! claimed, put back, repeated after a restart or given up because its function is gone. It never accepts work,
//! never makes instances and knows nothing of HTTP: a [`Runner`] does one run.

mod attempt;
mod backlog;
mod metrics;
mod plan;
mod runner;

pub use backlog::{Backlog, Clock, Config};
pub use runner::{Ran, Runner};
