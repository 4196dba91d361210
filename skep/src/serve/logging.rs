//! Log lines, on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;
use crate::environment;
use crate::exit::{Exit, Failed};

/// Starts logging for the whole process.
pub(super) fn start(filter: &str, format: LogFormat) -> Result<(), Failed> {
    let filter: EnvFilter = filter.parse().map_err(|error| {
        Failed::new(Exit::Usage, format!("--log {filter}: {error}"))
            .hint("use error, warn, info, debug or trace, or filters such as skep_docker=debug,info")
    })?;
    let no_color = std::env::var_os(environment::NO_COLOR).is_some_and(|value| !value.is_empty());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => subscriber
            .with_ansi(io::stderr().is_terminal() && !no_color)
            .with_target(false)
            .try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failed::new(Exit::Failure, format!("logging can't be started: {error}")))
}
