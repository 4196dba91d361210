//! The docker engine against a real Docker. Each test has a namespace of its own and leaves nothing behind.

mod common;
mod streams;
