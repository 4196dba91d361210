//! Signals: by name, by number, to a process that is meant for certain.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Every signal does what it does by default, and none is blocked. What is ignored stays ignored in a new program,
/// which expects it not to be: the standard library ignores SIGPIPE, `nohup` SIGHUP.
pub(crate) fn default_signals() {
    // What the kernel calls sigaction: handler, flags, restorer and mask, all zero; the C library's own call refuses the
    // signals that it keeps for itself.
    let default = [0_u64; 4];
    let (none, size) = (std::ptr::null::<u64>(), size_of::<u64>());
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: only sets a disposition back to the default, from an array as large as the kernel's structure; the two
        // that can't be set answer an error and change nothing.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), none, size) };
    }
    // SAFETY: an all-zero set is initialised by sigemptyset before it is read, and both live across the calls.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Sends a signal by its number to the process that a pidfd means (pidfd_send_signal(2)); real-time signals too.
///
/// # Errors
/// ESRCH where it has ended; `InvalidInput` for a number that is no signal.
pub fn send_signal(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let (none, flags) = (std::ptr::null::<libc::siginfo_t>(), 0);
    // SAFETY: with a null siginfo the kernel reads nothing of ours.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            none,
            flags,
        )
    };
    if answer == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The number of a signal by its name without `SIG` (`TERM`, `RTMIN+3`) or as a number, as Docker reads it.
pub fn signal_number(name: &str) -> Option<i32> {
    let upper = name.to_ascii_uppercase();
    let plain = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Ok(number) = plain.parse::<i32>() {
        return (1..=libc::SIGRTMAX()).contains(&number).then_some(number);
    }
    let from = |rest: &str, base: i32, sign: i32| -> Option<i32> {
        let offset: i32 = if rest.is_empty() {
            0
        } else {
            rest.get(1..)?.parse().ok()?
        };
        let number = base + sign * offset;
        (libc::SIGRTMIN()..=libc::SIGRTMAX())
            .contains(&number)
            .then_some(number)
    };
    if let Some(rest) = plain.strip_prefix("RTMIN") {
        return from(rest, libc::SIGRTMIN(), 1);
    }
    if let Some(rest) = plain.strip_prefix("RTMAX") {
        return from(rest, libc::SIGRTMAX(), -1);
    }
    SIGNALS
        .iter()
        .find(|(known, _)| *known == plain)
        .map(|(_, number)| *number)
}

/// The signals of signal(7) by name.
const SIGNALS: [(&str, i32); 35] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
    ("UNUSED", libc::SIGSYS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_known_by_name_and_by_number() {
        for (name, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGRTMIN+3", libc::SIGRTMIN() + 3),
        ] {
            assert_eq!(signal_number(name), Some(number), "{name}");
        }
        for name in ["", "SIGNOTHING", "0", "99", "RTMIN+99"] {
            assert_eq!(signal_number(name), None, "{name}");
        }
    }
}
