//! Memory that a burst needed and nobody uses any more: a list of a thousand containers is parsed in a moment, and the
//! allocator would keep its room for ever.

use std::sync::Arc;
use std::time::Duration;

use skep_catalogue::Catalogue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// After a change, how long it is quiet before memory is given back.
const QUIET: Duration = Duration::from_secs(2);
/// How often it is given back without one.
const PERIOD: Duration = Duration::from_secs(60);

/// Gives memory back after the catalogue changed, and now and then, until `stop`.
pub(super) async fn give_back(mut catalogue: watch::Receiver<Arc<Catalogue>>, stop: CancellationToken) {
    let mut wait = QUIET;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = catalogue.changed() => {
                if changed.is_err() {
                    return;
                }
                wait = QUIET;
            }
            () = tokio::time::sleep(wait) => {
                skep_sys::release_free_memory();
                wait = PERIOD;
            }
        }
    }
}
