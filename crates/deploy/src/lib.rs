//! Compose projects, applied. Takes a [`Project`](skep_compose::Project) and a
//! Docker engine and makes the engine hold what the project says: networks,
//! volumes, images, services that run, functions that are parked as templates.
//! It owns the order in which that happens, the rule that only what changed is
//! replaced, and Compose's own names and labels, so that `docker compose` sees
//! the project as its own. It never starts a template, never removes what
//! lacks the project's label, and never prints: what happens is told to a
//! [`Progress`], of which [`progress`] has two.

pub mod accounts;
mod apply;
mod control;
mod down;
mod engine;
mod error;
mod image;
mod labels;
mod options;
pub mod progress;
mod registry;
mod resources;
mod spec;
mod state;
mod up;
mod wait;

pub use down::down;
pub use error::DeployError;
pub use options::{DownOptions, UpOptions};
pub use progress::{Event, Progress};
pub use up::{Deployed, up};
