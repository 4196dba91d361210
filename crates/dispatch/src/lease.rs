//! A caller's hold on an instance.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use skep_engine::{Instance, Pipes};
use skep_model::{Function, Phases};
use tokio::net::TcpStream;

use crate::work::Fate;

/// Things that users of an instance keep beside it, one of each type, dropped with it.
#[derive(Debug, Default)]
pub(crate) struct Attachments(Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Attachments {
    pub(crate) fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = all.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        Arc::clone(entry).downcast().unwrap_or_default()
    }
}

/// One invocation's hold on an instance. While it is held the instance is not ended, whatever else happens.
///
/// Dropping it without [`Lease::finish`] means that nobody knows how the work ended: the instance is spent.
#[derive(Debug)]
pub struct Lease {
    pub(crate) instance: Arc<dyn Instance>,
    pub(crate) function: Arc<Function>,
    pub(crate) pipes: Option<Pipes>,
    pub(crate) connection: Option<TcpStream>,
    pub(crate) phases: Phases,
    pub(crate) reused: bool,
    pub(crate) attachments: Arc<Attachments>,
}

impl Lease {
    /// The instance.
    pub fn instance(&self) -> &Arc<dyn Instance> {
        &self.instance
    }

    /// The function as it was when the instance was launched: the newest revision, not always the caller's.
    pub fn function(&self) -> &Arc<Function> {
        &self.function
    }

    /// Standard input and output, once, where the work asked for [`skep_engine::Stdio::Pipe`].
    pub fn take_pipes(&mut self) -> Option<Pipes> {
        self.pipes.take()
    }

    /// The connection on which the instance was found ready, once, for its first request: a server with a single
    /// thread would wait on it for that request. `None` for spares and reused instances: connect anew.
    pub fn take_connection(&mut self) -> Option<TcpStream> {
        self.connection.take()
    }

    /// Where this caller's time went until it had the instance; `handler` is never set here.
    pub fn phases(&self) -> Phases {
        self.phases
    }

    /// Whether the instance served others before.
    pub fn reused(&self) -> bool {
        self.reused
    }

    /// What its users keep beside the instance: one `T` per instance, dropped with it.
    pub fn attachment<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.attachments.get()
    }

    /// Gives the instance back.
    pub fn finish(self, fate: Fate) {
        let _ = fate;
    }
}
