//! The sandboxes in use, template by template: shared by its instances, or one instance at a time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use skep_model::{Function, PortChoice, SandboxChoice, TemplateId};
use skep_spawner::{Root, Spec};

use crate::cgroups;
use crate::engine::Shared;
use crate::plan::{self, Network, Plan};
use crate::sandbox::{self, Sandbox, SandboxError};

/// How long a sandbox without instances is kept: its making is what a cold start on a network waits for.
const IDLE: Duration = Duration::from_secs(60);
/// The same for one that only pins layers, and costs no process and no network.
const IDLE_PIN: Duration = Duration::from_secs(600);

/// Every template that was run lately.
#[derive(Default)]
pub(crate) struct Pool {
    entries: Mutex<HashMap<TemplateId, Arc<Entry>>>,
}

/// One template.
pub(crate) struct Entry {
    pub(crate) plan: Plan,
    private: bool,
    sandboxes: tokio::sync::Mutex<Vec<Arc<Held>>>,
}

/// A sandbox and how many instances are in it.
pub(crate) struct Held {
    pub(crate) sandbox: Sandbox,
    /// The spec that the spawner keeps for it.
    pub(crate) spec: u64,
    users: AtomicU32,
    last_used: Mutex<Instant>,
}

/// An instance's place in a sandbox; dropped, it is free again.
pub(crate) struct Place {
    pub(crate) entry: Arc<Entry>,
    pub(crate) held: Arc<Held>,
    /// How long the sandbox took, where it was made for this instance.
    pub(crate) made: Option<Duration>,
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.held.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.held.users.fetch_sub(1, Ordering::Release);
    }
}

impl Held {
    fn is_alive(&self) -> bool {
        self.sandbox
            .network
            .as_ref()
            .is_none_or(|network| network.process.id().is_some())
    }

    fn is_idle(&self) -> bool {
        let limit = if self.sandbox.network.is_some() {
            IDLE
        } else {
            IDLE_PIN
        };
        let since = self
            .last_used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed();
        self.users.load(Ordering::Acquire) == 0 && since > limit
    }
}

/// Whether instances of a function must not run beside each other in one sandbox (DESIGN 3.2).
pub(crate) fn is_private(function: &Function, network: Network) -> bool {
    network == Network::Sandbox
        && (function.settings.sandbox == SandboxChoice::Private
            || matches!(function.settings.port, PortChoice::Fixed(_)))
}

impl Pool {
    /// A place for one instance; a sandbox is made where none has one.
    pub(crate) async fn place(&self, shared: &Shared, function: &Function) -> Result<Place, PlaceError> {
        let entry = self.entry(shared, function)?;
        let mut sandboxes = entry.sandboxes.lock().await;
        let (alive, dead): (Vec<_>, Vec<_>) = sandboxes.drain(..).partition(|held| held.is_alive());
        *sandboxes = alive;
        for held in dead {
            shared.discard(held);
        }
        let limit = if entry.private { 1 } else { u32::MAX };
        let free = sandboxes
            .iter()
            .find(|held| held.users.load(Ordering::Acquire) < limit)
            .cloned();
        if let Some(held) = free {
            held.users.fetch_add(1, Ordering::AcqRel);
            drop(sandboxes);
            return Ok(Place {
                entry,
                held,
                made: None,
            });
        }
        if entry.private {
            // Each makes its own; only those who share one wait for its maker.
            drop(sandboxes);
            let (held, time) = make(shared, function, &entry.plan).await?;
            entry.sandboxes.lock().await.push(held.clone());
            return Ok(Place {
                entry,
                held,
                made: Some(time),
            });
        }
        let (held, time) = make(shared, function, &entry.plan).await?;
        sandboxes.push(held.clone());
        drop(sandboxes);
        Ok(Place {
            entry,
            held,
            made: Some(time),
        })
    }

    fn entry(&self, shared: &Shared, function: &Function) -> Result<Arc<Entry>, PlaceError> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(&function.template.id) {
            return Ok(entry.clone());
        }
        let host = shared
            .host
            .as_ref()
            .map_err(|reasons| PlaceError::Unsupported(reasons.join("; ")))?;
        let plan =
            plan::plan(function, host).map_err(|reasons| PlaceError::Unsupported(reasons.join("; ")))?;
        let private = is_private(function, plan.network);
        let entry = Arc::new(Entry {
            plan,
            private,
            sandboxes: tokio::sync::Mutex::default(),
        });
        entries.insert(function.template.id.clone(), entry.clone());
        Ok(entry)
    }

    /// Takes out the sandboxes that nobody used for a while; with `all`, every one that is free.
    pub(crate) async fn take_idle(&self, all: bool) -> Vec<Arc<Held>> {
        let entries: Vec<(TemplateId, Arc<Entry>)> = {
            let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries
                .iter()
                .map(|(id, entry)| (id.clone(), entry.clone()))
                .collect()
        };
        let mut taken = Vec::new();
        for (id, entry) in entries {
            let mut sandboxes = entry.sandboxes.lock().await;
            let goes = |held: &Arc<Held>| {
                held.is_idle() || !held.is_alive() || (all && held.users.load(Ordering::Acquire) == 0)
            };
            let (idle, kept): (Vec<_>, Vec<_>) = sandboxes.drain(..).partition(goes);
            *sandboxes = kept;
            if sandboxes.is_empty() {
                self.entries
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&id);
            }
            taken.extend(idle);
        }
        taken
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
}

async fn make(
    shared: &Shared,
    function: &Function,
    plan: &Plan,
) -> Result<(Arc<Held>, Duration), PlaceError> {
    let begin = Instant::now();
    let made = sandbox::make(
        shared.docker(),
        function,
        plan.network,
        shared.owner(),
        &shared.pause,
    )
    .await?;
    shared.keep(made.id);
    let spec = spec(shared, function, plan, &made).map_err(PlaceError::Unsupported)?;
    let prepared = shared.spawner.prepare(spec).await;
    match prepared {
        Ok(spec) => {
            let held = Held {
                sandbox: made,
                spec,
                users: AtomicU32::new(1),
                last_used: Mutex::new(Instant::now()),
            };
            Ok((Arc::new(held), begin.elapsed()))
        }
        Err(error) => {
            sandbox::remove(shared.docker(), &made.container).await;
            shared.release(made.id);
            Err(PlaceError::Spawner(error))
        }
    }
}

fn spec(shared: &Shared, function: &Function, plan: &Plan, sandbox: &Sandbox) -> Result<Spec, String> {
    let host = shared.host.as_ref().map_err(|reasons| reasons.join("; "))?;
    let (base, lower) = sandbox.layers.clone();
    // What Docker sets in every network namespace that it makes; a sandbox has it from Docker.
    let own_network = [
        ("net.ipv4.ip_unprivileged_port_start", "0"),
        ("net.ipv4.ping_group_range", "0 2147483647"),
    ];
    let sysctls = match plan.network {
        Network::Own => own_network
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        Network::Sandbox => Vec::new(),
    };
    Ok(Spec {
        root: Root {
            staging: shared.staging.display().to_string(),
            base,
            lower,
            disk: function.settings.disk,
            read_only: plan.read_only_root,
        },
        mounts: plan.mounts.clone(),
        devices: plan::devices(),
        links: plan::links(),
        masked: plan.masked.clone(),
        read_only: plan.read_only.clone(),
        sysctls,
        process: plan.process.clone(),
        cgroup: cgroups::tree(host, &shared.namespace, &plan.settings),
        cgroup_namespace: plan.cgroup_namespace,
        ipc_namespace: true,
    })
}
