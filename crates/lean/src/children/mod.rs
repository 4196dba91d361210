//! Instances that are no function's: the children that functions start through their socket.
//!
//! What a child is comes as a template's `inspect`, and is refused by the same allow-list. Beside an instance it has a
//! command of its own, keeps its root when it has ended, and lets other processes join it. It has its network to
//! itself while it runs.

mod ahead;
mod follow;
mod ground;
mod networks;
mod run;
mod running;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use skep_model::Function;
use skep_spawner::Tree;

pub use self::ahead::{ChildAhead, PreparedChild};
pub(crate) use self::ground::Grounds;
pub use self::run::{ChildRun, RunError};
pub use self::running::{JoinRun, Joined, RunningChild};
use crate::engine::{LeanEngine, Shared};
use crate::layers::Layers;
use crate::plan::{self, Network, Plan};
use crate::pool;
use crate::sandbox::{self, SandboxNetwork};
use crate::stock::has_binds;
use crate::view::SandboxView;

use self::ground::Ground;

/// What children have in common that differ in nothing but their commands and environments.
pub struct Shape {
    pub(crate) shared: Arc<Shared>,
    pub(crate) plan: Plan,
    pub(crate) spec: u64,
    pub(crate) tree: Tree,
    pub(crate) ground: Arc<Ground>,
    /// The network that they are all in, where it is another container's.
    joined: Option<Arc<SandboxNetwork>>,
    /// Whether it shows its children something of the host's.
    has_binds: bool,
    /// Whether Docker's own first process stands before every command.
    pub(crate) init: bool,
    /// Keeps the image's layers.
    _layers: Layers,
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shape({})", self.spec)
    }
}

impl LeanEngine {
    /// Reads what children are to be, from a function that looks like a template of them; with their cgroups below
    /// `parent`, where that can be given. Of other containers' networks they may be in that of `joined` alone, beside
    /// whatever else is in it.
    ///
    /// # Errors
    /// Why lean does not give that, or what went wrong.
    pub async fn shape(
        &self,
        function: Arc<Function>,
        parent: Option<&str>,
        joined: Option<&str>,
    ) -> Result<Arc<Shape>, String> {
        let shared = &self.shared;
        let host = shared.host.as_ref().map_err(|reasons| reasons.join("; "))?;
        let plan = plan::plan(&function, host, joined).map_err(|reasons| reasons.join("; "))?;
        let joined = match joined.filter(|_| plan.network == Network::Joined) {
            Some(container) => {
                let network = sandbox::joined(shared.docker(), container).await;
                Some(Arc::new(network.map_err(|error| error.to_string())?))
            }
            None => None,
        };
        let ground = Arc::new(Ground::new(function.clone()));
        shared.grounds.add(&ground);
        let first = ground
            .make(shared, &plan, None)
            .await
            .map_err(|error| error.to_string())?;
        let layers = first.layers.clone();
        ground.give_back(first);
        let usual = shared.usual(&function.template.image_id).await;
        let usual = usual.map_err(|error| error.to_string())?;
        let init = plan.init.unwrap_or(usual.init);
        let limits = plan.limits.with_usual(usual.processes.as_deref());
        let tree = shared.cgroups()?.tree_below(&limits, parent);
        let tree = tree.map_err(|error| format!("the children's cgroups can't be made: {error}"))?;
        let spec = pool::spec_in(
            shared,
            &plan,
            function.settings.disk,
            tree.clone(),
            (&layers, usual),
        )?;
        let has_binds = has_binds(&spec);
        let spec = shared
            .spawner
            .prepare(spec)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(Shape {
            shared: shared.clone(),
            plan,
            spec,
            tree,
            ground,
            joined,
            has_binds,
            init,
            _layers: layers,
        }))
    }

    /// The sandboxes of children, in no order.
    pub fn children_sandboxes(&self) -> Vec<SandboxView> {
        self.shared.grounds.views()
    }

    /// Whether children can stand below one cgroup with those of Docker.
    pub fn has_common_cgroups(&self) -> bool {
        self.shared.cgroups().is_ok_and(|cgroups| cgroups.has_common())
    }

    /// Ends what an earlier Skep's children left, by their names, below the cgroup that they were in. It waits for the
    /// kernel.
    pub fn clear_children(&self, parent: &str, names: &[String]) {
        if let Ok(cgroups) = self.shared.cgroups() {
            cgroups.clear_below(parent, names);
        }
    }
}

impl Shape {
    /// The signal that asks a child to end, and the seconds that it then has.
    pub fn stop(&self) -> (i32, u64) {
        (self.plan.stop_signal, self.plan.stop_grace.as_secs())
    }

    /// What its children are called where they did not say, and it is not their own ids: as who holds their network.
    pub fn hostname(&self) -> Option<&str> {
        self.joined.as_ref().map(|joined| joined.files.hostname.as_str())
    }

    /// A child's cgroup with this file in it.
    pub(crate) fn cgroup_file(&self, name: &str, file: &str) -> Option<PathBuf> {
        let folders = self.tree.directories.iter();
        let mut files = folders.map(|folder| PathBuf::from(&folder.parent).join(name).join(file));
        files.find(|path| path.exists())
    }

    /// Makes the cgroups above the children's own again where they are gone: those below a cgroup of Docker's go with
    /// the last child, and Skep's own tree somebody may have taken away.
    pub(crate) async fn raise_cgroups(&self) -> Result<(), RunError> {
        let before = self.shared.kept_cgroups().await;
        let mut parents = self.tree.directories.iter().map(|directory| &directory.parent);
        if parents.clone().all(|parent| Path::new(parent).is_dir()) {
            return Ok(());
        }
        let mended = self.shared.mended_since(before).await;
        mended.map_err(|error| RunError {
            message: error.message,
            error: None,
            own: false,
        })?;
        if !self.tree.unified {
            // Those of version 2 are never made without the program that guards them.
            let _there = parents.try_for_each(std::fs::create_dir_all);
        }
        Ok(())
    }
}

impl Drop for Shape {
    fn drop(&mut self) {
        let (shared, spec) = (self.shared.clone(), self.spec);
        let tasks = shared.tasks.clone();
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        for sandbox in self.ground.drain() {
            self.ground.discard(&shared, sandbox);
        }
        tasks.spawn(async move { drop(shared.spawner.forget(spec).await) });
    }
}
