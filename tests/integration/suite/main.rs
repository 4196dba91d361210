//! What Skep promises, tried on the real binary with a real engine. One file for each theme.

mod asynchronous;
mod cgi;
mod changed;
mod command;
mod contained;
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
mod lean_churn;
mod lean_crash;
mod lean_escape;
mod lean_parity;
mod limits;
mod logs;
mod registries;
mod signals;
mod socket;
mod streaming;
mod unready;
