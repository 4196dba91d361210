//! Binds that go on with the host's mounts: taken before this process's own mounts are made private, which would cut
//! them off, and put in their places afterwards. As runc does it, all follow the host unless one is shared.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags};

use super::mounts::place_for;
use super::rooted::{Rooted, place};
use super::{Step, failure};
use crate::spec::{Mount, MountKind, Propagation, PropagationKind, Spec};
use crate::wire::Failure;

/// The sources of such binds, by their places in the spec.
pub(super) struct Followed {
    trees: Vec<(usize, OwnedFd)>,
    /// Whether any is shared.
    shared: bool,
}

impl Followed {
    /// Takes them all.
    pub(super) fn take(spec: &Spec) -> Result<Self, Failure> {
        let (mut trees, mut shared) = (Vec::new(), false);
        for (index, mount) in spec.mounts.iter().enumerate() {
            let MountKind::Bind {
                source,
                recursive,
                create,
                propagation,
            } = &mount.kind
            else {
                continue;
            };
            if *propagation == Propagation::default() {
                continue;
            }
            make_source(source, *create)?;
            shared |= propagation.kind == PropagationKind::Shared;
            trees.push((index, tree(source, *recursive, mount, *propagation)?));
        }
        Ok(Self { trees, shared })
    }

    /// The one of the bind with this place in the spec, where it is such a bind.
    pub(super) fn tree(&self, index: usize) -> Option<Tree<'_>> {
        let (_, tree) = self.trees.iter().find(|(of, _)| *of == index)?;
        Some(Tree {
            tree,
            shared: self.shared,
        })
    }
}

/// The source of one such bind, with what is mounted below it.
pub(super) struct Tree<'a> {
    tree: &'a OwnedFd,
    shared: bool,
}

impl Tree<'_> {
    /// Puts it in its place.
    pub(super) fn put(&self, root: &Rooted, source: &str, path: &str) -> Result<(), Failure> {
        let what = || format!("mount {source} at {path}");
        let target = place_for(root, source, path).template(what)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        rustix::mount::move_mount(self.tree, "", &target, "", flags).template(what)?;
        if !self.shared {
            let follow = MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM;
            change(root, path, follow)?;
        }
        Ok(())
    }
}

/// Does what the bind itself says, once it has its other options.
pub(super) fn set(root: &Rooted, path: &str, propagation: Propagation) -> Result<(), Failure> {
    let kind = match propagation.kind {
        PropagationKind::Unsaid => return Ok(()),
        PropagationKind::Private => MountPropagationFlags::PRIVATE,
        PropagationKind::Slave => MountPropagationFlags::DOWNSTREAM,
        PropagationKind::Shared => MountPropagationFlags::SHARED,
    };
    let flags = if propagation.below {
        kind | MountPropagationFlags::REC
    } else {
        kind
    };
    change(root, path, flags)
}

fn change(root: &Rooted, path: &str, flags: MountPropagationFlags) -> Result<(), Failure> {
    let what = || format!("set the propagation of {path}");
    // What is open lies below the mount; the path leads to its top.
    let mounted = root.open(path).template(what)?;
    rustix::mount::mount_change(place(&mounted), flags).template(what)
}

/// Makes a bind's source where that is wanted, as Docker does for `-v`, though not for `--mount`.
pub(super) fn make_source(source: &str, create: bool) -> Result<(), Failure> {
    if create && !std::path::Path::new(source).exists() {
        fs::create_dir_all(source).template(|| format!("make {source} on the host"))?;
    }
    Ok(())
}

fn tree(source: &str, recursive: bool, mount: &Mount, propagation: Propagation) -> Result<OwnedFd, Failure> {
    let what = || format!("mount {source} at {}", mount.target);
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = rustix::fs::open(source, flags, Mode::empty()).template(what)?;
    if propagation.strict && !can_be_followed(&opened, propagation.kind).step("look at the host's mounts")? {
        let step = format!("{}: the host's mount lets nobody follow it", what());
        return Err(failure(rustix::io::Errno::INVAL.into(), step, true));
    }
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(&opened, "", flags).template(what)
}

/// Whether the mount that a file is in is shared, or where that does for this kind, follows another itself.
fn can_be_followed(file: &OwnedFd, kind: PropagationKind) -> std::io::Result<bool> {
    let information = fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", file.as_raw_fd()))?;
    let number = information.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    let number = number.unwrap_or_default().trim();
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let line = mounts.lines().find(|line| line.split(' ').next() == Some(number));
    let mut fields = line.unwrap_or_default().split(' ').skip(6);
    let follows = kind == PropagationKind::Slave;
    Ok(fields
        .by_ref()
        .take_while(|field| *field != "-")
        .any(|field| field.starts_with("shared:") || (follows && field.starts_with("master:"))))
}
