//! One Skep per namespace and engine (docs/decisions/023).
//!
//! Two locks, since each sees what the other can't. An abstract Unix socket named after engine and namespace: the
//! kernel gives it back whatever happens to its holder, but only Skeps in one network namespace see it. And a volume
//! named after the namespace, whose labels say who holds it: making a volume that exists gives back the existing
//! one, in one step of the engine's, so that of two only one finds itself named in it. A holder that no longer
//! exists is replaced.

use std::collections::HashMap;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Arc;
use std::time::Duration;

use bollard::models::{Volume, VolumeCreateRequest};
use bollard::query_parameters::RemoveVolumeOptions;
use skep_model::{Namespace, label};
use skep_sys::ProcessIdentity;

use crate::error::CallError;
use crate::reach::Reach;
use crate::shared::Shared;

const CONTAINER: &str = "skep.lock.container";
const BOOT: &str = "skep.lock.boot";
const PROCESS: &str = "skep.lock.process";
const STARTED: &str = "skep.lock.started";
const HOLDER: &str = "skep.lock.holder";

/// Why the namespace can't be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another Skep has it.
    #[error(
        "another skep serve ({holder}) manages the namespace {namespace} on this Docker engine; \
         stop it, or choose another with --namespace"
    )]
    Held {
        /// Who, as far as is known.
        holder: String,
        /// The namespace.
        namespace: Namespace,
    },
    /// Whether the holder lives can't be seen from here.
    #[error(
        "the namespace {namespace} is marked as managed by {holder}, which can't be seen from here; \
         if it no longer runs, free the namespace with: docker volume rm {volume}"
    )]
    Unknown {
        /// Who.
        holder: String,
        /// The namespace.
        namespace: Namespace,
        /// The volume that says so.
        volume: String,
    },
    /// The engine didn't do what the lock needs.
    #[error("the namespace's lock can't be taken: {0}")]
    Engine(String),
    /// The kernel didn't.
    #[error("the namespace's lock can't be taken")]
    System(#[from] io::Error),
}

impl From<CallError> for LockError {
    fn from(error: CallError) -> Self {
        Self::Engine(error.chain())
    }
}

/// Holds a namespace. Dropping it frees the socket; [`NamespaceLock::release`] removes the volume as well.
#[derive(Debug)]
pub struct NamespaceLock {
    shared: Arc<Shared>,
    volume: String,
    /// Held for as long as this is; nobody ever connects.
    _socket: UnixListener,
}

impl NamespaceLock {
    pub(crate) async fn acquire(shared: &Arc<Shared>) -> Result<Self, LockError> {
        let engine = shared.api.info().await?.id.unwrap_or_default();
        let socket = bind(&engine, &shared.namespace)?;
        let volume = format!("skep-lock-{}", shared.namespace);
        let mine = own_labels(shared)?;
        let found = create(shared, &volume, &mine).await?;
        if !is_mine(&found, &mine) {
            judge(shared, &volume, &found).await?;
            tracing::info!(
                volume,
                "the namespace's former holder is gone; its lock is taken over"
            );
            remove(shared, &volume).await?;
            create(shared, &volume, &mine).await?;
            // Another may have judged at the same time, and removed what we just made: only who is still named in
            // it a moment later has it.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let settled = create(shared, &volume, &mine).await?;
            if !is_mine(&settled, &mine) {
                return Err(held(shared, &settled));
            }
        }
        Ok(Self {
            shared: shared.clone(),
            volume,
            _socket: socket,
        })
    }

    /// Frees the namespace and leaves nothing of the lock behind.
    pub async fn release(self) {
        if let Err(error) = remove(&self.shared, &self.volume).await {
            tracing::warn!(
                volume = self.volume,
                error = error.chain(),
                "the namespace's lock could not be removed"
            );
        }
    }
}

fn bind(engine: &str, namespace: &Namespace) -> Result<UnixListener, LockError> {
    let address = SocketAddr::from_abstract_name(format!("skep/{engine}/{namespace}"))?;
    UnixListener::bind_addr(&address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => LockError::Held {
            holder: "a process on this host".to_owned(),
            namespace: namespace.clone(),
        },
        _ => LockError::System(error),
    })
}

