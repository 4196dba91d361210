//! What an instance is, in the kernel's words: everything that is the same for all instances of one template.

use serde::{Deserialize, Serialize};

/// All that the spawner needs to know of a template to make instances of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The root file system.
    pub root: Root,
    /// What is mounted over it, in this order.
    pub mounts: Vec<Mount>,
    /// Whether a file system in memory over a folder has that folder's mode whatever its options say; else only where
    /// they say none.
    pub keeps_folders_modes: bool,
    /// Device nodes below `/dev`.
    pub devices: Vec<Device>,
    /// Symbolic links: where, and to what.
    pub links: Vec<(String, String)>,
    /// Paths that show nothing.
    pub masked: Vec<String>,
    /// Paths that can't be written.
    pub read_only: Vec<String>,
    /// Files below `/proc/sys` and what is written to them.
    pub sysctls: Vec<(String, String)>,
    /// The first process.
    pub process: Process,
    /// Where its cgroups are made, and what is written into them.
    pub cgroup: Tree,
    /// Whether the instance sees the whole cgroup tree of the host (`CgroupnsMode: host`).
    pub cgroup_namespace: bool,
    /// Whether the instance has System V IPC and POSIX queues of its own.
    pub ipc_namespace: bool,
}

/// The root file system: a fresh overlay of an image's layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// An empty folder of the host over which the new root is put together, out of the host's sight.
    pub staging: String,
    /// The folder that relative `lower` folders stand in.
    pub base: String,
    /// The layers' folders, the top one first.
    pub lower: Vec<String>,
    /// How many bytes the instance may write.
    pub disk: u64,
    /// Whether the root itself can't be written.
    pub read_only: bool,
}

/// One mount over the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What.
    pub kind: MountKind,
    /// Where, as an absolute path inside.
    pub target: String,
    /// How.
    pub options: MountOptions,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// The instance's own processes.
    Proc,
    /// The kernel's objects, of the instance's network namespace.
    Sysfs,
    /// A file system in memory.
    Tmpfs {
        /// The name that it has in the list of mounts.
        source: String,
        /// tmpfs(5)'s options.
        options: String,
    },
    /// Pseudo terminals of its own.
    DevPts,
    /// POSIX message queues of its own.
    Mqueue,
    /// The instance's own cgroups, as its [`Tree`] lays them out.
    Cgroup,
    /// A file or a folder of the host.
    Bind {
        /// Where it is on the host.
        source: String,
        /// With what is mounted below it.
        recursive: bool,
        /// Whether an empty folder is made on the host where nothing stands.
        create: bool,
        /// What becomes of later mounts there.
        propagation: Propagation,
    },
    /// What the image has there, as a mount of its own: it stays writable where the root is not. What is mounted above
    /// it has no part in it.
    Fresh,
    /// A small file that is written for each launch, by its number in [`crate::Launch::files`].
    File(usize),
}

/// How a bind and the host's own mount go on with what is mounted there later (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propagation {
    /// What is done.
    pub kind: PropagationKind,
    /// With what is mounted below the bind as well.
    pub below: bool,
    /// Whether the host's mount has to be one that others can follow, as where somebody asked for that outright.
    pub strict: bool,
}

impl Default for Propagation {
    /// None, all the way down.
    fn default() -> Self {
        Self {
            kind: PropagationKind::Private,
            below: true,
            strict: false,
        }
    }
}

/// The kinds of [`Propagation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PropagationKind {
    /// Nobody said: the instance sees what the host mounts, and where another bind is shared the host sees what the
    /// instance mounts.
    Unsaid,
    /// Neither sees what the other mounts.
    Private,
    /// The instance sees what the host mounts.
    Slave,
    /// Each sees what the other mounts.
    Shared,
}

/// The flags of a mount (mount(2)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "each is the flag of its name in mount(2), if nothing else is said"
)]
pub struct MountOptions {
    pub read_only: bool,
    /// With what is mounted below it, where `read_only` alone is for the mount itself.
    pub read_only_below: bool,
    pub no_suid: bool,
    pub no_devices: bool,
    pub no_exec: bool,
    pub strict_access_times: bool,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the argument of its name in mknod(2)")]
pub struct Device {
    pub path: String,
    pub character: bool,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub user: u32,
    pub group: u32,
}

/// One instruction of a seccomp program (linux/filter.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the field of its name in struct sock_filter")]
pub struct Filter {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub k: u32,
}

/// The first process of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The command and its arguments.
    pub arguments: Vec<String>,
    /// `NAME=value`, as the template and its image say it.
    pub environment: Vec<String>,
    /// The working directory; made where it isn't there.
    pub directory: String,
    /// Who it runs as.
    pub identity: Identity,
    /// The bounding, effective and permitted capabilities, as bits.
    pub capabilities: u64,
    /// Whether an exec may never give more rights.
    pub no_new_privileges: bool,
    /// The seccomp program, if one is applied.
    pub seccomp: Option<Vec<Filter>>,
    /// The AppArmor profile, if one is applied.
    pub apparmor: Option<String>,
    /// Resource limits that were asked for.
    pub limits: Vec<Limit>,
    /// Resource limits that every process begins with; one above what this machine lets us give is cut down to that.
    pub usual_limits: Vec<Limit>,
    /// How gladly the kernel ends it for want of memory.
    pub oom_score_adjustment: i32,
    /// The domain name (UTS).
    pub domain: String,
}

/// Who a process runs as, as Docker's `User` and `GroupAdd` write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// A name or a number, with or without `:group`; looked up in the image's own `/etc/passwd`.
    pub user: String,
    /// More groups, by name or number.
    pub groups: Vec<String>,
}

/// A resource limit (setrlimit(2)); `None` is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the word of its name in setrlimit(2)")]
pub struct Limit {
    pub resource: String,
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

/// Where an instance's cgroups are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// One folder for each hierarchy; with cgroup v2 the only one.
    pub directories: Vec<CgroupDirectory>,
    /// Whether this is cgroup v2.
    pub unified: bool,
}

/// One hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupDirectory {
    /// The name below `/sys/fs/cgroup` (`memory`, `cpu,cpuacct`); empty with v2.
    pub name: String,
    /// The folder in which each instance gets one of its own.
    pub parent: String,
    /// What is written there before the process starts: the file and its text.
    pub settings: Vec<(String, String)>,
}
