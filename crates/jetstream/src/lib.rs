//! The queue that the gateways of a Swarm share: asynchronous invocations, their ends and their results in NATS
//! JetStream, so that what one gateway accepted another runs when that one's node is lost.
//!
//! It owns the streams of its namespace (`docs/decisions/091-queue-on-a-swarm.md`), and in memory a picture of what
//! waits and runs, which follows them. It never runs an invocation, and never keeps a record of a synchronous one.

mod accept;
mod bodies;
mod claim;
mod config;
mod end;
mod error;
mod follow;
mod held;
mod live;
mod message;
mod metrics;
mod names;
mod queue;
mod streams;
mod sweep;

pub use config::Config;
pub use queue::JetStream;
