//! `skep serve`, as a script: what is needed is found, put together, served, and ended in order.

pub(crate) mod agent;
mod drain;
pub(crate) mod gateway;
pub(crate) mod launcher;
mod limits;
mod logging;
mod memory;
mod metrics;
mod node;
mod parts;
mod records;
mod script;
mod settings;
mod shown;
mod signals;
mod sockets;
pub(crate) mod spawner;
mod supervisor;

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::cli;
use crate::exit::{Exit, Failed, Outcome};
use crate::printer::Printer;
use parts::Parts;
use settings::Settings;

/// Serves until a signal.
pub(crate) fn run(printer: &Printer, options: cli::Serve) -> Outcome {
    script::begin(&options.common)?.block_on(serve(printer, options))
}

async fn serve(printer: &Printer, options: cli::Serve) -> Outcome {
    let mut signals = script::signals()?;
    let settings = Settings::resolve(options)?;
    let public = bind("--listen", settings.listen).await?;
    let control = bind("--control", settings.control).await?;
    let addresses = [&public, &control].map(TcpListener::local_addr);
    let starting = Parts::start(&settings, public, control);
    let Some(parts) = script::started(printer, &mut signals, starting).await? else {
        return Ok(Exit::Success);
    };
    script::say_addresses(printer, addresses)?;
    script::serve(printer, &mut signals, parts, "ready", settings.drain_timeout).await
}

async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, Failed> {
    TcpListener::bind(address).await.map_err(|error| {
        let failed = Failed::new(Exit::Failure, format!("{address} can't be listened on: {error}"));
        match error.kind() {
            std::io::ErrorKind::AddrInUse => failed.hint(format!(
                "something else has the port (ss -ltnp tells what); stop it, or choose another with {flag}"
            )),
            _ => failed.hint(format!("choose an address of this host with {flag}")),
        }
    })
}
