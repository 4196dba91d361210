//! The Docker socket that a function can be trusted with.
//!
//! It owns the sockets (one for each instance of a function with `skep.spawn`, and for each child whose depth allows
//! one), which containers are whose children, and their budgets; and it ends children whose time is over. What a
//! request may say is decided in `skep-grant`, and nothing but what that crate wrote goes on to the daemon. It never
//! touches a container without its own labels, and never decides when an instance is made.
//!
//! Start reading at `calls/mod.rs`, where a request comes in; [`Sockets`] is the public face.

mod answer;
mod archive;
mod below;
mod budget;
mod calls;
mod child;
mod children;
mod daemon;
mod disk;
mod elsewhere;
mod engine;
mod handover;
mod history;
mod holder;
mod labels;
mod lean;
mod listed;
mod listener;
mod names;
mod network;
mod reconcile;
mod share;
mod shared;
mod totals;
mod visits;

pub use budget::{Agreed, Budget, Held, Place, Question, Usage};
pub use child::{Child, State};
pub use elsewhere::{Elsewhere, Unreached};
pub use engine::{Config, Lineage, Sockets, SpawningEngine};
