//! The root file system and everything mounted over it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::StatVfsMountFlags;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::thread::LinkNameSpaceType;

use super::Step;
use super::propagation::{self, Followed, Tree};
use super::rooted::{Rooted, place};
use crate::spec::{Mount, MountKind, MountOptions, Propagation, Root, Spec};
use crate::wire::Failure;

/// The files of an instance's own, open to be written: what stands in them may be known late.
pub(super) struct Files(Vec<File>);

impl Files {
    /// Writes them, in the order of the spec's numbers.
    pub(super) fn write(self, contents: &[String]) -> Result<(), Failure> {
        let mut pairs = self.0.into_iter().zip(contents);
        pairs
            .try_for_each(|(mut file, text)| file.write_all(text.as_bytes()))
            .step("write the instance's own files")
    }
}

/// Mounts a fresh overlay of the image's layers, and makes so many files of the instance's own beside it.
pub(super) fn make_root(root: &Root, files: usize) -> Result<(Rooted, Files), Failure> {
    let files = stage(root, &["upper", "work", "root", "files"], files)?;
    let staging = root.staging.as_str();
    // Layers are named from their common folder, so that many of them fit into the one page of options.
    rustix::process::chdir(root.base.as_str()).step("enter the folder of the layers")?;
    let layers = root.lower.join(":");
    let options = format!("lowerdir={layers},upperdir={staging}/upper,workdir={staging}/work");
    let target = format!("{staging}/root");
    mount("overlay", &target, "overlay", MountFlags::empty(), &options).step("mount the image's layers")?;
    Ok((opened(&target)?, files))
}

/// Goes on with the root of an earlier launch, whose mount namespace this is: the overlay alone is taken over, what
/// was mounted over it is made anew.
pub(super) fn take_root(
    root: &Root,
    files: usize,
    earlier: BorrowedFd<'_>,
) -> Result<(Rooted, Files), Failure> {
    let step = "take over the root";
    let kind = Some(LinkNameSpaceType::Mount);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::open("/proc/thread-self/ns/mnt", flags, Mode::empty()).step(step)?;
    rustix::thread::move_into_link_name_space(earlier, kind).step(step)?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(rustix::fs::CWD, "/", clone).step(step)?;
    rustix::thread::move_into_link_name_space(own.as_fd(), kind).step(step)?;
    let files = stage(root, &["root", "files"], files)?;
    let target = format!("{}/root", root.staging);
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(&tree, "", rustix::fs::CWD, target.as_str(), flags).step(step)?;
    Ok((opened(&target)?, files))
}

/// Mounts a file system in memory over the staging folder, with these folders in it.
fn stage(root: &Root, folders: &[&str], files: usize) -> Result<Files, Failure> {
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change("/", private).step("make the mounts private")?;
    let staging = root.staging.as_str();
    let options = format!("mode=755,size={}", root.disk);
    mount("tmpfs", staging, "tmpfs", MountFlags::empty(), &options).step("mount the writable layer")?;
    for folder in folders {
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::mkdir(format!("{staging}/{folder}"), mode).step("make the writable layer's folders")?;
    }
    let files = (0..files).map(|index| File::create(format!("{staging}/files/{index}")));
    let files: Result<_, _> = files.collect();
    files.map(Files).step("make the instance's own files")
}

fn opened(target: &str) -> Result<Rooted, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(target, flags, Mode::empty()).step("open the root")?;
    Ok(Rooted::new(folder))
}

/// Mounts all that the spec names, in its order.
pub(super) fn mount_all(root: &Rooted, spec: &Spec, name: &str, followed: &Followed) -> Result<(), Failure> {
    // Before anything else is mounted over what the image has.
    let opened = spec.mounts.iter().map(|entry| match entry.kind {
        MountKind::Fresh => {
            let folder = root.make_folder(&entry.target);
            folder.map(Some).template(|| format!("mount {}", entry.target))
        }
        _ => Ok(None),
    });
    let opened: Vec<_> = opened.collect::<Result<_, _>>()?;
    let mut mounts = spec.mounts.iter().zip(&opened).enumerate();
    mounts.try_for_each(|(index, (entry, folder))| match folder {
        Some(folder) => bind_fresh(root, folder, entry),
        None => mount_one(root, spec, entry, name, followed.tree(index)),
    })
}

/// Mounts what this launch alone is shown, over everything else.
pub(super) fn bind_all(root: &Rooted, binds: &[(String, String)]) -> Result<(), Failure> {
    binds.iter().try_for_each(|(source, target)| {
        let kind = MountKind::Bind {
            source: source.clone(),
            recursive: false,
            create: false,
            propagation: Propagation::default(),
        };
        let entry = Mount {
            kind,
            target: target.clone(),
            options: MountOptions::default(),
        };
        bind(root, source, &entry, false)
    })
}

