//! Whole commands: what is typed, the exit code, what stands on standard output and on standard error.

mod asking;
mod documents;
mod fake;
mod serving;
mod usage;

use std::process::{Command, Output, Stdio};

/// What a command came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The command with an environment that holds nothing of whoever runs the tests.
pub(crate) fn skep(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skep"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// Runs a command to its end.
pub(crate) fn ran(command: &mut Command) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("the command prints UTF-8");
    Ran {
        exit: status.code().unwrap_or(-1),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}
