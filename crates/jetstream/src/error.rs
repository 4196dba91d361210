//! What NATS says, as the store's error.

use std::error::Error;
use std::io;
use std::sync::Arc;

use skep_store::StoreError;

/// Says what was tried.
pub(crate) fn cannot<E: Error + Send + Sync + 'static>(action: &'static str) -> impl FnOnce(E) -> StoreError {
    move |error| StoreError::Queue {
        action,
        source: Arc::new(error),
    }
}

/// The same for what is only known as a text.
pub(crate) fn said(action: &'static str, text: impl Into<String>) -> StoreError {
    cannot(action)(io::Error::other(text.into()))
}

/// NATS is not there, or was not yet.
pub(crate) fn away(action: &'static str) -> StoreError {
    said(action, "no server answers")
}
