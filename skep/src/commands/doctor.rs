//! `skep doctor`: what this host can and cannot do.

use std::path::PathBuf;

use skep_doctor::{Config, Level, examine};

use crate::cli;
use crate::exit::{Exit, Outcome};
use crate::printer::{Printer, Tone};

pub(crate) async fn run(printer: &Printer, options: cli::Doctor) -> Outcome {
    let config = Config {
        docker_host: options.docker_host,
        data_directory: options.data_dir,
        docker_config: docker_config(),
        listeners: vec![options.listen, options.control],
    };
    let report = examine(&config).await;
    if options.json {
        printer.json(&report)?;
    } else {
        let width = report
            .findings
            .iter()
            .map(|finding| finding.check.len())
            .max()
            .unwrap_or(0);
        for finding in &report.findings {
            let tone = match finding.level {
                Level::Ok => Tone::Good,
                Level::Warn => Tone::Attention,
                Level::Fail => Tone::Bad,
            };
            let level = printer.toned(&format!("{:4}", finding.level.as_str()), tone);
            printer.line(&format!("{level}  {:width$}  {}", finding.check, finding.finding))?;
            if let Some(advice) = &finding.advice {
                printer.line(&format!("{:6}{:width$}  → {advice}", "", ""))?;
            }
        }
    }
    Ok(if report.worst() == Level::Fail {
        Exit::Failure
    } else {
        Exit::Success
    })
}

/// Where the docker command reads its configuration.
fn docker_config() -> Option<PathBuf> {
    let directory = std::env::var_os(crate::environment::DOCKER_CONFIG).map(PathBuf::from);
    let directory = directory.or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
    directory.map(|directory| directory.join("config.json"))
}
