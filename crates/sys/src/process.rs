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
    /// Looks at the process that has this id now; `None` where there is none, or only what its parent has not asked
    /// for: one that has ended may be listed for long.
    pub fn of(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name stands in parentheses and may hold anything; what follows the last one is plain.
        let after = stat.get(stat.rfind(')')? + 2..)?;
        let fields: Vec<&str> = after.split(' ').collect();
        let threads: u32 = fields.get(17)?.parse().ok()?;
        // With threads left it is the first one alone that has ended.
        if matches!(fields.first(), Some(&("Z" | "X"))) && threads <= 1 {
            return None;
        }
        let started = fields.get(19)?.parse().ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_ended_does_not_run_though_nobody_has_asked_how() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("cat can be started");
        let identity = ProcessIdentity::of(child.id()).expect("it runs");
        assert!(identity.runs());
        drop(child.stdin.take());
        let listed = || fs::read_to_string(format!("/proc/{}/stat", child.id()));
        while !listed().expect("it is not waited for").contains(") Z ") {
            std::thread::yield_now();
        }
        assert!(!identity.runs());
        child.wait().expect("it is our child");
    }
}
