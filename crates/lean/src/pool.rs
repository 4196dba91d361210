//! The sandboxes, template by template: made when an instance needs one or kept started, ended when nobody does.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use skep_model::{Function, InstanceId, Revision, TemplateId};
use skep_spawner::{Root, Spec, Tree};
use tokio::sync::{Notify, OwnedMutexGuard};

use crate::base;
use crate::engine::Shared;
use crate::held::{Held, Place};
use crate::layers::Layers;
use crate::plan::{self, Plan, Sharing};
use crate::sandbox::{self, Sandbox, SandboxError};
use crate::stock::Stock;
use crate::usual::Usual;

/// A template as it stood at one time: it may be changed where it stands (`docker update`, `docker cp`).
pub(crate) type Definition = (TemplateId, Revision);

/// Every template that was run lately.
#[derive(Default)]
pub(crate) struct Pool {
    entries: Mutex<HashMap<Definition, Arc<Entry>>>,
    /// Told when a sandbox can't be used again.
    pub(crate) spent: Arc<Notify>,
}

/// One template.
pub(crate) struct Entry {
    pub(crate) plan: Plan,
    function: Arc<Function>,
    standing: Mutex<Vec<Arc<Held>>>,
    /// Held by who makes one that all are to share: the others wait for it.
    making: Arc<tokio::sync::Mutex<()>>,
    /// How many are at work on its list. While there are any it stays in the pool: what they make would be nobody's.
    users: AtomicUsize,
}

/// An entry that somebody works on.
struct InUse(Arc<Entry>);

impl InUse {
    fn new(entry: &Arc<Entry>) -> Self {
        entry.users.fetch_add(1, Ordering::AcqRel);
        Self(entry.clone())
    }
}

impl Deref for InUse {
    type Target = Arc<Entry>;

    fn deref(&self) -> &Arc<Entry> {
        &self.0
    }
}

impl Clone for InUse {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Pool {
    /// A place for one instance; a sandbox is made where none has one.
    pub(crate) async fn place(
        &self,
        shared: &Arc<Shared>,
        function: &Arc<Function>,
        instance: InstanceId,
    ) -> Result<Place, PlaceError> {
        let entry = self.entry(shared, function)?;
        if let Some(place) = entry.free_place(shared, instance) {
            return Ok(place);
        }
        let turn = entry.turn().await;
        if turn.is_some()
            && let Some(place) = entry.free_place(shared, instance)
        {
            return Ok(place);
        }
        let shared = shared.clone();
        let (tasks, begin) = (shared.tasks.clone(), Instant::now());
        // In a task of its own: where the caller goes away, the next one finds what was begun.
        let made = tasks.spawn(async move {
            let _turn = turn;
            let held = make(&shared, &entry).await?;
            // Before others see it: this one's place is taken.
            let place = held.take(&entry, instance);
            entry.standing().push(held);
            Ok::<_, PlaceError>(place)
        });
        let made = made.await.map_err(|_| PlaceError::Broken)?;
        let mut place = made?.ok_or(PlaceError::Broken)?;
        place.made = Some(begin.elapsed());
        Ok(place)
    }

    fn entry(&self, shared: &Shared, function: &Arc<Function>) -> Result<InUse, PlaceError> {
        let mut entries = self.lock();
        let definition = (function.template.id.clone(), function.revision.clone());
        if let Some(entry) = entries.get(&definition) {
            return Ok(InUse::new(entry));
        }
        let unsupported = |reasons: &[String]| PlaceError::Unsupported(reasons.join("; "));
        let host = shared.host.as_ref().map_err(|reasons| unsupported(reasons))?;
        let plan = plan::plan(function, host, None).map_err(|reasons| unsupported(&reasons))?;
        let entry = Arc::new(Entry {
            plan,
            function: function.clone(),
            standing: Mutex::default(),
            making: Arc::default(),
            users: AtomicUsize::new(0),
        });
        let used = InUse::new(&entry);
        entries.insert(definition, entry);
        Ok(used)
    }

