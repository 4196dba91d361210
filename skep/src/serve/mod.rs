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
use signals::Signals;

/// Serves until a signal.
pub(crate) fn run(printer: &Printer, options: cli::Serve) -> Outcome {
    logging::start(&options.common.log, options.common.log_format)?;
    limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::from_error(Exit::Failure, &error))?;
    runtime.block_on(serve(printer, options))
}

async fn serve(printer: &Printer, options: cli::Serve) -> Outcome {
    let mut signals = Signals::listen().map_err(|error| Failed::from_error(Exit::Failure, &error))?;
    let settings = Settings::resolve(options)?;
    let public = bind("--listen", settings.listen).await?;
    let control = bind("--control", settings.control).await?;
    let addresses = [&public, &control].map(TcpListener::local_addr);
    let starting = Parts::start(&settings, public, control);
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
                return Ok(drain::drain(printer, parts, &mut signals, settings.drain_timeout).await);
            }
            reason = parts.failed() => {
                drain::end(parts).await;
                return Err(Failed::new(Exit::Failure, reason));
            }
        }
    }
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
