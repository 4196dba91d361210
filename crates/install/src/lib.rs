//! `skep install` and `skep uninstall`: Skep comes onto a Swarm, is brought up to date, and leaves.
//!
//! It owns what carries the label `skep.part`: the overlay network, the keys, `pause`, the two services, and the servers
//! of the queue. It makes what is missing, updates what differs, leaves alone what is right, and removes what is no
//! longer used; so it can be run as often as anybody likes. What should be is arithmetic without I/O (`spec`, `plan`);
//! the rest asks a manager's engine. It never touches functions, and nothing that it did not make.

mod error;
mod install;
mod material;
mod nats;
mod options;
mod plan;
mod spec;
mod stack;
mod swarm;
mod uninstall;
mod wait;

pub use error::InstallError;
pub use install::{Installed, install};
pub use options::{Gateways, Options, Publish, Queue, UninstallOptions};
pub use stack::{Stack, stack};
pub use uninstall::uninstall;
