//! The gateway from a caller's socket to an instance's, with instances that live in this process.

mod cgi;
mod client;
mod engine;
mod exec;
mod http;
mod servers;
mod upgrades;
mod world;