fn mount_one(
    root: &Rooted,
    spec: &Spec,
    entry: &Mount,
    name: &str,
    tree: Option<Tree<'_>>,
) -> Result<(), Failure> {
    let flags = flags(entry.options);
    let what = || format!("mount {}", entry.target);
    let virtual_file_system = |kind: &str, options: &str| -> Result<(), Failure> {
        // An image whose /proc is a link would have us mount somewhere else: refused, as by runc.
        let target = match root.open_plain_folder(&entry.target) {
            Err(rustix::io::Errno::NOENT) => {
                drop(root.make_folder(&entry.target).template(what)?);
                root.open_plain_folder(&entry.target)
            }
            other => other,
        };
        let target = target.template(what)?;
        mount(kind, &place(&target), kind, flags, options).step(&what())
    };
    match &entry.kind {
        MountKind::Proc => virtual_file_system("proc", ""),
        MountKind::Sysfs => virtual_file_system("sysfs", ""),
        MountKind::Mqueue => virtual_file_system("mqueue", ""),
        MountKind::DevPts => virtual_file_system("devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5"),
        MountKind::Tmpfs { source, options } => {
            let stood = root.open(&entry.target).ok();
            let mode = stood.map(rustix::fs::fstat).transpose().template(what)?;
            let mode = mode.map(|status| status.st_mode & 0o7777);
            let options = with_mode(options, mode, spec.keeps_folders_modes);
            let target = root.make_folder(&entry.target).template(what)?;
            mount(source, &place(&target), "tmpfs", flags, &options).template(what)
        }
        MountKind::Cgroup => mount_cgroups(root, spec, entry, name),
        MountKind::Bind {
            source,
            recursive,
            create,
            propagation,
        } => {
            propagation::make_source(source, *create)?;
            match tree {
                Some(tree) => {
                    tree.put(root, source, &entry.target)?;
                    restrict(root, &entry.target, entry.options)?;
                    propagation::set(root, &entry.target, *propagation)
                }
                None => bind(root, source, entry, *recursive),
            }
        }
        // Its folder is opened before all mounts, and put there by the caller.
        MountKind::Fresh => Ok(()),
        MountKind::File(index) => bind(
            root,
            &format!("{}/files/{index}", spec.root.staging),
            entry,
            false,
        ),
    }
}

/// Shows a file or folder of the host inside, and takes away what the options take away.
fn bind(root: &Rooted, source: &str, entry: &Mount, recursive: bool) -> Result<(), Failure> {
    let what = || format!("mount {source} at {}", entry.target);
    let target = place_for(root, source, &entry.target).template(what)?;
    if recursive {
        rustix::mount::mount_bind_recursive(source, place(&target)).template(what)?;
    } else {
        rustix::mount::mount_bind(source, place(&target)).template(what)?;
    }
    // The open place lies below the new mount; the path now leads to the top.
    restrict(root, &entry.target, entry.options)
}

/// What a file or folder of the host is mounted over; made where there is nothing.
pub(super) fn place_for(root: &Rooted, source: &str, target: &str) -> io::Result<OwnedFd> {
    if std::fs::metadata(source)?.is_dir() {
        root.make_folder(target)
    } else {
        root.make_file(target)
    }
}

/// The options of a file system in memory over a folder of this mode: of two that they say the last one counts.
fn with_mode(options: &str, folder: Option<u32>, keep: bool) -> String {
    let Some(mode) = folder else {
        return options.to_owned();
    };
    let asked = options.split(',').filter(|option| !option.is_empty());
    let asked = asked.filter(|option| !(keep && option.starts_with("mode=")));
    let all: Vec<String> = std::iter::once(format!("mode={mode:o}"))
        .chain(asked.map(str::to_owned))
        .collect();
    all.join(",")
}

/// Mounts a folder of the image's at its place, whatever that is in by now. The root is a fresh copy of the image
/// already, and so is this.
fn bind_fresh(root: &Rooted, folder: &OwnedFd, entry: &Mount) -> Result<(), Failure> {
    let what = || format!("mount {}", entry.target);
    let target = root.make_folder(&entry.target).template(what)?;
    rustix::mount::mount_bind(place(folder), place(&target)).template(what)?;
    restrict(root, &entry.target, entry.options)
}

/// Makes the working directory where the image has none, while the root can still be written.
pub(super) fn make_directory(root: &Rooted, path: &str) -> Result<(), Failure> {
    if path.is_empty() {
        return Ok(());
    }
    let made = root.make_folder(path);
    made.map(drop)
        .template(|| format!("make the working directory {path}"))
}

/// Sets a bind mount's flags, which the first call ignores.
fn restrict(root: &Rooted, path: &str, options: MountOptions) -> Result<(), Failure> {
    if options == MountOptions::default() {
        return Ok(());
    }
    let what = || format!("set the options of {path}");
    let mounted = root.open(path).template(what)?;
    let source = rustix::fs::fstatvfs(&mounted).template(what)?.f_flag;
    let flags = flags(options) | kept(source) | MountFlags::BIND;
    rustix::mount::mount_remount(place(&mounted), flags, c"").template(what)?;
    if options.read_only_below {
        skep_sys::make_read_only_below(mounted.as_fd()).template(what)?;
    }
    Ok(())
}

