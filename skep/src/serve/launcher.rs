//! `skep launcher`: what a task of the service `skep-agent` runs.

use skep_launcher::{Clean, Settings};
use skep_wire::{KEYS_FILE, variable};

use super::logging;
use super::signals::Signals;
use crate::cli::{self, LogFormat};
use crate::exit::{Exit, Failed, Outcome};

/// Keeps this node's agent until a signal; or sweeps the node once.
pub(crate) async fn run(options: cli::Launcher) -> Outcome {
    logging::start("info", LogFormat::Text)?;
    let docker = skep_docker::connect_client(None)
        .await
        .map_err(|error| Failed::from_error(Exit::Unreachable, &error))?;
    let failed = |error: skep_launcher::LauncherError| Failed::from_error(Exit::Failure, &error);
    if options.leave {
        let clean = Clean {
            data: options.remove,
            volumes: options.volumes,
        };
        skep_launcher::clean(&docker, &clean).await.map_err(failed)?;
        return Ok(Exit::Success);
    }
    let keys = std::fs::read_to_string(KEYS_FILE).map_err(|error| {
        Failed::new(Exit::Usage, format!("{KEYS_FILE} can't be read: {error}"))
            .hint("the service skep-agent runs this, which `skep install` makes")
    })?;
    let settings = Settings {
        task: said(variable::TASK),
        node: said(variable::NODE),
        node_name: said(variable::NODE_NAME),
        keys,
        environment: options.environment,
        data: options.data,
        drain: options.drain,
    };
    let mut signals = Signals::listen().map_err(|error| Failed::from_error(Exit::Failure, &error))?;
    let mut again = Signals::listen().map_err(|error| Failed::from_error(Exit::Failure, &error))?;
    let first = async {
        signals.next().await;
    };
    let second = move || async move {
        // Each listener hears every signal: the first one it has heard already.
        again.next().await;
        again.next().await;
    };
    skep_launcher::run(&docker, &settings, first, second)
        .await
        .map_err(failed)?;
    Ok(Exit::Success)
}

fn said(variable: &str) -> String {
    std::env::var(variable).unwrap_or_default()
}
