//! `skep logs`: what instances wrote.

use http::Request;
use jiff::Timestamp;
use skep_control::api;
use skep_model::{InvocationId, LogStream, label};

use super::{encoded, say_reasons};
use crate::cli;
use crate::client::{self, Client, Lines};
use crate::exit::{Exit, Failed, Outcome};
use crate::printer::Printer;

pub(crate) async fn run(printer: &Printer, options: cli::Logs) -> Outcome {
    let client = Client::new(&options.control)?;
    let of_invocation = options.whose.parse::<InvocationId>().is_ok();
    let request = Request::get(path(&options, of_invocation)?).body(client::nothing());
    let request = request.map_err(|error| Failed::from_error(Exit::Usage, &error))?;
    let answer = client.send(request).await?;
    let status = answer.response.status();
    if !status.is_success() {
        return Err(client::refused(status, &answer.collect().await?));
    }
    // Before the lines: with --follow they have no end.
    let never_runs = !of_invocation && say_why_invalid(printer, &client, &options.whose).await;
    let mut lines = Lines::new(answer);
    let mut any = never_runs;
    while let Some(line) = lines.next().await {
        let line = line?;
        any = true;
        if options.json {
            printer.bytes(&[line.as_slice(), b"\n"].concat())?;
            continue;
        }
        let line: api::LogLine = serde_json::from_slice(&line).map_err(|error| {
            Failed::new(Exit::Failure, format!("a log line can't be understood: {error}"))
        })?;
        printer.line(&shown(&line, options.timestamps, of_invocation))?;
    }
    if !any {
        printer.note("nothing was logged; the standard output of exec and cgi is the answer and not the log");
    }
    Ok(Exit::Success)
}

/// Says so where a function is invalid, and nothing of it runs. The lines are no worse where that can't be told.
async fn say_why_invalid(printer: &Printer, client: &Client, name: &str) -> bool {
    let path = format!("/v1/functions/{}", encoded(name));
    let Ok(Some(detail)) = client.find::<api::FunctionDetail>(&path).await else {
        return false;
    };
    if detail.function.is_some() || detail.invalid.is_empty() {
        return false;
    }
    printer.note(&format!("{name} is invalid and does not run:"));
    for invalid in &detail.invalid {
        say_reasons(printer, invalid);
    }
    true
}

fn path(options: &cli::Logs, of_invocation: bool) -> Result<String, Failed> {
    let mut path = if of_invocation {
        format!("/v1/invocations/{}/logs?follow={}", options.whose, options.follow)
    } else {
        format!(
            "/v1/logs?function={}&follow={}",
            encoded(&options.whose),
            options.follow
        )
    };
    if let Some(tail) = options.tail {
        path.push_str(&format!("&tail={tail}"));
    }
    if let Some(since) = &options.since {
        path.push_str(&format!(
            "&since={}",
            encoded(&since_time(since, Timestamp::now())?.to_string())
        ));
    }
    Ok(path)
}

fn since_time(text: &str, now: Timestamp) -> Result<Timestamp, Failed> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let past = label::duration(text)
        .ok()
        .and_then(|long| now.checked_sub(long).ok());
    past.ok_or_else(|| {
        Failed::new(
            Exit::Usage,
            format!("--since {text}: must be a time such as 2026-01-31T12:00:00Z, or 10m"),
        )
    })
}

/// A line; where several invocations write, with the end of its invocation's id, which is its random part.
fn shown(line: &api::LogLine, timestamps: bool, of_invocation: bool) -> String {
    let mut text = String::new();
    if timestamps {
        text.push_str(&format!("{:.3} ", line.time));
    }
    if let Some(node) = line.node.as_ref().filter(|_| !of_invocation) {
        text.push_str(&format!("{node} "));
    }
    if !of_invocation {
        let whose = line.invocation.as_deref().unwrap_or(&line.instance);
        text.push_str(&format!(
            "{} | ",
            whose.get(whose.len().saturating_sub(12)..).unwrap_or(whose)
        ));
    }
    if line.stream == LogStream::Skep {
        text.push_str("skep: ");
    }
    text.push_str(&line.text);
    text
}
