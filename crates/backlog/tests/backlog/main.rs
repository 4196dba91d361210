//! The backlog over a real store, with a runner that does as the test says and a clock that is paused.

mod removed;
mod running;
mod support;
