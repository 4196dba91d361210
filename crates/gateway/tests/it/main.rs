//! The gateway from a caller's socket to an instance's, with instances that live in this process.

mod answers;
mod asynchronous;
mod calls;
mod cgi;
mod client;
mod draining;
mod engine;
mod exec;
mod faults;
mod framing;
mod http;
mod limits;
mod names;
mod servers;
mod upgrades;
mod uploads;
mod world;
