//! What all sockets and the background work have in common.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bollard::Docker;
use skep_catalogue::Catalogue;
use skep_grant::Refusal;
use skep_model::{Function, InstanceId, InvocationId, Namespace};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::Budget;
use crate::child::Child;
use crate::children::Children;
use crate::daemon::Daemon;
use crate::elsewhere::{Elsewhere, Met};
use crate::engine::Lineage;
use crate::history::History;
use crate::holder::{Holder, Parent};
use crate::lean::Lean;
use crate::names;
use crate::share::Shares;

/// Calls and streams at once that come from other nodes: of eight functions as many as each has.
const VISITS: usize = 1024;

/// One for each Skep.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) daemon: Daemon,
    /// The client of the engine, for what is copied into containers.
    pub(crate) docker: Docker,
    pub(crate) namespace: Namespace,
    pub(crate) owner: String,
    /// Where the sockets are.
    pub(crate) directory: PathBuf,
    /// The same folder, as the engine's host sees it, where it does.
    pub(crate) host_directory: Option<PathBuf>,
    /// The folders in it that an earlier Skep left.
    pub(crate) left: Vec<String>,
    pub(crate) many_networks: bool,
    pub(crate) engine_version: String,
    pub(crate) oldest_version: (u32, u32),
    pub(crate) shares: Shares,
    pub(crate) catalogue: OnceLock<watch::Receiver<Arc<Catalogue>>>,
    pub(crate) lineage: OnceLock<Arc<dyn Lineage>>,
    /// Who has to agree to each child as well, where there is somebody.
    pub(crate) budget: OnceLock<Arc<dyn Budget>>,
    /// The way to other nodes, where there are any.
    pub(crate) elsewhere: OnceLock<Arc<dyn Elsewhere>>,
    /// Children that were met there.
    pub(crate) met: Met,
    /// Room for calls that come from there.
    pub(crate) visits: Arc<Semaphore>,
    /// Children that the lean engine makes, where it does.
    lean: OnceLock<Arc<Lean>>,
    pub(crate) history: History,
    /// When Docker was last listed; held while it is.
    pub(crate) looked: tokio::sync::Mutex<Option<Instant>>,
    /// Asks the reconciler to look at Docker now.
    pub(crate) look: Notify,
    /// What goes on even where the one who asked goes away.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    children: Mutex<Children>,
    /// Sockets that are open: for whom, and what closes them.
    open: Mutex<HashMap<String, (Arc<Holder>, CancellationToken)>>,
}

/// What a [`Shared`] begins with.
pub(crate) struct Beginning {
    pub(crate) daemon: Daemon,
    pub(crate) namespace: Namespace,
    pub(crate) owner: String,
    pub(crate) directory: PathBuf,
    pub(crate) host_directory: Option<PathBuf>,
    pub(crate) left: Vec<String>,
    /// The client of the engine, for what is copied into containers.
    pub(crate) docker: Docker,
    pub(crate) engine_version: String,
    pub(crate) oldest_version: (u32, u32),
    pub(crate) shares: Shares,
}

impl Shared {
    pub(crate) fn new(begin: Beginning) -> Self {
        Self {
            many_networks: begin.daemon.version >= (1, 44),
            daemon: begin.daemon,
            namespace: begin.namespace,
            owner: begin.owner,
            directory: begin.directory,
            host_directory: begin.host_directory,
            left: begin.left,
            docker: begin.docker,
            engine_version: begin.engine_version,
            oldest_version: begin.oldest_version,
            shares: begin.shares,
            catalogue: OnceLock::new(),
            lineage: OnceLock::new(),
            budget: OnceLock::new(),
            elsewhere: OnceLock::new(),
            met: Met::default(),
            visits: Arc::new(Semaphore::new(VISITS)),
            lean: OnceLock::new(),
            history: History::default(),
            looked: tokio::sync::Mutex::default(),
            look: Notify::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            children: Mutex::default(),
            open: Mutex::default(),
        }
    }

