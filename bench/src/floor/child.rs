//! The floor's child: it turns itself into the container with as few calls as that takes.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::Context as _;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::LinkNameSpaceType;

use super::Work;

/// Becomes the program; it returns only with the reason why not.
pub(super) fn run(work: &Work, gate: &OwnedFd, network: Option<&File>) -> anyhow::Result<Infallible> {
    rustix::io::read(gate, &mut [0_u8; 1])?;
    // The answers go to the other one.
    rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    match network {
        Some(network) => {
            let kind = Some(LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(network.as_fd(), kind)?;
        }
        None if work.port.is_some() => skep_sys::raise_loopback()?,
        None => {}
    }
    let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change("/", private)?;
    enter_root(work).context("the root")?;
    let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", "proc", "proc", plain, c"").context("/proc")?;
    rustix::mount::mount("tmpfs", "dev", "tmpfs", MountFlags::empty(), c"size=64k").context("/dev")?;
    rustix::process::pivot_root(".", ".").context("the change of root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    rustix::thread::set_no_new_privs(true)?;
    let words: Result<Vec<CString>, _> = work
        .command
        .iter()
        .map(|word| CString::new(word.as_str()))
        .collect();
    let words = words?;
    let program = words.first().context("no command")?;
    let port = work
        .port
        .map(|port| CString::new(format!("PORT={port}")))
        .transpose()?;
    let environment: Vec<CString> = port.into_iter().collect();
    Err(skep_sys::execute(program, &words, &environment).into())
}

fn enter_root(work: &Work) -> anyhow::Result<()> {
    let folder = &work.folder;
    rustix::mount::mount("tmpfs", folder, "tmpfs", MountFlags::empty(), c"size=64m")?;
    for name in ["upper", "work", "root"] {
        std::fs::create_dir(folder.join(name))?;
    }
    let options = format!(
        "lowerdir={},upperdir={folder}/upper,workdir={folder}/work",
        work.root.display(),
        folder = folder.display()
    );
    let root = folder.join("root");
    let options = CString::new(options)?;
    rustix::mount::mount(
        "overlay",
        &root,
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )?;
    Ok(rustix::process::chdir(&root)?)
}
