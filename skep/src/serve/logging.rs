//! Log lines, on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::LogFormat;
use crate::environment;
use crate::exit::{Exit, Failed};

/// Starts logging for the whole process.
pub(super) fn start(filter: &str, format: LogFormat) -> Result<(), Failed> {
    // A bare level is about Skep: what its libraries say below `info` (whole answers of the engine, with every
    // secret in them) has to be asked for by name.
    let whole = match filter.parse::<LevelFilter>() {
        Ok(_) => format!("{filter},bollard=info,hyper=info,hyper_util=info,h2=info"),
        Err(_) => filter.to_owned(),
    };
    let filter: EnvFilter = whole.parse().map_err(|error| {
        Failed::new(Exit::Usage, format!("--log {filter}: {error}"))
            .hint("use error, warn, info, debug or trace, or filters such as skep_docker=debug,info")
    })?;
    let no_color = std::env::var_os(environment::NO_COLOR).is_some_and(|value| !value.is_empty());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => subscriber
            .with_ansi(io::stderr().is_terminal() && !no_color)
            .with_target(false)
            .try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failed::new(Exit::Failure, format!("logging can't be started: {error}")))
}
