//! Discovery against the real engine. Each test has a namespace of its own and removes what it made.

mod common;
mod connection;
mod deploying;
mod networks;
mod pruning;
mod refusing;
