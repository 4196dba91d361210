//! `skep gateway`, as a script: what is deployed on the Swarm, the agents that run it, and the listeners.

mod logs;
mod members;
mod node;
mod parts;
mod queue;

use tokio::net::TcpListener;

use super::{bind, script};
use crate::cli;
use crate::exit::{Exit, Outcome};
use crate::printer::Printer;
use parts::Parts;

/// Serves until a signal.
pub(crate) fn run(printer: &Printer, options: cli::Gateway) -> Outcome {
    script::begin(&options.common)?.block_on(serve(printer, options))
}

async fn serve(printer: &Printer, options: cli::Gateway) -> Outcome {
    let mut signals = script::signals()?;
    let public = bind("--listen", options.listeners.addresses.listen).await?;
    let control = bind("--control", options.listeners.addresses.control).await?;
    let calls = bind("--calls", options.calls).await?;
    let addresses = [&public, &control].map(TcpListener::local_addr);
    let starting = Parts::start(&options, public, control, calls);
    let Some(parts) = script::started(printer, &mut signals, starting).await? else {
        return Ok(Exit::Success);
    };
    script::say_addresses(printer, addresses)?;
    script::serve(
        printer,
        &mut signals,
        parts,
        "ready",
        options.common.drain_timeout,
    )
    .await
}
