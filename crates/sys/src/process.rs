//! Telling processes apart: a process id is given out again, so it alone is not an identity.

use std::fs;
use std::io;

/// A process for certain: its id together with when it started, in clock ticks since boot (`proc_pid_stat(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// Its id in our process namespace.
    pub id: u32,
    /// Its start, in clock ticks since boot.
    pub started: u64,
}

impl ProcessIdentity {
    /// Looks at the process that has this id now; `None` where there is none.
    pub fn of(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name stands in parentheses and may hold anything; what follows the last one is plain.
        let after = stat.get(stat.rfind(')')? + 2..)?;
        let started = after.split(' ').nth(19)?.parse().ok()?;
        Some(Self { id, started })
    }

    /// This process.
    pub fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether this very process still runs.
    pub fn runs(&self) -> bool {
        Self::of(self.id).as_ref() == Some(self)
    }
}

/// What tells this boot of this kernel from every other (`/proc/sys/kernel/random/boot_id`).
///
/// # Errors
/// What the kernel says where `/proc` isn't mounted.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}
