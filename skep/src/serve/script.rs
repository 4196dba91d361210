//! What everything that serves has in common: it starts, serves until a signal, lets what runs end, and ends.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::runtime::Runtime;

use super::signals::Signals;
use super::{limits, logging};
use crate::cli;
use crate::exit::{Exit, Failed, Outcome};
use crate::printer::Printer;

/// Parts that run, as far as the script goes.
pub(super) trait Running {
    /// What becomes of work for which there is no time left.
    const LEFT: &'static str;

    /// Returns when what is deployed was seen once.
    fn listed(&self) -> BoxFuture<'static, ()>;

    /// Returns, with a reason, when a part ended that never should.
    async fn failed(&mut self) -> String;

    /// From the outside inwards: nothing new comes in, and what was accepted is finished.
    async fn work_ended(&mut self);

    /// Ends everything at once.
    async fn end(self);
}

/// What is needed before anything else: the log, open files enough, threads.
pub(super) fn begin(common: &cli::Common) -> Result<Runtime, Failed> {
    logging::start(&common.log, common.log_format)?;
    limits::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failed::from_error(Exit::Failure, &error))
}

/// Listens to signals, before there is anything to end.
pub(super) fn signals() -> Result<Signals, Failed> {
    Signals::listen().map_err(|error| Failed::from_error(Exit::Failure, &error))
}

/// The parts once they are started; `None` where a signal came first.
pub(super) async fn started<P>(
    printer: &Printer,
    signals: &mut Signals,
    starting: impl Future<Output = Result<P, Failed>>,
) -> Result<Option<P>, Failed> {
    tokio::select! {
        parts = starting => parts.map(Some),
        signal = signals.next() => {
            printer.note(&format!("{signal} before anything was served"));
            Ok(None)
        }
    }
}

/// Says where the public listener and the control listener are.
pub(super) fn say_addresses(printer: &Printer, addresses: [io::Result<SocketAddr>; 2]) -> Result<(), Failed> {
    for (what, address) in ["listening", "control"].iter().zip(addresses) {
        let address = address.map_err(|error| Failed::from_error(Exit::Failure, &error))?;
        printer.note(&format!("{what} on http://{address}"));
    }
    Ok(())
}

/// Serves until a signal, and lets what runs end by itself for as long as `patience`. `ready` is said when what is
/// deployed was seen.
pub(super) async fn serve<P: Running>(
    printer: &Printer,
    signals: &mut Signals,
    mut parts: P,
    ready: &str,
    patience: Duration,
) -> Outcome {
    let (mut listed, mut said) = (parts.listed(), false);
    loop {
        tokio::select! {
            () = &mut listed, if !said => {
                said = true;
                printer.note(ready);
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
    let left = P::LEFT;
    let exit = tokio::select! {
        () = parts.work_ended() => Exit::Success,
        () = tokio::time::sleep(patience) => {
            printer.note(&format!("what still runs is {left}: the time for it is over (--drain-timeout)"));
            Exit::Interrupted
        }
        signal = signals.next() => {
            printer.note(&format!("{signal} again: what still runs is {left}"));
            Exit::Interrupted
        }
    };
    parts.end().await;
    Ok(exit)
}
