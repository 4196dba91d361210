//! `skep ps`: what runs now.

use serde::Serialize;
use skep_control::api;

use crate::cli;
use crate::client::Client;
use crate::commands::ago;
use crate::exit::{Exit, Outcome};
use crate::printer::Printer;

/// What `--json` prints.
#[derive(Serialize)]
struct Running {
    instances: Vec<api::Instance>,
    /// Functions for which callers wait.
    waiting: Vec<Waiting>,
}

#[derive(Serialize)]
struct Waiting {
    function: String,
    callers: u32,
}

pub(crate) async fn run(printer: &Printer, options: cli::List) -> Outcome {
    let client = Client::new(&options.control)?;
    let instances: api::Instances = client.get("/v1/instances").await?;
    let functions: api::Functions = client.get("/v1/functions").await?;
    let waiting = functions
        .functions
        .into_iter()
        .filter(|function| function.queued > 0);
    let waiting: Vec<Waiting> = waiting
        .map(|function| Waiting {
            function: function.name,
            callers: function.queued,
        })
        .collect();
    if options.json {
        printer.json(&Running {
            instances: instances.instances,
            waiting,
        })?;
        return Ok(Exit::Success);
    }
    let mut headings = vec![
        "INSTANCE",
        "FUNCTION",
        "STATE",
        "AGE",
        "SERVED",
        "ENGINE",
        "LOCATOR",
        "INVOCATIONS",
    ];
    let several = instances.instances.iter().any(|instance| instance.node.is_some());
    if several {
        headings.push("NODE");
    }
    let rows = instances.instances.iter().map(|instance| row(instance, several));
    printer.table(&headings, rows.collect())?;
    if instances.instances.is_empty() && waiting.is_empty() {
        printer.note("nothing runs; an instance is made when something asks");
    }
    for waiting in &waiting {
        printer.note(&format!(
            "{} wait for an instance of {}",
            waiting.callers, waiting.function
        ));
    }
    Ok(Exit::Success)
}

fn row(instance: &api::Instance, several: bool) -> Vec<String> {
    let mut row = vec![
        instance.id.clone(),
        instance.function.clone(),
        state(instance.state).to_owned(),
        ago(instance.started),
        instance.served.to_string(),
        instance.engine.clone(),
        instance.locator.clone().unwrap_or_default(),
        instance.invocations.join(","),
    ];
    if several {
        row.push(instance.node.clone().unwrap_or_default());
    }
    row
}

fn state(state: api::InstanceState) -> &'static str {
    use api::InstanceState::{Busy, Ending, Frozen, Idle, Spare, Starting};
    match state {
        Starting => "starting",
        Spare => "spare",
        Busy => "busy",
        Idle => "idle",
        Frozen => "frozen",
        Ending => "ending",
    }
}
