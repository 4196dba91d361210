//! Programs for the kernel that decide which devices a cgroup may use (bpf(2), BPF_PROG_TYPE_CGROUP_DEVICE).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The commands and kinds of linux/bpf.h.
const PROGRAM_LOAD: libc::c_long = 5;
const PROGRAM_ATTACH: libc::c_long = 8;
const KIND_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;

/// The first part of bpf(2)'s attributes for loading; what follows may be left out.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
}

/// bpf(2)'s attributes for attaching.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads a program that is asked whenever a process of a cgroup makes or opens a device. The kernel checks it first.
///
/// # Errors
/// `PermissionDenied` without CAP_BPF or CAP_SYS_ADMIN, or under a lockdown; `InvalidInput` for a program that the
/// kernel does not accept.
pub fn load_device_program(instructions: &[u64]) -> io::Result<OwnedFd> {
    let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "the device program is too long");
    let attributes = Load {
        kind: KIND_CGROUP_DEVICE,
        count: u32::try_from(instructions.len()).map_err(too_long)?,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads the attributes, `count` instructions of eight bytes each and a text that ends with a
    // zero; all of them live across the call. It writes nothing: no log is asked for.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROGRAM_LOAD,
            &raw const attributes,
            size_of::<Load>(),
        )
    };
    if descriptor == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: on success the answer is a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as libc::c_int) })
}

/// Puts a program before the devices of a cgroup (version 2) and of every cgroup below it, for as long as it stands.
/// None below may have one of its own.
///
/// # Errors
/// What the kernel answers: `PermissionDenied` where a cgroup above has one that suffers no other.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: 0,
    };
    // SAFETY: the kernel only reads the attributes, which live across the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROGRAM_ATTACH,
            &raw const attributes,
            size_of::<Attach>(),
        )
    };
    if answer == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
