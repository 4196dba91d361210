//! `skep gateway`, as a script: what is deployed on the Swarm, the agents that run it, and the listeners.

mod logs;
mod members;
mod node;
mod parts;
mod queue;

use tokio::net::TcpListener;

use super::signals::Signals;
use super::{bind, limits, logging};
use crate::cli;
use crate::exit::{Exit, Failed, Outcome};
use crate::printer::Printer;
use parts::Parts;

/// Serves until a signal.
pub(crate) fn run(printer: &Printer, options: cli::Gateway) -> Outcome {
    logging::start(&options.common.log, options.common.log_format)?;
    limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::from_error(Exit::Failure, &error))?;
    runtime.block_on(serve(printer, options))
}

async fn serve(printer: &Printer, options: cli::Gateway) -> Outcome {
    let mut signals = Signals::listen().map_err(|error| Failed::from_error(Exit::Failure, &error))?;
    let public = bind("--listen", options.listeners.addresses.listen).await?;
    let control = bind("--control", options.listeners.addresses.control).await?;
    let calls = bind("--calls", options.calls).await?;
    let addresses = [&public, &control].map(TcpListener::local_addr);
    let starting = Parts::start(&options, public, control, calls);
    let mut parts = tokio::select! {
        parts = starting => parts?,
        signal = signals.next() => {
            printer.note(&format!("{signal} before anything was served"));
            return Ok(Exit::Success);
        }
    };
    for (what, address) in ["listening", "control"].iter().zip(addresses) {
        let address = address.map_err(|error| Failed::from_error(Exit::Failure, &error))?;
        printer.note(&format!("{what} on http://{address}"));
    }
    let mut ready = false;
    let mut listed = Box::pin(parts.listed());
    loop {
        tokio::select! {
            () = &mut listed, if !ready => {
                ready = true;
                printer.note("ready");
            }
            signal = signals.next() => {
                printer.note(&format!("{signal}: what runs may end; a second signal ends it at once"));
                break;
            }
            reason = parts.failed() => {
                parts.end().await;
                return Err(Failed::new(Exit::Failure, reason));
            }
        }
    }
    let exit = tokio::select! {
        () = parts.work_ended() => Exit::Success,
        () = tokio::time::sleep(options.common.drain_timeout) => {
            printer.note("what still runs is given up: the time for it is over (--drain-timeout)");
            Exit::Interrupted
        }
        signal = signals.next() => {
            printer.note(&format!("{signal} again: what still runs is given up"));
            Exit::Interrupted
        }
    };
    parts.end().await;
    Ok(exit)
}
