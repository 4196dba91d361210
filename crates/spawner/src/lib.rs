//! The process that makes lean instances: single-threaded, forked before the async runtime starts, so that a fork
//! copies little and a child may do anything between its birth and its exec.
//!
//! It owns the children: it makes them from a [`Spec`], tells how they ended, and kills every one of them when the
//! process that it serves goes away. It never decides what an instance may do (the spec says it all), never
//! speaks to Docker and never reads a label.

mod ahead;
mod cgroup;
mod child;
mod client;
mod handover;
mod server;
mod spec;
mod start;
mod wire;

pub use ahead::{Prepared, Refused};
pub use client::{Child, Spawner};
pub use server::serve;
pub use spec::{
    CgroupDirectory, Device, Filter, Identity, Limit, Mount, MountKind, MountOptions, Process, Propagation,
    PropagationKind, Root, Spec, Tree,
};
pub use wire::{Ahead, Exited, Failure, Joining, Launch, Order, Own, Streams, TerminalSize};
