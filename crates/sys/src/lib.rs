//! The kernel's calls that the standard library has no word for: making processes in namespaces of their own, network
//! namespaces, programs that guard devices, what `/proc` says of a process, giving memory back. It is the one crate
//! where `unsafe` may stand, each block with the reason why it is sound. It never knows what a container, a function
//! or Docker is, and it never leaves a thread of the async runtime in another namespace.

#[expect(
    unsafe_code,
    reason = "mount_setattr(2) has no safe word; the block is justified"
)]
mod below;
#[expect(unsafe_code, reason = "bpf(2) has no safe word; each block is justified")]
mod bpf;
mod edit;
#[expect(unsafe_code, reason = "a descriptor that is awaited is promised to stay open")]
mod end;
#[expect(
    unsafe_code,
    reason = "calls that no library has a safe word for; each block is justified"
)]
mod fork;
mod listening;
#[expect(unsafe_code, reason = "a call of the C library's that has no safe word")]
mod memory;
#[expect(
    unsafe_code,
    reason = "a thread's own view of the file system has no safe word"
)]
mod mounts;
mod namespace;
mod process;
#[expect(
    unsafe_code,
    reason = "calls that no library has a safe word for; each block is justified"
)]
mod signal;
mod sockets;
#[expect(unsafe_code, reason = "an ioctl that no safe interface has")]
mod unread;
#[expect(unsafe_code, reason = "mount_setattr(2) has no safe word")]
mod view;

pub use below::make_read_only_below;
pub use bpf::{attach_device_program, load_device_program};
pub use edit::edit_mounted;
pub use end::ProcessEnd;
pub use fork::{
    Forked, Instruction, NewNamespaces, close_all_but, close_on_execute_from, execute, exit_now, fork,
    join_new_session_keyring, load_seccomp, raise_loopback, unshare_cgroup_namespace,
};
pub use memory::release_free_memory;
pub use mounts::{in_files, in_mounts, open_file, processes};
pub use namespace::NetworkNamespace;
pub use process::{ProcessIdentity, boot_id};
pub use signal::{send_signal, signal_number};
pub use sockets::{ListeningSocket, listening_sockets, socket_inodes};
pub use unread::unread_by_peer;
pub use view::read_only_view;
