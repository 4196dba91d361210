//! The `lean` engine: a fresh container made with the kernel's own calls, in about the time that the kernel needs.
//!
//! It owns what an instance is (the plan, read from a template's `inspect` and refused where anything in it can't be
//! given exactly as Docker gives it), the sandboxes that pin images and hold networks, and Skep's own cgroup tree. It
//! never makes a process itself (the spawner does), and never decides when an instance is made or ended.
//!
//! Start reading at [`LeanEngine`], then `plan.rs`.

mod apparmor;
mod base;
mod calls;
mod capabilities;
mod cgroups;
mod children;
mod choice;
mod demand;
mod engine;
mod examine;
mod files;
mod folders;
mod held;
mod host;
mod inspect;
mod instance;
mod launch;
mod layers;
mod life;
mod limits;
mod mending;
mod metrics;
mod pause;
mod plan;
mod pool;
mod sandbox;
mod seccomp;
mod sight;
mod stock;
mod streams;
mod syscalls;
mod trial;
mod usual;
mod view;

pub use children::{ChildAhead, ChildRun, JoinRun, Joined, PreparedChild, RunError, RunningChild, Shape};
pub use choice::Engines;
pub use engine::{Config, LeanEngine};
pub use examine::{Examination, examine};
pub use view::SandboxView;
