//! The lowest layer of every instance: the few files and folders that Docker puts into a container whose image lacks
//! them. It lies below the image's own layers, so that what the image has stays as it is.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 6] = ["dev", "dev/pts", "dev/shm", "etc", "proc", "sys"];
const FILES: [&str; 5] = [
    ".dockerenv",
    "dev/console",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
];

/// Puts it into a folder; gives its path.
pub(crate) fn install(folder: &Path) -> io::Result<PathBuf> {
    let base = folder.join("base");
    fs::create_dir_all(&base)?;
    fs::set_permissions(&base, Permissions::from_mode(0o755))?;
    for name in FOLDERS {
        let path = base.join(name);
        fs::create_dir_all(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    }
    for name in FILES {
        let path = base.join(name);
        fs::write(&path, "")?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    }
    match symlink("/proc/mounts", base.join("etc/mtab")) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(base),
    }
}
