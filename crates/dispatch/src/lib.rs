//! Dispatching: which instance serves which caller, and when one is launched, reused, frozen and ended. It owns
//! the queues, the limits of functions and of the node, and every instance between its launch and its removal;
//! it never speaks to Docker, never speaks HTTP to a function beyond asking whether it is ready, and keeps nothing
//! on disk.
//!
//! All rules live in `pool`, a state machine without I/O; what always holds, and who comes first, is written
//! there. Around it `shared` is the driver that carries the pool's decisions out, `instances` the tasks of one
//! instance's life, `ready` the wait until it accepts work, `logs` the question whose a line of its log is.
//!
//! What callers may rely on:
//! - An instance is never ended while a [`Lease`] on it is held, except by [`Dispatcher::end_all`].
//! - A caller waits for an instance no longer than its function's `timeout`; asynchronous work waits as long as it
//!   takes.
//! - Dropping [`Dispatcher::acquire`]'s future leaves the queue at once, and nothing of it stays behind.
//! - At rest, a function costs its entry in a map: no task, no timer.

mod allowance;
mod config;
mod dispatcher;
mod instances;
mod lease;
mod live;
mod logs;
pub mod metrics;
mod pool;
mod ready;
mod shared;
mod snapshot;
#[cfg(test)]
mod tests;
mod work;

pub use config::Config;
pub use dispatcher::Dispatcher;
pub use lease::Lease;
pub use ready::MAX_FIELDS;
pub use snapshot::{FunctionView, InstanceView, Snapshot, State, Totals};
pub use work::{Fate, Refusal, Work};
