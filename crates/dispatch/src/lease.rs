//! A caller's hold on an instance.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use skep_engine::{Instance, Pipes};
use skep_model::{Function, InvocationId, Phases};
use tokio::net::TcpStream;

use crate::live::Live;
use crate::shared::Shared;
use crate::work::Fate;

/// Things that users of an instance keep beside it, one of each type, dropped with it. There are one or two.
#[derive(Default)]
pub(crate) struct Attachments(Mutex<Vec<Attachment>>);

type Attachment = (TypeId, Arc<dyn Any + Send + Sync>);

impl Attachments {
    fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().find(|(kind, _)| *kind == TypeId::of::<T>());
        if let Some(Ok(found)) = known.map(|(_, attachment)| Arc::clone(attachment).downcast()) {
            return found;
        }
        let new = Arc::new(T::default());
        all.push((TypeId::of::<T>(), new.clone()));
        new
    }

    /// Drops them all; whoever still has one keeps it.
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        drop(all);
    }
}

/// One invocation's hold on an instance. While it is held the instance is not ended, whatever else happens.
///
/// Dropping it without [`Lease::finish`] means that nobody knows how the work ended: it counts as abandoned.
pub struct Lease {
    pub(crate) shared: Arc<Shared>,
    pub(crate) live: Arc<Live>,
    pub(crate) invocation: InvocationId,
    pub(crate) background: bool,
    pub(crate) pipes: Option<Pipes>,
    pub(crate) connection: Option<TcpStream>,
    pub(crate) phases: Phases,
    pub(crate) reused: bool,
    /// Whether its caller has it: until then the instance has not been touched.
    pub(crate) begun: bool,
    pub(crate) finished: bool,
}

impl Lease {
    /// The instance.
    pub fn instance(&self) -> &Arc<dyn Instance> {
        &self.live.instance
    }

    /// The function as it was when the instance was launched: the newest revision, not always the caller's.
    pub fn function(&self) -> &Arc<Function> {
        &self.live.function
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
        self.live.attachments.get()
    }

    /// Gives the instance back.
    pub fn finish(mut self, fate: Fate) {
        self.give_back(fate);
    }

    /// The caller has it: from here on what the instance does is this invocation's.
    pub(crate) fn begin(&mut self) {
        self.begun = true;
        let mut invocations = self.live.invocations();
        if !invocations.contains(&self.invocation) {
            invocations.push(self.invocation);
        }
        drop(invocations);
        self.live.logs.begin(self.invocation);
    }

    fn give_back(&mut self, fate: Fate) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        if self.begun {
            self.live.logs.end(self.invocation);
            let mut invocations = self.live.invocations();
            if let Some(at) = invocations.iter().position(|other| *other == self.invocation) {
                invocations.swap_remove(at);
            }
        }
        let (key, background, unused) = (self.live.key, self.background, !self.begun);
        let fate = if unused { Fate::Reusable } else { fate };
        self.shared
            .apply(|state, now| state.pool.finished(key, background, fate, unused, now));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back(Fate::Abandoned);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("instance", &self.live.instance.id())
            .field("function", &self.live.function.name)
            .field("invocation", &self.invocation)
            .finish_non_exhaustive()
    }
}
