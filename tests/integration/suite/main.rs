//! What Skep promises, tried on the real binary with a real engine. One file for each theme.

mod asynchronous;
mod calls;
mod cgi;
mod changed;
mod command;
mod discovery;
mod engine;
mod exec;
mod fairness;
mod faults;
mod forwarding;
mod hostile;
mod http2;
mod instances;
mod lean;
mod logs;
mod registries;
mod signals;
mod socket;
mod streaming;
mod unready;
