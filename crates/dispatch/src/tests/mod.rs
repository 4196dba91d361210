//! The driver against an engine that does what the test says, on a paused clock.

pub(crate) mod functions;
