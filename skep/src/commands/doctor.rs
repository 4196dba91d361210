//! `skep doctor`: what this host can and cannot do.

use skep_doctor::{Config, Level, examine};

use crate::cli;
use crate::environment;
use crate::exit::{Exit, Outcome};
use crate::printer::{Printer, Tone};

pub(crate) async fn run(printer: &Printer, options: cli::Doctor) -> Outcome {
    let config = Config {
        docker_host: options.docker.host,
        data_directory: options.data_dir,
        docker_config: environment::docker_config().map(|folder| folder.join("config.json")),
        listeners: vec![options.addresses.listen, options.addresses.control],
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
