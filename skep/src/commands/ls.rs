//! `skep ls`: the functions.

use skep_control::{api, view};

use crate::cli;
use crate::client::Client;
use crate::commands::{ago, say_reasons};
use crate::exit::{Exit, Outcome};
use crate::printer::Printer;

pub(crate) async fn run(printer: &Printer, options: cli::List) -> Outcome {
    let client = Client::new(&options.control)?;
    let list: api::Functions = client.get("/v1/functions").await?;
    if options.json {
        printer.json(&list)?;
        return Ok(Exit::Success);
    }
    let headings = [
        "FUNCTION",
        "STATE",
        "ROUTE",
        "HANDLER",
        "ENGINE",
        "IMAGE",
        "REVISION",
        "AGE",
        "INSTANCES",
    ];
    printer.table(&headings, list.functions.iter().map(row).collect())?;
    for function in &list.functions {
        say_reasons(printer, function);
    }
    if let Some(function) = list
        .functions
        .iter()
        .find(|function| !function.fallback.is_empty())
    {
        printer.note(&format!(
            "why lean does not run a function: skep inspect {}",
            function.name
        ));
    }
    if list.functions.is_empty() {
        printer.note("no functions; create one:");
        printer
            .note("  docker create --label skep.function=hello --label skep.handler=exec IMAGE echo hello");
    }
    Ok(Exit::Success)
}

fn row(function: &api::Function) -> Vec<String> {
    let state = match function.state {
        api::FunctionState::Ready => "ready",
        api::FunctionState::Invalid => "invalid",
    };
    let ready = function.state == api::FunctionState::Ready;
    let route = if ready && function.routes.is_empty() {
        "none".to_owned()
    } else {
        function.routes.join(",")
    };
    vec![
        function.name.clone(),
        state.to_owned(),
        route,
        function.handler.map_or("", view::handler).to_owned(),
        function.engine.clone().unwrap_or_default(),
        function.image.clone().unwrap_or_default(),
        function.revision.clone().unwrap_or_default(),
        function.created.map(ago).unwrap_or_default(),
        if ready {
            function.instances.to_string()
        } else {
            String::new()
        },
    ]
}
