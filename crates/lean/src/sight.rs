//! Which of the host's files Skep sees where the host has them: all of them, or, in a container, what was mounted into
//! it at the same path.

use std::path::{Path, PathBuf};

use bollard::Docker;
use bollard::query_parameters::InspectContainerOptions;

/// What is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Skep runs on the host itself.
    Everything,
    /// Skep is a container of this engine, and these are the same inside and outside.
    Folders(Vec<PathBuf>),
}

impl Sight {
    /// Asks the engine for the mounts of the container that this process runs in, if it is one of its own.
    pub(crate) async fn find(docker: &Docker) -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let Some(own) = container_in(&mounts) else {
            return Self::Everything;
        };
        let Ok(inspect) = docker
            .inspect_container(own, None::<InspectContainerOptions>)
            .await
        else {
            return Self::Everything;
        };
        let pairs = inspect.mounts.into_iter().flatten();
        let same = pairs
            .filter(|mount| mount.source == mount.destination)
            .filter_map(|mount| mount.destination);
        Self::Folders(same.map(PathBuf::from).collect())
    }

    /// There is a folder of Skep's own besides.
    pub(crate) fn add(&mut self, own: Option<PathBuf>) {
        match self {
            Self::Everything => {}
            Self::Folders(folders) => folders.extend(own),
        }
    }

    /// That Docker will find one of Skep's own files where Skep says that it is.
    ///
    /// # Errors
    /// A sentence that says what a container is started with.
    pub(crate) fn check(&self, file: &Path) -> Result<(), String> {
        let folder = file.parent().unwrap_or(file).display();
        if self.has(file) {
            return Ok(());
        }
        Err(format!(
            "Skep runs in a container, and the host does not have its data in {folder} (run it with -v \
             {folder}:{folder})"
        ))
    }

    /// Whether a path means the same file here as on the host.
    pub(crate) fn has(&self, path: &Path) -> bool {
        match self {
            Self::Everything => true,
            Self::Folders(folders) => folders.iter().any(|folder| path.starts_with(folder)),
        }
    }
}

/// The container whose own file Docker mounted over `/etc/hostname`.
fn container_in(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, target) = (fields.next()?, fields.next()?);
        let id = root.strip_suffix("/hostname")?.rsplit('/').next()?;
        let named = target == "/etc/hostname" && id.len() == 64;
        (named && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_sees_what_is_mounted_at_the_same_path_and_below() {
        let sight = Sight::Folders(vec!["/var/lib/docker".into()]);
        assert!(sight.has(Path::new("/var/lib/docker/overlay2/x")));
        assert!(!sight.has(Path::new("/var/lib/docker2")));
        assert!(!sight.has(Path::new("/home/me")));
        assert!(Sight::Everything.has(Path::new("/home/me")));
    }

    #[test]
    fn the_own_container_is_named_by_the_mount_over_its_host_name() {
        let id = "e9cdf171321bfb56b1c8ca7615bd2a546ae767f8652fabe73ebf61b5755c8865";
        let line =
            format!("310 300 8:1 /docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/sda1 rw");
        assert_eq!(container_in(&line), Some(id));
        assert_eq!(container_in("22 1 8:1 / / rw - ext4 /dev/sda1 rw"), None);
    }
}
