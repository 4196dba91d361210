//! What can be typed, as types. Nothing here reads a file, opens a socket or decides anything.

mod inspect;
mod serve;

pub(crate) use inspect::{Control, Deploy, Doctor, Inspect, Invoke, List, Logs, Remove};
pub(crate) use serve::{LogFormat, Serve};

use std::net::SocketAddr;

use clap::{CommandFactory, Parser, Subcommand};

/// Functions as parked Docker containers: each request gets a fresh container of its own.
#[derive(Debug, Parser)]
#[command(name = "skep", version, about, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "A function is a container that was created and never started:\n  \
    docker create --label skep.function=hello --label skep.handler=exec debian:bookworm-slim echo hello\n  \
    curl localhost:8080/hello")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Take requests and run functions, until a signal
    Serve(Box<Serve>),
    /// Bring a Compose file into being: its functions parked, its other services started
    Deploy(Deploy),
    /// List the functions, and what is wrong with those that can't run
    Ls(List),
    /// List what runs now: instances and their invocations
    Ps(List),
    /// Invoke a function and print its answer
    Invoke(Invoke),
    /// Show what a function's instances, or one invocation, wrote
    Logs(Logs),
    /// Show everything about a function, an invocation or an instance
    Inspect(Inspect),
    /// Remove functions, by removing their templates from Docker
    Rm(Remove),
    /// Tell what this host can and cannot do, and why
    Doctor(Doctor),
}

/// What was typed; without anything sensible this ends the process, as clap does it.
pub(crate) fn parse() -> Cli {
    Cli::parse()
}

/// The command as clap knows it, for the reference.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// The same variable is a URL for the other verbs; whoever sets it once for both is understood.
fn control_address(text: &str) -> Result<SocketAddr, String> {
    text.trim_start_matches("http://")
        .trim_end_matches('/')
        .parse()
        .map_err(|_| "must be an address and a port, such as 127.0.0.1:8081".to_owned())
}
