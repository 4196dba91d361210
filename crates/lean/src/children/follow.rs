//! The files that tell a child of its network, after that was changed while it runs.

use std::os::fd::AsFd;
use std::sync::{MutexGuard, PoisonError};

use crate::files;
use crate::plan::mounts::FILES;
use crate::sandbox::{self, NameFiles};

use super::running::RunningChild;

impl RunningChild {
    /// Looks again at what Docker wrote for its sandbox, and changes the child's own `/etc/resolv.conf` and
    /// `/etc/hosts` alike; what the child itself wrote into the latter stays.
    ///
    /// # Errors
    /// What went wrong; the files are then as before, or one of them is.
    pub async fn follow_network(&self) -> Result<(), String> {
        let Some(container) = self.network_container() else {
            return Ok(());
        };
        let looked = sandbox::name_files(self.shape.shared.docker(), container).await;
        let now = looked.map_err(|error| error.to_string())?;
        let before = self.seen().clone();
        let Some(mounts) = self.mounts() else {
            return Ok(());
        };
        let named = |of: &NameFiles| files::renamed(&of.hosts, &of.hostname, &self.names);
        let hosts = (named(&before), named(&now));
        let after = now.clone();
        let edited = tokio::task::spawn_blocking(move || {
            let [resolv_conf, _, own_hosts] = FILES;
            if before.resolv_conf != now.resolv_conf {
                skep_sys::edit_mounted(mounts.as_fd(), resolv_conf, |_| now.resolv_conf)?;
            }
            if hosts.0 != hosts.1 {
                skep_sys::edit_mounted(mounts.as_fd(), own_hosts, |own| {
                    files::followed(&own, &hosts.0, &hosts.1)
                })?;
            }
            Ok::<_, std::io::Error>(())
        });
        let edited = edited.await.map_err(|error| error.to_string())?;
        edited.map_err(|error| format!("the child's name resolution can't be written: {error}"))?;
        *self.seen() = after;
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, NameFiles> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
