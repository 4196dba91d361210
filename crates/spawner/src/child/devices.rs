//! Device nodes and the links beside them.

use rustix::fs::{FileType, Gid, Mode, Uid};

use super::Step;
use super::rooted::Rooted;
use crate::spec::Spec;
use crate::wire::Failure;

/// Makes the spec's device nodes and links, in place of what the image has there.
pub(super) fn make(root: &Rooted, spec: &Spec) -> Result<(), Failure> {
    for device in &spec.devices {
        let (parent, name) = root
            .make_parent(&device.path)
            .template(|| format!("make {}", device.path))?;
        let kind = if device.character {
            FileType::CharacterDevice
        } else {
            FileType::BlockDevice
        };
        let mode = Mode::from_raw_mode(device.mode);
        let number = rustix::fs::makedev(device.major, device.minor);
        remove(&parent, name);
        rustix::fs::mknodat(&parent, name, kind, mode, number)
            .template(|| format!("make {}", device.path))?;
        // The umask was applied to the mode above.
        rustix::fs::chmodat(&parent, name, mode, rustix::fs::AtFlags::empty())
            .template(|| format!("set the mode of {}", device.path))?;
        if (device.user, device.group) != (0, 0) {
            let (user, group) = (Uid::from_raw(device.user), Gid::from_raw(device.group));
            rustix::fs::chownat(
                &parent,
                name,
                Some(user),
                Some(group),
                rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
            )
            .template(|| format!("set the owner of {}", device.path))?;
        }
    }
    for (path, to) in &spec.links {
        let (parent, name) = root.make_parent(path).template(|| format!("link {path}"))?;
        remove(&parent, name);
        rustix::fs::symlinkat(to.as_str(), &parent, name).template(|| format!("link {path}"))?;
    }
    Ok(())
}

/// `/dev` is fresh, but a device may be asked for elsewhere, where the image may have something.
fn remove(parent: &std::os::fd::OwnedFd, name: &str) {
    let _was_there = rustix::fs::unlinkat(parent, name, rustix::fs::AtFlags::empty());
}
