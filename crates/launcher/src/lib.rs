//! What a task of the service `skep-agent` does: it keeps this node's agent, a container of its own, since a service's
//! task can't have what an agent needs (the host's processes and cgroups, an open seccomp profile).
//!
//! It owns that one container: starts it with named capabilities and never `--privileged`, hands it its keys through
//! its standard input, starts it again when it dies, replaces it by one that is configured differently, and removes it
//! with the service. It is a reconciler: look at the engine, take one step. It never looks at functions or sandboxes.
//!
//! During an update the new task starts before the old one is told to end. Of several the newest acts; one that is
//! told to end and isn't the newest leaves the agent to its successor, any other takes the agent along.

mod agent;
mod body;
mod clean;
mod error;
mod node;
mod plan;
mod run;

pub use body::Settings;
pub use clean::{Clean, clean};
pub use error::LauncherError;
pub use run::run;
