//! Dispatching: which instance serves which caller, when one is launched, reused, frozen, ended.

mod config;
mod dispatcher;
mod lease;
mod snapshot;
mod work;

pub use config::Config;
pub use dispatcher::Dispatcher;
pub use lease::Lease;
pub use snapshot::{FunctionView, InstanceView, Snapshot, State, Totals};
pub use work::{Fate, Refusal, Work};
