//! Making a process in new namespaces, and becoming another program.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Which namespaces a new process gets for itself (namespaces(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the namespace of its name")]
pub struct NewNamespaces {
    pub mount: bool,
    pub process: bool,
    pub ipc: bool,
    pub uts: bool,
    pub network: bool,
    pub cgroup: bool,
}

/// clone3(2)'s flag, which lies above the 32 bits of the constants in C.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

impl NewNamespaces {
    fn flags(self) -> u64 {
        let flag = |wanted: bool, flag: libc::c_int| if wanted { flag as u64 } else { 0 };
        flag(self.mount, libc::CLONE_NEWNS)
            | flag(self.process, libc::CLONE_NEWPID)
            | flag(self.ipc, libc::CLONE_NEWIPC)
            | flag(self.uts, libc::CLONE_NEWUTS)
            | flag(self.network, libc::CLONE_NEWNET)
            | flag(self.cgroup, libc::CLONE_NEWCGROUP)
    }
}

/// Which of the two processes the caller is after [`fork`].
#[derive(Debug)]
pub enum Forked {
    /// The one that asked: the new process's id and a descriptor that means it for ever.
    Parent {
        /// The id, as the parent sees it.
        process: u32,
        /// The pidfd (pidfd_open(2)).
        descriptor: OwnedFd,
    },
    /// The new one.
    Child,
}

/// Makes a copy of this process in new namespaces (clone3(2), Linux 5.3).
///
/// With `cgroup`, the folder of a cgroup of version 2, the copy begins its life in it (Linux 5.7).
///
/// # Errors
/// What the kernel answers; `InvalidInput` where this process has more than one thread, since the copy would have
/// only one of them and might wait for ever for a lock that another held.
pub fn fork(namespaces: NewNamespaces, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a process with several threads can't be forked",
        ));
    }
    let mut descriptor: libc::c_int = -1;
    // SAFETY: an all-zero clone_args is its documented neutral value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = namespaces.flags() | libc::CLONE_PIDFD as u64;
    arguments.pidfd = (&raw mut descriptor) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child runs on a copy of this stack and shares no memory with us; this process has
    // one thread (checked above), so no lock of the allocator or of the standard library is held by a thread that
    // the child lacks. `arguments` and `descriptor` live across the call and the size given is the structure's own.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut arguments,
            size_of::<libc::clone_args>(),
        )
    };
    match answer {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        process => Ok(Forked::Parent {
            process: process as u32,
            // SAFETY: on success the kernel stored a new descriptor there, which nobody else owns.
            descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) },
        }),
    }
}

/// Becomes another program; returns only if that fails (execve(2)).
pub fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts
            .iter()
            .map(|text| text.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    crate::signal::default_signals();
    // SAFETY: both arrays end with a null pointer, and each of their texts outlives the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Gives this process a new, empty session keyring (keyctl(2)), as container runtimes do, so that no key of ours is
/// seen by what it becomes.
///
/// # Errors
/// What the kernel answers; `Unsupported` where it was built without keyrings.
pub fn join_new_session_keyring(name: &CStr) -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: the operation reads one text that ends with a zero, and it outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    if answer == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Marks every descriptor from `first` on to be closed when this process becomes another program
/// (close_range(2), Linux 5.11).
///
/// # Errors
/// What the kernel answers.
pub fn close_on_execute_from(first: u32) -> io::Result<()> {
    // SAFETY: only sets a flag on this process's own descriptors; none is closed while something here owns it.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if answer == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Closes every descriptor of this process but these and the standard streams (close_range(2), Linux 5.9): for a forked
/// copy that goes its own way and never comes back to where the others are in use.
///
/// # Errors
/// What the kernel answers.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> = kept.iter().map(|kept| kept.as_raw_fd() as u32).collect();
    kept.sort_unstable();
    let mut first = libc::STDERR_FILENO as u32 + 1;
    for last in kept.into_iter().chain([u32::MAX]) {
        if first < last {
            // SAFETY: what owns one of these is the other process's, of which this one is a copy that never drops it.
            let answer = unsafe { libc::syscall(libc::SYS_close_range, first, last - 1, 0) };
            if answer == -1 {
                return Err(io::Error::last_os_error());
            }
        }
        first = first.max(last.saturating_add(1));
    }
    Ok(())
}

/// Ends this process at once, without running anything on the way out (_exit(2)).
pub fn exit_now(code: i32) -> ! {
    // SAFETY: has no precondition; a forked copy must not run its parent's exit handlers.
    unsafe { libc::_exit(code) }
}

/// Leaves the cgroup namespace for a new one whose root is the cgroup that this process is in now (unshare(2)).
///
/// # Errors
/// What the kernel answers.
pub fn unshare_cgroup_namespace() -> io::Result<()> {
    // SAFETY: changes only what this process sees of the cgroup tree.
    if unsafe { libc::unshare(libc::CLONE_NEWCGROUP) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Leaves the network namespace for a new one (unshare(2)): this thread alone.
pub(crate) fn unshare_network_namespace() -> io::Result<()> {
    // SAFETY: changes only which sockets this thread makes and sees.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Raises the loopback device of the fresh network namespace that this thread is in (netdevice(7)). As in Docker's,
/// nothing has an address of version 6 there, until somebody writes to the same setting.
///
/// # Errors
/// What the kernel answers.
pub fn raise_loopback() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};
    match std::fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1") {
        // A kernel without that version.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => other?,
    }
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: an all-zero ifreq is valid: an empty name and no flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives across the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// One instruction of a seccomp program: code, jump if true, jump if false, operand (linux/filter.h).
pub type Instruction = (u16, u8, u8, u32);

/// Loads a seccomp program into this thread, for good (seccomp(2)).
///
/// # Errors
/// `PermissionDenied` without CAP_SYS_ADMIN or no_new_privs; `InvalidInput` for a malformed program.
pub fn load_seccomp(program: &[Instruction]) -> io::Result<()> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "the seccomp program is too long");
    let filters: Vec<libc::sock_filter> = program
        .iter()
        .map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k })
        .collect();
    let program = libc::sock_fprog {
        len: u16::try_from(filters.len()).map_err(too_long)?,
        filter: filters.as_ptr().cast_mut(),
    };
    // SAFETY: the kernel reads `len` instructions from `filter`, which both live across the call, and checks them.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    if answer == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
