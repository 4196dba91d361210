//! An instance that exists, as the driver holds it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_engine::{Instance, Pipes};
use skep_model::{Function, InvocationId, Phases};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::lease::Attachments;
use crate::logs::Attribution;
use crate::pool::InstanceKey;

/// What goes to the first user of an instance.
#[derive(Default)]
pub(crate) struct Handover {
    pub(crate) pipes: Option<Pipes>,
    pub(crate) connection: Option<TcpStream>,
    /// How long its sandbox, its start and its getting ready took.
    pub(crate) phases: Phases,
}

/// An instance between its start and its removal.
pub(crate) struct Live {
    pub(crate) key: InstanceKey,
    pub(crate) function: Arc<Function>,
    pub(crate) instance: Arc<dyn Instance>,
    pub(crate) attachments: Attachments,
    pub(crate) logs: Attribution,
    handover: Mutex<Handover>,
    invocations: Mutex<Vec<InvocationId>>,
    /// Freezing and thawing take turns.
    pub(crate) temperature: tokio::sync::Mutex<()>,
    /// What the pool last decided.
    to_be_frozen: AtomicBool,
    /// Its removal has begun.
    pub(crate) ended: CancellationToken,
    /// Its grace is cut short.
    pub(crate) hurried: CancellationToken,
}

impl Live {
    pub(crate) fn new(
        key: InstanceKey,
        function: Arc<Function>,
        instance: Arc<dyn Instance>,
        logs: Attribution,
        handover: Handover,
    ) -> Self {
        Self {
            key,
            function,
            instance,
            attachments: Attachments::default(),
            logs,
            handover: Mutex::new(handover),
            invocations: Mutex::default(),
            temperature: tokio::sync::Mutex::default(),
            to_be_frozen: AtomicBool::new(false),
            ended: CancellationToken::new(),
            hurried: CancellationToken::new(),
        }
    }

    pub(crate) fn handover(&self) -> MutexGuard<'_, Handover> {
        self.handover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn invocations(&self) -> MutexGuard<'_, Vec<InvocationId>> {
        self.invocations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn decide_frozen(&self, frozen: bool) {
        self.to_be_frozen.store(frozen, Ordering::Release);
    }

    pub(crate) fn is_to_be_frozen(&self) -> bool {
        self.to_be_frozen.load(Ordering::Acquire)
    }
}