    /// Makes sandboxes until a function has as many started ones as it wants kept.
    pub(crate) async fn keep_started(&self, shared: &Arc<Shared>, function: &Arc<Function>) {
        let Ok(entry) = self.entry(shared, function) else {
            return;
        };
        if shared.waiting(function).is_some() {
            // It takes long, and other functions' sandboxes are looked after meanwhile.
            shared.want(function);
            return;
        }
        loop {
            let turn = entry.turn().await;
            if entry.is_kept(shared) {
                return;
            }
            let (shared, entry) = (shared.clone(), entry.clone());
            let tasks = shared.tasks.clone();
            // In a task of its own: what was begun is not left half made where the end comes.
            let made = tasks.spawn(async move {
                let _turn = turn;
                let held = make(&shared, &entry).await?;
                entry.standing().push(held);
                Ok(())
            });
            if let Err(error) = made.await.unwrap_or(Err(PlaceError::Broken)) {
                tracing::warn!(function = %function.name, %error, "a sandbox that is to be kept could not be made");
                return;
            }
        }
    }

    /// Takes out the sandboxes that nobody needs: unused for a while, spent, or of a template that is gone; with
    /// `all`, every one that is free.
    pub(crate) fn take_idle(&self, in_force: impl Fn(&Definition) -> bool, all: bool) -> Vec<Arc<Held>> {
        let entries: Vec<(Definition, Arc<Entry>)> = {
            let entries = self.lock();
            entries
                .iter()
                .map(|(id, entry)| (id.clone(), entry.clone()))
                .collect()
        };
        let mut taken = Vec::new();
        for (id, entry) in entries {
            let gone = all || !in_force(&id);
            let mut standing = entry.standing();
            let mut spare = standing.len().saturating_sub(if gone { 0 } else { entry.kept() });
            let goes = |held: &Arc<Held>| {
                let at_once = held.is_spent() || !held.is_alive() || (gone && held.is_empty());
                let goes = at_once || (spare > 0 && held.is_idle());
                spare = spare.saturating_sub(usize::from(goes));
                goes
            };
            let (idle, kept): (Vec<_>, Vec<_>) = standing.drain(..).partition(goes);
            *standing = kept;
            if standing.is_empty() {
                let mut entries = self.lock();
                if entry.users.load(Ordering::Acquire) == 0 {
                    entries.remove(&id);
                }
            }
            taken.extend(idle);
        }
        taken
    }

