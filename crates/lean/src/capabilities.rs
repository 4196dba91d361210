//! Capabilities by name, and Docker's default set.

/// Every capability in the order of its number (linux/capability.h).
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What Docker grants where nobody says otherwise.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The bit of a capability, with or without `CAP_`, in any case.
pub(crate) fn bit(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES
        .iter()
        .position(|known| *known == plain)
        .map(|number| 1 << number)
}

/// Docker's default set with some added and some dropped.
///
/// # Errors
/// The name that is none, or the added one that lean leaves to Docker.
pub(crate) fn granted(added: &[String], dropped: &[String]) -> Result<u64, String> {
    let unknown = |name: &String| format!("the lean engine does not know the capability {name}");
    let mut set = if dropped.iter().any(|name| is_all(name)) {
        0
    } else {
        DEFAULT
            .iter()
            .filter_map(|name| bit(name))
            .fold(0, |set, bit| set | bit)
    };
    for name in dropped.iter().filter(|name| !is_all(name)) {
        set &= !bit(name).ok_or_else(|| unknown(name))?;
    }
    for name in added {
        if is_all(name) {
            return Err("the lean engine does not grant --cap-add ALL".to_owned());
        }
        let bit = bit(name).ok_or_else(|| unknown(name))?;
        // What widens the seccomp profile, or reaches beyond the instance, is Docker's to give.
        if !DEFAULT.iter().any(|known| self::bit(known) == Some(bit)) {
            return Err(format!("the lean engine does not grant --cap-add {name}"));
        }
        set |= bit;
    }
    Ok(set)
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL")
}
