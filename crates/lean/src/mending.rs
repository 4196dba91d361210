//! What is done when somebody took Skep's cgroups away while it runs: an administrator stopped the scope that systemd
//! gave, or removed folders in which nothing ran. The next launch makes them again.

use std::sync::Arc;

use skep_engine::{LaunchError, LaunchErrorKind};

use crate::engine::Shared;

impl Shared {
    /// Before a launch: mends the tree where it is known to be going. Gives how often it was mended so far.
    pub(crate) async fn kept_cgroups(self: &Arc<Self>) -> u64 {
        let Ok(cgroups) = self.cgroups() else {
            return 0;
        };
        if !cgroups.is_kept() {
            // Where that failed the launch fails as well, and says why.
            drop(self.mend_cgroups().await);
        }
        cgroups.mended()
    }

    /// After a launch that failed: whether the tree is whole now, and was not when the launch began.
    ///
    /// # Errors
    /// That it can't be made again.
    pub(crate) async fn mended_since(self: &Arc<Self>, before: u64) -> Result<bool, LaunchError> {
        self.mend_cgroups().await.map_err(|reason| LaunchError {
            kind: LaunchErrorKind::EngineUnavailable,
            message: reason.to_string(),
        })?;
        Ok(self.cgroups().is_ok_and(|cgroups| cgroups.mended() != before))
    }

    /// Looks, every now and then, after a tree that is going, or could not be made again.
    pub(crate) async fn look_after_cgroups(self: &Arc<Self>) {
        let Ok(cgroups) = self.cgroups() else {
            return;
        };
        if cgroups.broken().is_some() || !cgroups.is_kept() {
            // It was told when it failed first.
            drop(self.mend_cgroups().await);
        }
    }

    async fn mend_cgroups(self: &Arc<Self>) -> Result<(), Arc<str>> {
        let shared = self.clone();
        let mended = tokio::task::spawn_blocking(move || shared.cgroups().map_or(Ok(()), |own| own.mend()));
        mended
            .await
            .unwrap_or_else(|_| Err("mending Skep's cgroups broke off".into()))
    }
}
