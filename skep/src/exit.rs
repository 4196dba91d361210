//! Exit codes that mean something, and the errors that carry them.

use std::fmt;
use std::process::ExitCode;

/// How the command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what was asked.
    Success = 0,
    /// It failed.
    Failure = 1,
    /// What was typed can't be understood (clap's own code).
    Usage = 2,
    /// The function, invocation or instance does not exist.
    NotFound = 3,
    /// The container engine, or a running Skep, can't be reached.
    Unreachable = 4,
    /// The function was invoked, and answered with an error.
    Invocation = 5,
    /// A second signal cut the shutdown short (128 + SIGINT).
    Interrupted = 130,
}

impl Exit {
    /// Every code with what it means, for the reference.
    pub(crate) const ALL: [(Self, &str); 7] = [
        (Self::Success, "it did what was asked"),
        (
            Self::Failure,
            "it failed; the message says why (`doctor`: at least one check failed)",
        ),
        (Self::Usage, "what was typed can't be understood"),
        (
            Self::NotFound,
            "the function, invocation or instance does not exist",
        ),
        (
            Self::Unreachable,
            "the container engine, or a running Skep, can't be reached",
        ),
        (
            Self::Invocation,
            "`invoke`: the function was invoked, and answered with a status of 400 or more",
        ),
        (
            Self::Interrupted,
            "`serve`: a second signal ended it before running work was done",
        ),
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed. The hint stands apart from the message: the one says what is, the other what to do.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failed {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    /// The error and everything behind it, in one line.
    pub(crate) fn from_error(exit: Exit, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut next = error.source();
        while let Some(source) = next {
            let text = source.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            next = source.source();
        }
        Self::new(exit, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What a command comes to.
pub(crate) type Outcome = Result<Exit, Failed>;
