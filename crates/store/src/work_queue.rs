//! What accepted work needs of whoever keeps it: one host's [`Store`], or a queue that several gateways share.

use std::fmt;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use jiff::Timestamp;
use skep_model::{InvocationId, Record};
use tokio::sync::watch;

use crate::body::BodyWriter;
use crate::error::StoreError;
use crate::invocation::{Accepted, NewInvocation, StoredResponse, Waiting};
use crate::key::Key;
use crate::store::Store;

/// What comes of it, later.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keeps asynchronous invocations until they have ended, and their results for a while.
///
/// What [`Queue::accept`] and [`Queue::finish`] returned `Ok` for survives a crash and a power cut. An invocation
/// that was claimed and neither finished nor released is given out again when its claimer is gone, so that it runs at
/// least once.
pub trait Queue: fmt::Debug + Send + Sync + 'static {
    /// Takes in the body of a request that is to be accepted.
    fn request_body(&self) -> BodyWriter;

    /// Takes in the body of a response that is to be stored.
    fn response_body(&self) -> BodyWriter;

    /// Accepts an invocation. On an error its caller is to be told that it was not accepted.
    fn accept(&self, new: NewInvocation) -> Answer<'_, ()>;

    /// Changes whenever there is new work to claim.
    fn work(&self) -> watch::Receiver<()>;

    /// Every function with accepted invocations that wait or run, by name. In memory; costs nothing to ask.
    fn waiting(&self) -> Vec<Waiting>;

    /// How many accepted invocations wait for a function.
    fn queued(&self, function: &str) -> u64;

    /// Claims up to `limit` of the invocations that wait for a function, the oldest first.
    fn claim<'a>(&'a self, function: &'a str, limit: usize) -> Answer<'a, Vec<Accepted>>;

    /// Puts a claimed invocation back in its place, since it could not be begun; the attempt does not count.
    fn release(&self, id: InvocationId) -> Answer<'_, ()>;

    /// Puts one back that was begun and has no end, since the node where it ran is lost; the attempt counts.
    fn repeat(&self, id: InvocationId) -> Answer<'_, ()>;

    /// Stores how a claimed invocation ended, together with the response. May be tried again after an error. An end
    /// that was stored before stands.
    fn finish(&self, record: Record, response: Option<StoredResponse>) -> Answer<'_, ()>;

    /// Notes since when a function is gone (the first time stands), or with `None` that it is back.
    fn set_absent<'a>(&'a self, function: &'a str, since: Option<Timestamp>) -> Answer<'a, ()>;

    /// Ends up to `limit` of the invocations that wait for a function as `function-removed`; gives back how many.
    fn fail_removed<'a>(&'a self, function: &'a str, now: Timestamp, limit: usize) -> Answer<'a, u64>;

    /// What is known of an invocation, for whoever has its key.
    fn look<'a>(&'a self, id: InvocationId, key: &'a Key) -> Answer<'a, Option<Record>>;

    /// The record and the stored response for whoever has the key.
    fn result<'a>(
        &'a self,
        id: InvocationId,
        key: &'a Key,
    ) -> Answer<'a, Option<(Record, Option<StoredResponse>)>>;
}

impl From<Store> for Arc<dyn Queue> {
    fn from(store: Store) -> Self {
        Arc::new(store)
    }
}

impl Queue for Store {
    fn request_body(&self) -> BodyWriter {
        Self::request_body(self)
    }

    fn response_body(&self) -> BodyWriter {
        Self::response_body(self)
    }

    fn accept(&self, new: NewInvocation) -> Answer<'_, ()> {
        Self::accept(self, new).boxed()
    }

    fn work(&self) -> watch::Receiver<()> {
        Self::work(self)
    }

    fn waiting(&self) -> Vec<Waiting> {
        Self::waiting(self)
    }

    fn queued(&self, function: &str) -> u64 {
        Self::queued(self, function)
    }

    fn claim<'a>(&'a self, function: &'a str, limit: usize) -> Answer<'a, Vec<Accepted>> {
        Self::claim(self, function, limit).boxed()
    }

    fn release(&self, id: InvocationId) -> Answer<'_, ()> {
        Self::release(self, id).boxed()
    }

    fn repeat(&self, id: InvocationId) -> Answer<'_, ()> {
        Self::repeat(self, id).boxed()
    }

    fn finish(&self, record: Record, response: Option<StoredResponse>) -> Answer<'_, ()> {
        Self::finish(self, record, response).boxed()
    }

    fn set_absent<'a>(&'a self, function: &'a str, since: Option<Timestamp>) -> Answer<'a, ()> {
        Self::set_absent(self, function, since).boxed()
    }

    fn fail_removed<'a>(&'a self, function: &'a str, now: Timestamp, limit: usize) -> Answer<'a, u64> {
        Self::fail_removed(self, function, now, limit).boxed()
    }

    fn look<'a>(&'a self, id: InvocationId, key: &'a Key) -> Answer<'a, Option<Record>> {
        Self::look(self, id, key).boxed()
    }

    fn result<'a>(
        &'a self,
        id: InvocationId,
        key: &'a Key,
    ) -> Answer<'a, Option<(Record, Option<StoredResponse>)>> {
        Self::result(self, id, key).boxed()
    }
}