    pub(crate) fn children(&self) -> MutexGuard<'_, Children> {
        // Whole between any two calls; who panicked while holding it changes nothing about that.
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has children made by the lean engine from now on, where it gives what they ask for.
    pub(crate) fn set_lean(&self, lean: Lean) {
        drop(self.lean.set(Arc::new(lean)));
    }

    pub(crate) fn lean(&self) -> Option<Arc<Lean>> {
        self.lean.get().cloned()
    }

    /// Whether Docker knows nothing of a child.
    pub(crate) fn is_lean(&self, id: &str) -> bool {
        self.lean.get().is_some_and(|lean| lean.child(id).is_some())
    }

    pub(crate) fn open(&self) -> MutexGuard<'_, HashMap<String, (Arc<Holder>, CancellationToken)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The invocations that an instance serves now.
    pub(crate) fn invocations(&self, instance: InstanceId) -> Vec<InvocationId> {
        let lineage = self.lineage.get();
        lineage
            .map(|lineage| lineage.invocations_in(instance))
            .unwrap_or_default()
    }

    /// A function in force.
    pub(crate) fn function(&self, name: &str) -> Option<Arc<Function>> {
        let catalogue = self.catalogue.get()?;
        catalogue.borrow().function(name).cloned()
    }

    /// Returns when there may be another set of functions, or after a while.
    pub(crate) async fn catalogue_changed(&self, patience: Duration) {
        if let Some(mut catalogue) = self.catalogue.get().cloned() {
            catalogue.mark_unchanged();
            // That nothing changed in time is as good.
            drop(tokio::time::timeout(patience, catalogue.changed()).await);
        }
    }

    /// Whether this is the name of a function, of one too that can't be run here.
    pub(crate) fn is_functions_name(&self, name: &str) -> bool {
        let catalogue = self.catalogue.get();
        catalogue.is_some_and(|catalogue| crate::reconcile::is_known(catalogue, name))
    }

    /// The child that a name, an id or the beginning of an id means to this holder.
    pub(crate) fn find(&self, holder: &Holder, text: &str) -> Result<Child, Refusal> {
        let name = text.strip_prefix('/').unwrap_or(text);
        let none = || Refusal::not_found(format!("No such container: {text}"));
        if name.is_empty() {
            return Err(none());
        }
        // Clients name what they made by its whole id: no other is looked at for that.
        let whole = self.children().get(name).cloned();
        if let Some(child) = whole.filter(|child| holder.sees(self, child)) {
            return Ok(child);
        }
        let known: Vec<Child> = self
            .children()
            .all()
            .filter(|child| child.marks.function == holder.function)
            .filter(|child| child.name == name || child.id.starts_with(name))
            .cloned()
            .collect();
        let mine: Vec<&Child> = known.iter().filter(|child| holder.sees(self, child)).collect();
        let exact = |child: &&&Child| child.id == name || child.name == name;
        if let Some(child) = mine.iter().find(exact) {
            return Ok((**child).clone());
        }
        let mut beginning = mine.iter().filter(|child| child.id.starts_with(name));
        match (beginning.next(), beginning.next()) {
            (Some(child), None) => Ok((**child).clone()),
            (Some(_), Some(_)) => Err(Refusal::malformed(format!(
                "multiple IDs found with provided prefix: {text}"
            ))),
            _ => Err(none()),
        }
    }

    /// A message of the daemon's, with names as the function knows them.
    pub(crate) fn said(&self, holder: &Holder, message: &str) -> String {
        let message = message.replace(&names::prefix(&self.namespace, &holder.function), "");
        let host = self.host_directory.as_deref().unwrap_or(&self.directory);
        message.replace(&*host.to_string_lossy(), "")
    }

    /// Whether instances of a function still hold sockets.
    pub(crate) fn has_instances(&self, function: &str) -> bool {
        let open = self.open();
        open.values().any(|(holder, _)| {
            holder.function.as_str() == function && matches!(holder.parent, Parent::Instance { .. })
        })
    }
}