/// Who we are, so that others can find out whether we still are.
fn own_labels(shared: &Shared) -> Result<HashMap<String, String>, LockError> {
    let mut labels = HashMap::from([
        (label::NAMESPACE.to_owned(), shared.namespace.to_string()),
        (HOLDER.to_owned(), shared.owner.clone()),
    ]);
    if let Reach::Networks { own } = &shared.reach {
        labels.insert(CONTAINER.to_owned(), own.clone());
    } else {
        let gone = || io::Error::other("/proc doesn't tell about this process");
        let own = ProcessIdentity::own().ok_or_else(gone)?;
        labels.insert(BOOT.to_owned(), skep_sys::boot_id()?);
        labels.insert(PROCESS.to_owned(), own.id.to_string());
        labels.insert(STARTED.to_owned(), own.started.to_string());
    }
    Ok(labels)
}

fn is_mine(volume: &Volume, mine: &HashMap<String, String>) -> bool {
    let holder = volume.labels.get(HOLDER);
    // A container that was restarted finds its own lock; it runs one Skep at a time (the socket sees to that).
    let container = volume.labels.get(CONTAINER);
    holder == mine.get(HOLDER) || (container.is_some() && container == mine.get(CONTAINER))
}

/// Returns where the holder is gone for certain.
async fn judge(shared: &Shared, name: &str, volume: &Volume) -> Result<(), LockError> {
    let own = |key: &str| volume.labels.get(key).map(String::as_str);
    if let Some(container) = own(CONTAINER) {
        return match shared.api.inspect(container).await {
            Ok(inspect)
                if inspect
                    .state
                    .as_ref()
                    .and_then(|state| state.running)
                    .unwrap_or(false) =>
            {
                Err(held(shared, volume))
            }
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        };
    }
    let (Some(boot), Some(process)) = (own(BOOT), own(PROCESS).and_then(|text| text.parse().ok())) else {
        return Err(unknown(shared, name, volume));
    };
    if boot != skep_sys::boot_id()? {
        // Another boot of this machine; unless the engine is elsewhere, and the holder with it.
        return if shared.reach.can_enter() {
            Ok(())
        } else {
            Err(unknown(shared, name, volume))
        };
    }
    if !shared.reach.can_enter() && ProcessIdentity::of(process).is_none() {
        return Err(unknown(shared, name, volume));
    }
    let started = own(STARTED).and_then(|text| text.parse().ok());
    let holder = started.map(|started| ProcessIdentity { id: process, started });
    if holder.is_some_and(|holder| holder.runs()) {
        Err(held(shared, volume))
    } else {
        Ok(())
    }
}

fn holder(volume: &Volume) -> String {
    match (volume.labels.get(CONTAINER), volume.labels.get(PROCESS)) {
        (Some(container), _) => format!("the container {}", container.get(..12).unwrap_or(container)),
        (None, Some(process)) => format!("the process {process} on a host"),
        (None, None) => "an unknown holder".to_owned(),
    }
}

fn held(shared: &Shared, volume: &Volume) -> LockError {
    LockError::Held {
        holder: holder(volume),
        namespace: shared.namespace.clone(),
    }
}

fn unknown(shared: &Shared, name: &str, volume: &Volume) -> LockError {
    LockError::Unknown {
        holder: holder(volume),
        namespace: shared.namespace.clone(),
        volume: name.to_owned(),
    }
}

async fn create(shared: &Shared, name: &str, labels: &HashMap<String, String>) -> Result<Volume, CallError> {
    let request = VolumeCreateRequest {
        name: Some(name.to_owned()),
        labels: Some(labels.clone()),
        ..Default::default()
    };
    let made = shared
        .api
        .call("volume-create", shared.api.docker.create_volume(request))
        .await?;
    if made.labels.contains_key(HOLDER) {
        return Ok(made);
    }
    // An engine that was started anew gives an older volume back without its labels here, and shows them only there.
    let inspected = shared.api.docker.inspect_volume(name);
    shared.api.call("volume-inspect", inspected).await
}

async fn remove(shared: &Shared, name: &str) -> Result<(), CallError> {
    let removal = shared.api.docker.remove_volume(name, None::<RemoveVolumeOptions>);
    match shared.api.call("volume-remove", removal).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
