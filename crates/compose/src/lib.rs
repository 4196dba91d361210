//! Compose files, read. Takes the files that a user names (or that Compose
//! itself would find), the `.env` beside them and the process's environment,
//! and gives a typed [`Project`], or every [`Problem`] at once, each with its
//! file, line, column and what to do. It owns the Compose format: its short
//! and long forms, interpolation, merge rules, profiles, and the rule that a
//! key which is not understood is refused by name. It reads files and nothing
//! else: it never talks to an engine, never writes, never looks at the
//! process's own environment or directory.

mod decode;
mod dotenv;
mod interpolate;
mod load;
mod problem;
mod project;
mod yaml;

pub use interpolate::{InterpolationError, Variables, interpolate};
pub use load::{LoadOptions, Loaded, load};
pub use problem::{ComposeErrors, Note, Position, Problem};
pub use project::{
    Build, Condition, Dependency, Device, FileMount, FileObject, Healthcheck, Ipam, Limits, Logging, Mount,
    Network, Port, Probe, Project, PullPolicy, Restart, Service, ServiceNetwork, Subnet, Ulimit, Volume,
};
