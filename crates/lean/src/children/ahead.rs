//! A child made up to its program's start when it was created, while whoever created it has not yet asked for its start.

use std::sync::Arc;

use skep_spawner::{Ahead, Own, Prepared};
use tokio::sync::OwnedSemaphorePermit;

use super::Shape;
use super::run::{Taken, environment};
use crate::plan::Network;
use crate::stock::mended;

/// The most children on this node that wait to be started: a function that creates many, and starts none, gets no more.
pub(super) const MOST: usize = 16;

/// What is known of a child before it is started.
#[derive(Debug)]
pub struct ChildAhead {
    /// As [`super::ChildRun::name`].
    pub name: String,
    /// As [`super::ChildRun::hostname`].
    pub hostname: String,
    /// As [`super::ChildRun::arguments`].
    pub arguments: Vec<String>,
    /// As [`super::ChildRun::environment`].
    pub environment: Vec<String>,
}

/// A child that waits for its start. Dropped, it ends.
pub struct PreparedChild {
    pub(super) prepared: Prepared,
    pub(super) taken: Taken,
    mended: u64,
    _room: OwnedSemaphorePermit,
}

impl std::fmt::Debug for PreparedChild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PreparedChild({})", self.prepared.name())
    }
}

impl PreparedChild {
    /// Whether it can still be used as one of this shape, as far as is known.
    pub(super) fn is_good(&mut self, shape: &Arc<Shape>) -> bool {
        Arc::ptr_eq(&self.taken.shape, shape)
            && self.mended == mended(&shape.shared)
            && self.prepared.waits()
            && self.taken.is_good()
    }

    /// Ends it. It returns when another run can have its name.
    pub async fn end(self) {
        self.prepared.end().await;
    }
}

impl Shape {
    /// Makes a child up to its program's start. `None` where that can't be, or is not worth it: its start then makes it
    /// whole, and says what is wrong.
    pub async fn prepare(self: &Arc<Self>, ahead: ChildAhead) -> Option<PreparedChild> {
        let shared = &self.shared;
        let room = shared.grounds.ahead.clone().try_acquire_owned().ok()?;
        let before = mended(shared);
        // What a bind shows is looked at when a child starts.
        if self.has_binds {
            return None;
        }
        let sandbox = match self.plan.network {
            Network::Own | Network::Joined => None,
            // One more is made for whoever needs it at once.
            Network::Sandbox => Some(self.ground.take_free(shared)?),
        };
        let taken = Taken::new(self, sandbox);
        let network = taken.descriptor().ok()?;
        self.raise_cgroups().await.ok()?;
        let ahead = Ahead {
            spec: self.spec,
            own: Some(Own {
                environment: environment(&ahead.hostname, false, &ahead.environment),
                arguments: self.command(ahead.arguments),
                terminal: None,
                resumes: false,
            }),
            name: ahead.name,
            listener: None,
        };
        let made = shared.spawner.make_ahead(ahead, network).await;
        let made = made.inspect_err(|failure| tracing::debug!(%failure, "no child could be prepared"));
        Some(PreparedChild {
            prepared: made.ok()?,
            taken,
            mended: before,
            _room: room,
        })
    }
}
