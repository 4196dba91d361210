//! The few files and folders that Docker puts over every image before a container starts: a layer above the image's own,
//! since a link or a file of the image's where a folder has to be gives way to it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use skep_model::InstanceId;

use crate::layers::Layers;

const FOLDERS: [&str; 6] = ["dev", "dev/pts", "dev/shm", ETC, "proc", "sys"];
const FILES: [&str; 5] = [
    ".dockerenv",
    "dev/console",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
];
/// The one of these folders that nothing is mounted over: the image says who owns it and who may enter it.
const ETC: &str = "etc";

/// Mode, user and group of a folder.
type Rights = (u32, u32, u32);

const USUAL: Rights = (0o755, 0, 0);

/// The layer for an image, made below a folder where no image like it was met before.
pub(crate) fn layer(below: &Path, image: &Layers) -> io::Result<PathBuf> {
    let rights @ (mode, user, group) = rights_of_etc(image)?;
    let layer = below.join(format!("{mode:o}-{user}-{group}"));
    if layer.is_dir() {
        return Ok(layer);
    }
    let unfinished = below.join(InstanceId::generate().to_string());
    make(&unfinished, rights)?;
    match fs::rename(&unfinished, &layer) {
        // Somebody else was faster.
        Err(_) if layer.is_dir() => fs::remove_dir_all(&unfinished).map(|()| layer),
        other => other.map(|()| layer),
    }
}

/// What the folder has in the topmost layer that says anything of it.
fn rights_of_etc(image: &Layers) -> io::Result<Rights> {
    for layer in &image.lower {
        match fs::symlink_metadata(Path::new(&image.base).join(layer).join(ETC)) {
            Ok(found) if found.is_dir() => return Ok((found.mode() & 0o7777, found.uid(), found.gid())),
            Ok(_) => return Ok(USUAL),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(USUAL)
}

fn make(layer: &Path, etc: Rights) -> io::Result<()> {
    fs::create_dir_all(layer)?;
    for (folder, rights) in [(layer.to_owned(), USUAL)]
        .into_iter()
        .chain(FOLDERS.map(|name| (layer.join(name), if name == ETC { etc } else { USUAL })))
    {
        let (mode, user, group) = rights;
        fs::create_dir_all(&folder)?;
        chown(&folder, Some(user), Some(group))?;
        fs::set_permissions(&folder, Permissions::from_mode(mode))?;
    }
    for name in FILES {
        let file = layer.join(name);
        fs::write(&file, "")?;
        fs::set_permissions(&file, Permissions::from_mode(0o755))?;
    }
    symlink("/proc/mounts", layer.join("etc/mtab"))
}
