//! The driver against an engine that does what the test says, on a paused clock.

mod driver;
mod engine;
pub(crate) mod functions;
mod logs;
