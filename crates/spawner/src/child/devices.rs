//! Device nodes and the links beside them.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Gid, Mode, Uid};

use super::Step;
use super::rooted::Rooted;
use crate::spec::{Device, Spec};
use crate::wire::Failure;

/// Makes the spec's device nodes and links, in place of what the image has there.
pub(super) fn make(root: &Rooted, spec: &Spec) -> Result<(), Failure> {
    // Modes are meant as they are said.
    let before = rustix::process::umask(Mode::empty());
    let mut parents = Parents { root, last: None };
    for device in &spec.devices {
        make_device(&mut parents, device)?;
    }
    for (path, to) in &spec.links {
        let (parent, name) = parents.of(path).template(|| format!("link {path}"))?;
        let link = || rustix::fs::symlinkat(to.as_str(), parent, name);
        replace(parent, name, link).template(|| format!("link {path}"))?;
    }
    rustix::process::umask(before);
    Ok(())
}

fn make_device(parents: &mut Parents<'_>, device: &Device) -> Result<(), Failure> {
    let what = || format!("make {}", device.path);
    let (parent, name) = parents.of(&device.path).template(what)?;
    let kind = if device.character {
        FileType::CharacterDevice
    } else {
        FileType::BlockDevice
    };
    let mode = Mode::from_raw_mode(device.mode);
    let number = rustix::fs::makedev(device.major, device.minor);
    let make = || rustix::fs::mknodat(parent, name, kind, mode, number);
    replace(parent, name, make).template(what)?;
    if (device.user, device.group) != (0, 0) {
        let (user, group) = (Uid::from_raw(device.user), Gid::from_raw(device.group));
        rustix::fs::chownat(
            parent,
            name,
            Some(user),
            Some(group),
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )
        .template(|| format!("set the owner of {}", device.path))?;
    }
    Ok(())
}

/// `/dev` is fresh, but a device may be asked for elsewhere, where the image may have something.
fn replace(
    parent: &OwnedFd,
    name: &str,
    make: impl Fn() -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    match make() {
        Err(rustix::io::Errno::EXIST) => {
            rustix::fs::unlinkat(parent, name, rustix::fs::AtFlags::empty())?;
            make()
        }
        other => other,
    }
}

/// The folders that devices stand in; most stand in the same.
struct Parents<'a> {
    root: &'a Rooted,
    last: Option<(String, OwnedFd)>,
}

impl Parents<'_> {
    fn of<'p>(&mut self, path: &'p str) -> io::Result<(&OwnedFd, &'p str)> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let known = self.last.take_if(|(last, _)| last != folder || name.is_empty());
        drop(known);
        if self.last.is_none() {
            let (parent, _) = self.root.make_parent(path)?;
            self.last = Some((folder.to_owned(), parent));
        }
        let (_, parent) = self.last.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok((parent, name))
    }
}
