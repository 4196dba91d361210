//! The end: work that runs comes to its own end first, then everything that served it.

use std::time::Duration;

use super::parts::{BACKLOG, Parts};
use super::signals::Signals;
use crate::exit::Exit;
use crate::printer::Printer;

/// Lets what runs end by itself, for as long as that may take.
pub(super) async fn drain(
    printer: &Printer,
    mut parts: Parts,
    signals: &mut Signals,
    patience: Duration,
) -> Exit {
    let exit = tokio::select! {
        () = work_ended(&mut parts) => Exit::Success,
        () = tokio::time::sleep(patience) => {
            printer.note("what still runs is ended: the time for it is over (--drain-timeout)");
            Exit::Interrupted
        }
        signal = signals.next() => {
            printer.note(&format!("{signal} again: what still runs is ended"));
            Exit::Interrupted
        }
    };
    end(parts).await;
    exit
}

/// From the outside inwards: nothing new comes in, what was accepted is finished, and only then instances go.
async fn work_ended(parts: &mut Parts) {
    parts.backlog_drain.cancel();
    let Parts {
        public,
        calls,
        invoker,
        dispatcher,
        supervisor,
        ..
    } = parts;
    tokio::join!(public.drain(), supervisor.until_ended(BACKLOG));
    invoker.drained().await;
    calls.drain().await;
    dispatcher.drain().await;
}

/// Ends everything at once, and leaves nothing behind.
pub(super) async fn end(parts: Parts) {
    let Parts {
        public,
        calls,
        dispatcher,
        store,
        sockets,
        lock,
        supervisor,
        backlog,
        stop,
        ..
    } = parts;
    // First of all: an accepted invocation whose instance we end here has not failed, it is to be repeated.
    backlog.abort();
    dispatcher.end_all().await;
    tokio::join!(public.end(), calls.end(), sockets.end_lean());
    stop.cancel();
    supervisor.ended().await;
    store.close().await;
    lock.release().await;
}
