//! What can be typed, as types. Nothing here reads a file, opens a socket or decides anything.

mod agent;
mod common;
mod gateway;
mod inspect;
mod install;
mod serve;

pub(crate) use agent::Agent;
pub(crate) use common::{Addresses, Common, Docker, Listeners, LogFormat, Making};
pub(crate) use gateway::Gateway;
pub(crate) use inspect::{Control, Deploy, Doctor, Inspect, Invoke, List, Logs, Remove, Tree};
pub(crate) use install::{Install, Launcher, Publish, QueueKind, Uninstall};
pub(crate) use serve::Serve;

use std::net::SocketAddr;

use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::environment;
use crate::exit::Exit;

const EXAMPLE: &str = "\
A function is a container that was created and never started:
  docker create --label skep.function=hello --label skep.handler=exec debian:bookworm-slim echo hello
  curl localhost:8080/hello";

/// Functions as parked Docker containers: each request gets a fresh container of its own.
#[derive(Debug, Parser)]
#[command(name = "skep", version, about, max_term_width = 100)]
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
    /// Draw what started what: invocations, instances, and the containers that they started
    Tree(Tree),
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
    /// Run invocations on a node of a Swarm, in the sandboxes that Swarm placed there; `skep install` starts it, and
    /// hands it its keys through standard input
    #[command(hide = true)]
    Agent(Box<Agent>),
    /// Take requests on a Swarm and have its agents run them; `skep install` starts it on managers
    #[command(hide = true)]
    Gateway(Box<Gateway>),
    /// Put Skep onto a Swarm, or bring it up to date there; run as often as you like
    Install(Install),
    /// Take Skep off a Swarm; functions stay, they are Docker's own
    Uninstall(Uninstall),
    /// Keep this node's agent, as a task of the service skep-agent
    #[command(hide = true)]
    Launcher(Launcher),
    /// Make lean instances for the `skep serve` at the other end of standard input
    #[command(hide = true)]
    Spawner,
}

/// What was typed; without anything sensible this ends the process, as clap does it.
pub(crate) fn parse() -> Cli {
    Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
}

/// The command as clap knows it; `--help` and the reference are made from it.
pub(crate) fn command() -> Command {
    let mut more = format!("{EXAMPLE}\n\nExit codes:\n");
    for (exit, meaning) in Exit::ALL {
        more.push_str(&format!("  {:3}  {meaning}\n", exit as u8));
    }
    more.push_str("\nEnvironment, besides what stands with the flags of each verb:\n");
    for (name, meaning) in environment::WITHOUT_FLAG {
        more.push_str(&format!("  {name}: {meaning}\n"));
    }
    Cli::command().after_help(EXAMPLE).after_long_help(more)
}

/// Where to listen. The control listener's variable is a URL for the other verbs; whoever sets it once for both is
/// understood, and so is the name that every host has for itself.
fn address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.trim_start_matches("http://").trim_end_matches('/');
    let named = bare
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    named.as_deref().unwrap_or(bare).parse().map_err(|_| {
        "must be an address and a port, such as 127.0.0.1:8080; 0.0.0.0 is every address".to_owned()
    })
}
