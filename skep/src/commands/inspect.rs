//! `skep inspect`: everything about one function, invocation or instance.

use skep_control::api;
use uuid::Uuid;

use super::encoded;
use crate::cli;
use crate::client::Client;
use crate::exit::{Exit, Failed, Outcome};
use crate::printer::Printer;

pub(crate) async fn run(printer: &Printer, options: cli::Inspect) -> Outcome {
    let client = Client::new(&options.control)?;
    let what = &options.what;
    if what.parse::<Uuid>().is_ok() {
        if let Some(found) = client
            .find::<api::Invocation>(&format!("/v1/invocations/{what}"))
            .await?
        {
            return print(printer, options.json, &found, invocation);
        }
        let instances: api::Instances = client.get("/v1/instances").await?;
        if let Some(found) = instances
            .instances
            .into_iter()
            .find(|instance| instance.id == *what)
        {
            return print(printer, options.json, &found, instance);
        }
        return Err(Failed::new(
            Exit::NotFound,
            format!("no invocation or instance {what} is known"),
        ));
    }
    match client
        .find::<api::FunctionDetail>(&format!("/v1/functions/{}", encoded(what)))
        .await?
    {
        Some(found) => print(printer, options.json, &found, function),
        None => Err(
            Failed::new(Exit::NotFound, format!("no function is named {what:?}"))
                .hint("`skep ls` lists them; an invocation's or instance's id is given in full"),
        ),
    }
}

type Rows = Vec<(String, String)>;

fn print<T: serde::Serialize>(printer: &Printer, json: bool, thing: &T, rows: fn(&T) -> Rows) -> Outcome {
    if json {
        printer.json(thing)?;
        return Ok(Exit::Success);
    }
    let rows = rows(thing);
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        printer.line(&format!("{name:width$}  {value}"))?;
    }
    Ok(Exit::Success)
}

fn row(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

fn maybe<T: ToString>(name: &str, value: &Option<T>) -> (String, String) {
    (
        name.to_owned(),
        value.as_ref().map(ToString::to_string).unwrap_or_default(),
    )
}

fn function(detail: &api::FunctionDetail) -> Rows {
    let mut rows = vec![row("function", &detail.name)];
    if let Some(function) = &detail.function {
        rows.extend([
            row("state", "ready"),
            maybe("revision", &function.revision),
            row(
                "template",
                format!("{} ({})", function.template, function.template_name),
            ),
            maybe("created", &function.created),
            maybe("image", &function.image),
            maybe("engine", &function.engine),
            maybe("image id", &detail.image_id),
            row("networks", detail.networks.join(", ")),
            maybe("memory", &detail.memory),
            row("instances", function.instances),
            row("running", function.running),
            row("queued", function.queued),
        ]);
    } else {
        rows.push(row("state", "invalid"));
    }
    let fallback = detail.function.iter().flat_map(|function| &function.fallback);
    rows.extend(fallback.map(|reason| row("not lean", reason)));
    rows.extend(detail.settings.iter().map(|(label, value)| row(label, value)));
    for invalid in &detail.invalid {
        let template = format!("{} ({})", invalid.template, invalid.template_name);
        rows.extend(
            invalid
                .reasons
                .iter()
                .map(|reason| row("invalid", format!("{template}: {reason}"))),
        );
    }
    rows
}

fn invocation(invocation: &api::Invocation) -> Rows {
    let mut rows = vec![
        row("invocation", &invocation.id),
        row("function", &invocation.function),
        maybe("revision", &invocation.revision),
        maybe("parent", &invocation.parent),
        row("request", format!("{} {}", invocation.method, invocation.path)),
        row("status", invocation.status.as_str()),
        row("received", invocation.received),
        maybe("started", &invocation.started),
        maybe("ended", &invocation.ended),
        maybe("instance", &invocation.instance),
        maybe("node", &invocation.node),
        row("attempts", invocation.attempts),
    ];
    // In the order in which they happen, not in the alphabet's.
    for phase in skep_model::Phase::ALL {
        if let Some(time) = invocation.phases.get(phase.as_str()) {
            rows.push(row(phase.as_str(), format!("{time} ms")));
        }
    }
    if let Some(ending) = &invocation.ending {
        let kind = serde_json::to_value(ending.kind).ok();
        rows.extend([
            maybe("ending", &kind.as_ref().and_then(|kind| kind.as_str())),
            maybe("problem", &ending.problem.map(skep_model::ProblemCode::as_str)),
            maybe("exit code", &ending.exit_code),
            maybe("http status", &ending.http_status),
            maybe("detail", &ending.detail),
        ]);
    }
    rows
}

fn instance(instance: &api::Instance) -> Rows {
    let state = serde_json::to_value(instance.state).ok();
    vec![
        row("instance", &instance.id),
        row("function", &instance.function),
        row("revision", &instance.revision),
        maybe("state", &state.as_ref().and_then(|state| state.as_str())),
        row("engine", &instance.engine),
        maybe("locator", &instance.locator),
        maybe("node", &instance.node),
        row("started", instance.started),
        row("served", instance.served),
        row("invocations", instance.invocations.join(", ")),
    ]
}
