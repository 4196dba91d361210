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

/// The names of the capabilities in a set.
pub(crate) fn names(set: u64) -> Vec<&'static str> {
    let holds = |number: &usize| set & (1 << number) != 0;
    (0..NAMES.len())
        .filter(holds)
        .map(|number| NAMES[number])
        .collect()
}

/// Docker's default set with some added and some dropped, as Docker reads both lists.
///
/// # Errors
/// The name that is none.
pub(crate) fn granted(added: &[String], dropped: &[String]) -> Result<u64, String> {
    let set = |names: &[String]| -> Result<u64, String> {
        names
            .iter()
            .filter(|name| !is_all(name))
            .try_fold(0, |set, name| {
                let bit = bit(name)
                    .ok_or_else(|| format!("the lean engine does not know the capability {name}"))?;
                Ok(set | bit)
            })
    };
    let (more, less) = (set(added)?, set(dropped)?);
    let default = DEFAULT
        .iter()
        .filter_map(|name| bit(name))
        .fold(0, |set, bit| set | bit);
    Ok(if added.iter().any(|name| is_all(name)) {
        ((1 << NAMES.len()) - 1) & !less
    } else if dropped.iter().any(|name| is_all(name)) {
        more
    } else {
        default & !less | more
    })
}

fn is_all(name: &str) -> bool {
    name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(added: &[&str], dropped: &[&str]) -> Vec<&'static str> {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        names(granted(&own(added), &own(dropped)).expect("all of them are known"))
    }

    #[test]
    fn what_is_added_and_dropped_is_read_as_docker_reads_it() {
        assert_eq!(set(&[], &[]).len(), DEFAULT.len());
        assert_eq!(set(&["cap_sys_time"], &["ALL"]), ["SYS_TIME"]);
        assert_eq!(set(&["ALL"], &["ALL"]).len(), NAMES.len());
        assert!(!set(&["ALL"], &["SYS_ADMIN"]).contains(&"SYS_ADMIN"));
        assert!(set(&["CHOWN"], &["CHOWN"]).contains(&"CHOWN"));
        assert!(granted(&["NOTHING".to_owned()], &[]).is_err());
    }
}
