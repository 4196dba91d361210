//! The verbs, a file each.

mod deploy;
mod doctor;
mod inspect;
mod install;
mod invoke;
mod logs;
mod ls;
mod ps;
mod rm;
mod tree;

use std::process::ExitCode;

use skep_control::api;

use crate::cli::{Cli, Verb};
use crate::exit::{Exit, Failed, Outcome};
use crate::printer::Printer;
use crate::serve;

/// Does what was typed.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let printer = Printer::new();
    let outcome = match cli.verb {
        Verb::Serve(options) => serve::run(&printer, *options),
        Verb::Deploy(options) => brief(deploy::run(&printer, options)),
        Verb::Ls(options) => brief(ls::run(&printer, options)),
        Verb::Ps(options) => brief(ps::run(&printer, options)),
        Verb::Tree(options) => brief(tree::run(&printer, options)),
        Verb::Invoke(options) => brief(invoke::run(&printer, options)),
        Verb::Logs(options) => brief(logs::run(&printer, options)),
        Verb::Inspect(options) => brief(inspect::run(&printer, options)),
        Verb::Rm(options) => brief(rm::run(&printer, options)),
        Verb::Doctor(options) => brief(doctor::run(&printer, options)),
        Verb::Agent(options) => serve::agent::run(&printer, *options),
        Verb::Install(options) => brief(install::run(&printer, options)),
        Verb::Uninstall(options) => brief(install::leave(&printer, options)),
        Verb::Launcher(options) => brief(serve::launcher::run(options)),
        Verb::Gateway(options) => serve::gateway::run(&printer, *options),
        Verb::Spawner => serve::spawner::serve(),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failed) => {
            if failed.exit != Exit::Success {
                printer.failed(&failed);
            }
            failed.exit.into()
        }
    }
}

/// Runs a verb that asks a few questions and ends: one thread is plenty.
fn brief(verb: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::from_error(Exit::Failure, &error))?;
    let outcome = runtime.block_on(verb);
    // A read of standard input can't be interrupted, and nobody needs its end.
    runtime.shutdown_background();
    outcome
}

/// Says why a template is invalid.
pub(crate) fn say_reasons(printer: &Printer, function: &api::Function) {
    for reason in &function.reasons {
        printer.note(&format!(
            "{} ({}): {reason}",
            function.name, function.template_name
        ));
    }
}

/// How long ago, in the largest unit that says it: `3s`, `12m`, `5h`, `2d`.
pub(crate) fn ago(time: jiff::Timestamp) -> String {
    let seconds = jiff::Timestamp::now().duration_since(time).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Text as a part of a URL's path or query.
pub(crate) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}
