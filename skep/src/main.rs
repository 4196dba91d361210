//! The command `skep`: a thin layer over the crates. It owns what is typed and what is printed, and it puts the
//! parts of `skep serve` together; every idea lives in a crate of its own.

mod cli;
mod client;
mod commands;
mod environment;
mod exit;
mod printer;
#[cfg(test)]
mod reference;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::run(cli::parse())
}