    /// Whether no template has a sandbox, or is just getting one.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Every sandbox that stands.
    pub(crate) fn all(&self) -> Vec<Arc<Held>> {
        let entries: Vec<Arc<Entry>> = self.lock().values().cloned().collect();
        let mut all: Vec<Arc<Held>> = Vec::new();
        for entry in entries {
            all.extend(entry.standing().iter().filter(|held| held.is_alive()).cloned());
        }
        all.sort_by_key(|held| held.created);
        all
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Definition, Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Waits for one's turn to make a sandbox. Where each gets its own they are made side by side: there are no turns.
    async fn turn(&self) -> Option<OwnedMutexGuard<()>> {
        match self.plan.sharing {
            Sharing::Together => Some(self.making.clone().lock_owned().await),
            Sharing::InTurn | Sharing::Once => None,
        }
    }

    fn free_place(self: &Arc<Self>, shared: &Shared, instance: InstanceId) -> Option<Place> {
        let mut standing = self.standing();
        remove_dead(shared, &mut standing);
        standing.iter().find_map(|held| held.take(self, instance))
    }

    /// Whether as many sandboxes stand as are wanted kept.
    fn is_kept(&self, shared: &Shared) -> bool {
        let mut standing = self.standing();
        remove_dead(shared, &mut standing);
        // Those in use are among them: what is kept is a number of sandboxes, not of free ones.
        let count = match self.plan.sharing {
            Sharing::Once => standing.iter().filter(|held| held.is_open()).count(),
            Sharing::Together | Sharing::InTurn => standing.len(),
        };
        count >= self.kept()
    }

    fn standing(&self) -> MutexGuard<'_, Vec<Arc<Held>>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many sandboxes are kept started. Several that all instances may share would be of no use.
    fn kept(&self) -> usize {
        let asked = self.function.settings.sandboxes as usize;
        match self.plan.sharing {
            Sharing::Together => asked.min(1),
            Sharing::InTurn | Sharing::Once => asked,
        }
    }
}

fn remove_dead(shared: &Shared, standing: &mut Vec<Arc<Held>>) {
    let (alive, dead): (Vec<_>, Vec<_>) = standing.drain(..).partition(|held| held.is_alive());
    *standing = alive;
    for held in dead {
        shared.discard(held);
    }
}

/// Why there is no place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("{0}")]
    Unsupported(String),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("the spawner does not answer: {0}")]
    Spawner(#[source] std::io::Error),
    #[error("the making of the sandbox broke off")]
    Broken,
}

async fn make(shared: &Shared, entry: &Entry) -> Result<Arc<Held>, PlaceError> {
    let function = &entry.function;
    let begin = Instant::now();
    let layers = shared.flattened(function).await?;
    let maker = shared.maker();
    let id = InstanceId::generate();
    shared.keep(id);
    let making = if entry.plan.given {
        sandbox::given(maker.docker, function, layers, id).await
    } else {
        sandbox::make(&maker, function, (&entry.plan, None), layers, id).await
    };
    let made = match making {
        Ok(made) => made,
        Err(error) => {
            shared.release(id);
            return Err(error.into());
        }
    };
    let prepared = prepare(shared, entry, &made).await;
    match prepared {
        Ok(spec) => {
            shared.metrics.sandbox_made(begin.elapsed());
            let name = function.name.clone();
            let (sharing, spent) = (entry.plan.sharing, shared.pool.spent.clone());
            Ok(Arc::new(Held::new(made, name, spec, sharing, spent)))
        }
        Err(error) => {
            sandbox::dispose(shared.docker(), &made).await;
            shared.release(made.id);
            Err(error)
        }
    }
}

async fn prepare(shared: &Shared, entry: &Entry, made: &Sandbox) -> Result<(u64, Option<Stock>), PlaceError> {
    let usual = shared.usual(&entry.function.template.image_id).await?;
    let spec = spec(shared, entry, made, usual).map_err(PlaceError::Unsupported)?;
    let stock = Stock::of(&entry.function, &entry.plan, &spec);
    let number = shared.spawner.prepare(spec).await.map_err(PlaceError::Spawner)?;
    Ok((number, stock))
}

fn spec(shared: &Shared, entry: &Entry, sandbox: &Sandbox, usual: &Usual) -> Result<Spec, String> {
    let limits = entry.plan.limits.with_usual(usual.processes.as_deref());
    let tree = shared.cgroups()?.tree(&limits);
    let tree = tree.map_err(|error| format!("the cgroup for these devices can't be made: {error}"))?;
    spec_in(
        shared,
        &entry.plan,
        entry.function.settings.disk,
        tree,
        (&sandbox.layers, usual),
    )
}

/// A plan in the spawner's words, with its cgroups in this tree.
pub(crate) fn spec_in(
    shared: &Shared,
    plan: &Plan,
    disk: u64,
    cgroup: Tree,
    (layers, usual): (&Layers, &Usual),
) -> Result<Spec, String> {
    let front = base::layer(&shared.folders.base, layers);
    let front =
        front.map_err(|error| format!("Docker's own files for this image can't be laid out: {error}"))?;
    let lower = [&[front.display().to_string()], &layers.lower[..]].concat();
    let host = shared.host.as_ref().map_err(|reasons| reasons.join("; "))?;
    let mut process = plan.confined_process()?;
    process.usual_limits.clone_from(&usual.limits);
    let mut mounts = plan.mounts.clone();
    if plan.init.unwrap_or(usual.init) {
        let program = plan.init_program.as_deref();
        let program = program.ok_or("Docker's init program is not found on this node")?;
        plan::init::apply(program, &mut process, &mut mounts);
    }
    let mut devices = plan::devices::devices();
    devices.extend(plan.devices.iter().cloned());
    Ok(Spec {
        root: Root {
            staging: shared.folders.staging.display().to_string(),
            base: layers.base.clone(),
            lower,
            disk,
            read_only: plan.read_only_root,
        },
        mounts,
        keeps_folders_modes: host.conversions.keeps_folders_modes,
        devices,
        links: plan::devices::links(),
        masked: plan.masked.clone(),
        read_only: plan.read_only.clone(),
        sysctls: plan.sysctls.clone(),
        process,
        cgroup,
        cgroup_namespace: plan.cgroup_namespace,
        ipc_namespace: true,
    })
}