/// What a mount can't do because its source can't: flags that are set anew are set as a whole.
fn kept(source: StatVfsMountFlags) -> MountFlags {
    let flags = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ];
    let set = flags
        .into_iter()
        .filter(|(of_source, _)| source.contains(*of_source));
    set.fold(MountFlags::empty(), |all, (_, flag)| all | flag)
}

/// With v1 a folder of links and of the instance's own cgroup in each hierarchy, with v2 the one hierarchy.
fn mount_cgroups(root: &Rooted, spec: &Spec, entry: &Mount, name: &str) -> Result<(), Failure> {
    let step = "mount the cgroups";
    let folder = root.make_folder(&entry.target).template(|| step.to_owned())?;
    let target = place(&folder);
    if spec.cgroup.unified {
        return mount("cgroup", &target, "cgroup2", flags(entry.options), "").step(step);
    }
    let writable = MountOptions {
        read_only: false,
        ..entry.options
    };
    mount("tmpfs", &target, "tmpfs", flags(writable), "mode=755").step(step)?;
    // Fresh and out of everybody's sight: nothing stands in it that could lead elsewhere.
    let folder = root.open(&entry.target).step(step)?;
    let flags = flags(entry.options) | MountFlags::BIND;
    for directory in &spec.cgroup.directories {
        let source = format!("{}/{name}", directory.parent);
        let target = format!("{}/{}", place(&folder), directory.name);
        rustix::fs::mkdirat(&folder, directory.name.as_str(), Mode::from_raw_mode(0o755)).step(step)?;
        rustix::mount::mount_bind(source.as_str(), target.as_str()).step(step)?;
        rustix::mount::mount_remount(target.as_str(), flags, c"").step(step)?;
        for alias in directory.name.split(',').filter(|alias| *alias != directory.name) {
            rustix::fs::symlinkat(directory.name.as_str(), &folder, alias).step(step)?;
        }
    }
    // The folder itself stays writable, as with Docker: it is empty but for what stands above.
    Ok(())
}

/// Hides the masked paths and makes the read-only ones so; a path that the kernel doesn't have needs no cover.
pub(super) fn cover(root: &Rooted, spec: &Spec) -> Result<(), Failure> {
    for path in &spec.masked {
        let Some(place) = existing(root, path)? else {
            continue;
        };
        let what = || format!("mask {path}");
        let status = rustix::fs::fstat(&place).step(&what())?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            mount("tmpfs", &self::place(&place), "tmpfs", MountFlags::RDONLY, "").step(&what())?;
        } else {
            // The instance's own, in the fresh /dev that was made above.
            let null = root.open("/dev/null").step(&what())?;
            rustix::mount::mount_bind(self::place(&null), self::place(&place)).step(&what())?;
        }
    }
    for path in &spec.read_only {
        let Some(place) = existing(root, path)? else {
            continue;
        };
        let what = || format!("make {path} read-only");
        rustix::mount::mount_bind_recursive(self::place(&place), self::place(&place)).step(&what())?;
        let options = MountOptions {
            read_only: true,
            no_suid: true,
            no_devices: true,
            no_exec: true,
            ..MountOptions::default()
        };
        restrict(root, path, options)?;
    }
    Ok(())
}

fn existing(root: &Rooted, path: &str) -> Result<Option<OwnedFd>, Failure> {
    match root.open(path) {
        Ok(place) => Ok(Some(place)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error).template(|| format!("look at {path}")),
    }
}

/// Makes the new root this process's own; the host's is gone from sight.
pub(super) fn enter(root: Rooted, read_only: bool) -> Result<(), Failure> {
    let step = "change the root";
    rustix::process::fchdir(root.folder()).step(step)?;
    rustix::process::pivot_root(".", ".").step(step)?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).step(step)?;
    rustix::process::chdir("/").step(step)?;
    if read_only {
        let flags = MountFlags::BIND | MountFlags::RDONLY;
        rustix::mount::mount_remount("/", flags, c"").step("make the root read-only")?;
    }
    Ok(())
}

fn flags(options: MountOptions) -> MountFlags {
    let flag = |wanted: bool, flag: MountFlags| if wanted { flag } else { MountFlags::empty() };
    flag(options.read_only, MountFlags::RDONLY)
        | flag(options.no_suid, MountFlags::NOSUID)
        | flag(options.no_devices, MountFlags::NODEV)
        | flag(options.no_exec, MountFlags::NOEXEC)
        | flag(options.strict_access_times, MountFlags::STRICTATIME)
}

fn mount(source: &str, target: &str, kind: &str, flags: MountFlags, options: &str) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    Ok(rustix::mount::mount(
        source,
        target,
        kind,
        flags,
        options.as_c_str(),
    )?)
}
