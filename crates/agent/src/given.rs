//! What Swarm puts into a task beside its volumes: secrets and configs, each a file in memory. Docker's inspection does
//! not show them, the task's own list of mounts does (proc_pid_mountinfo(5)).
//!
//! They never change while a task runs, so an instance is shown a copy: in memory as well, and where the spawner sees
//! it, which does not see Docker's own mounts when the agent is a container.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Where memory is a folder.
const MEMORY: &str = "/dev/shm";
/// What is mounted below these is every container's own.
const USUAL: [&str; 3] = ["/proc/", "/sys/", "/dev/"];
/// The largest that Swarm keeps is 1,000 kB; more than this is something else.
const LARGEST: u64 = 4 << 20;

/// A file that Swarm mounted into a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    /// Where it is in the task.
    pub(crate) target: String,
    /// Its name in the folder that Docker keeps for the container.
    pub(crate) name: String,
}

/// Reads them from a task's list of mounts: single files of a file system in memory, which are neither every
/// container's nor among the mounts that Docker shows.
pub(crate) fn of(mounts: &str, shown: &[String]) -> Vec<Given> {
    mounts
        .lines()
        .filter_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            let mut fields = place.split(' ').skip(3);
            let (root, target) = (unescaped(fields.next()?), unescaped(fields.next()?));
            let is_memory = kind.split(' ').next() == Some("tmpfs");
            let usual = USUAL.iter().any(|folder| target.starts_with(folder));
            let name = root.strip_prefix('/')?;
            let plain = !name.is_empty() && !name.contains('/');
            (is_memory && plain && !usual && !shown.contains(&target)).then(|| Given {
                name: name.to_owned(),
                target,
            })
        })
        .collect()
}

/// The kernel writes blanks and their like as octal numbers there.
fn unescaped(text: &str) -> String {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(text.to_owned(), |text, (escaped, plain)| {
        text.replace(escaped, plain)
    })
}

/// The copies of one agent.
#[derive(Debug, Clone)]
pub(crate) struct Copies {
    folder: PathBuf,
}

impl Copies {
    /// In the place of those that an earlier agent left.
    pub(crate) fn prepare(folder: &Path) -> io::Result<Self> {
        forget(folder);
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(folder)?;
        allow_programs(folder);
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Copies one task's files; gives their paths, in the same order. It waits for the disk.
    pub(crate) fn take(&self, container: &str, process: u32, files: &[Given]) -> io::Result<Vec<PathBuf>> {
        let folder = self.folder.join(container);
        if files.is_empty() {
            return Ok(Vec::new());
        }
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(format!("/proc/{process}/root"), flags, Mode::empty())?;
        let copies = files.iter().enumerate();
        copies
            .map(|(index, file)| copy(&root, &file.target, folder.join(index.to_string())))
            .collect()
    }

    /// Forgets a task's.
    pub(crate) fn remove(&self, container: &str) {
        match fs::remove_dir_all(self.folder.join(container)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(container, %error, "a task's secrets could not be removed from memory");
            }
            _ => {}
        }
    }

    /// Forgets all.
    pub(crate) fn remove_all(&self) {
        forget(&self.folder);
        // The next agent would do so.
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Ends the folder's own memory, where it has some.
fn forget(folder: &Path) {
    let ended = rustix::mount::unmount(folder, rustix::mount::UnmountFlags::DETACH);
    if let Err(error) = ended
        && !matches!(error, rustix::io::Errno::INVAL | rustix::io::Errno::NOENT)
    {
        tracing::debug!(%error, "the agent's folder in memory keeps its own memory");
    }
}

/// A config may be a program. Where nothing may be run from memory, as in a container, the folder gets memory of its
/// own; without it such a program is not run by lean instances, and all else is as it should be.
fn allow_programs(folder: &Path) {
    let forbidden = rustix::fs::statvfs(folder)
        .is_ok_and(|about| about.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC));
    if !forbidden {
        return;
    }
    let flags = rustix::mount::MountFlags::empty();
    if let Err(error) = rustix::mount::mount("tmpfs", folder, "tmpfs", flags, c"mode=700") {
        tracing::warn!(%error, "programs that are Swarm configs can't be run by lean instances");
    }
}

fn copy(root: &OwnedFd, target: &str, to: PathBuf) -> io::Result<PathBuf> {
    // No link in there leads out of it.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let from = rustix::fs::openat2(root, target, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    let from = fs::File::from(from);
    let about = from.metadata()?;
    if !about.is_file() || about.len() > LARGEST {
        return Err(io::Error::other(format!("{target} is no file of Swarm's")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or_default());
    from.take(LARGEST).read_to_end(&mut bytes)?;
    let mut copy = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&to)?;
    copy.write_all(&bytes)?;
    fchown(&copy, Some(about.uid()), Some(about.gid()))?;
    copy.set_permissions(Permissions::from_mode(about.mode() & 0o7777))?;
    Ok(to)
}

/// The folder in memory that belongs to the agent of a namespace.
pub(crate) fn folder(namespace: &str) -> PathBuf {
    Path::new(MEMORY).join(format!("skep-agent-{namespace}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
1 0 0:80 / / rw,relatime - overlay overlay rw
2 1 0:85 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k
3 1 0:90 /k8vq2 /run/secrets/db\\040password ro,relatime - tmpfs tmpfs rw
4 1 0:90 /p1x /.skep-pause ro,relatime - tmpfs tmpfs rw
5 1 8:1 /var/lib/docker/containers/c/hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw
6 1 0:85 /null /proc/kcore rw,nosuid - tmpfs tmpfs rw
7 1 0:99 / /tmp rw,relatime - tmpfs tmpfs rw
8 1 0:21 /shared/file /data/file rw - tmpfs tmpfs rw
9 1 0:21 /bound /bound rw - tmpfs tmpfs rw
";

    #[test]
    fn secrets_and_configs_are_told_from_what_every_container_has() {
        let shown = ["/bound".to_owned(), "/.skep-pause".to_owned()];
        let expected = Given {
            target: "/run/secrets/db password".to_owned(),
            name: "k8vq2".to_owned(),
        };
        assert_eq!(of(MOUNTS, &shown), [expected]);
    }

    #[test]
    fn a_copy_has_the_content_and_rights_of_the_file() {
        let folder = std::env::temp_dir().join(format!("skep-given-{}", std::process::id()));
        let inside = folder.with_extension("inside");
        fs::create_dir_all(&inside).expect("a folder");
        let file = inside.join("secret");
        fs::write(&file, b"\xff\x00word").expect("a secret");
        fs::set_permissions(&file, Permissions::from_mode(0o440)).expect("its rights");
        let copies = Copies::prepare(&folder).expect("a place for copies");
        let given = Given {
            target: file.display().to_string(),
            name: "secret".to_owned(),
        };
        let taken = copies
            .take("container", std::process::id(), &[given])
            .expect("a copy");
        assert_eq!(fs::read(&taken[0]).expect("the copy"), b"\xff\x00word");
        let mode = fs::metadata(&taken[0]).expect("the copy").mode();
        assert_eq!(mode & 0o7777, 0o440);
        copies.remove("container");
        assert!(!taken[0].exists());
        copies.remove_all();
        fs::remove_dir_all(inside).expect("the folder goes");
    }
}
