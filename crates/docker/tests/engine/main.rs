//! The docker engine against a real Docker. Each test has a namespace of its own and leaves nothing behind.

mod calls;
mod common;
mod container;
mod ending;
mod http;
mod leftovers;
mod parity;
mod streams;
