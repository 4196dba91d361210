//! Docker's default seccomp profile as a program for the kernel.

mod own;
mod program;

use std::collections::BTreeMap;

use skep_spawner::Filter;
use syscalls::Sysno;

pub(crate) use self::own::{Circumstances, compile};
use self::program::{Architecture, Verdict};
use crate::capabilities;
use crate::syscalls::{ALLOWED, NEWER_CAPABILITIES, NEWER_THAN_20_10, WITH_CAPABILITY};

/// The flags of clone(2) that make a namespace: refused without CAP_SYS_ADMIN.
const NAMESPACE_FLAGS: u32 = 0x7e02_0000;
/// personality(2)'s arguments that change nothing of importance.
const PERSONALITIES: &[u32] = &[0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// The families of socket(2) that are refused: the kernel's crypto, whose history is one of holes, and the way to
/// the hypervisor past every network namespace.
const REFUSED_FAMILIES: &[u32] = &[38, 40];
const ENOSYS: u16 = 38;

/// The number of a call, by its name, where an architecture has it.
type Numbers = fn(&str) -> Option<u32>;

/// What the kernel calls an architecture in an audit, and the numbers of its calls: the machine's own first, then the
/// 32-bit programs that it runs as well.
fn architectures() -> Option<Vec<(u32, Numbers)>> {
    let own: Numbers = |name| Some(name.parse::<Sysno>().ok()?.id().unsigned_abs());
    let narrow: Numbers = |name| Some(name.parse::<syscalls::x86::Sysno>().ok()?.id().unsigned_abs());
    match std::env::consts::ARCH {
        "x86_64" => Some(vec![(0xc000_003e, own), (0x4000_0003, narrow)]),
        "aarch64" => Some(vec![(0xc000_00b7, own)]),
        "riscv64" => Some(vec![(0xc000_00f3, own)]),
        _ => None,
    }
}

/// Whether no architecture that is known here has a call of this name, and Docker's own profile does not name it.
fn is_unknown(name: &str) -> bool {
    let elsewhere = [ALLOWED, NEWER_THAN_20_10].concat().contains(&name);
    let numbered = architectures()
        .into_iter()
        .flatten()
        .any(|(_, number)| number(name).is_some());
    !(elsewhere || numbered)
}

/// The program for an instance with these capabilities. `strict` leaves out what an engine of the 20.10 line leaves
/// out. A program of an architecture that it does not know is ended.
///
/// # Errors
/// A sentence for the operator, where the machine's architecture isn't one that this is made for.
pub(crate) fn default_profile(granted: u64, strict: bool) -> Result<Vec<Filter>, String> {
    let known = architectures().ok_or_else(|| {
        let here = std::env::consts::ARCH;
        format!("no seccomp profile is known for this machine's architecture, {here}")
    })?;
    let with_verdicts = |(audit, numbers)| Architecture {
        audit,
        verdicts: verdicts(numbers, granted, strict),
        otherwise: Verdict::Refuse,
        beyond: Vec::new(),
    };
    program::assemble(
        known.into_iter().map(with_verdicts).collect(),
        program::KILL_PROCESS,
    )
}

/// What becomes of each call that is not refused. One that this architecture doesn't have needs no verdict.
fn verdicts(number: Numbers, granted: u64, strict: bool) -> BTreeMap<u32, Verdict> {
    let allowed = ALLOWED
        .iter()
        .filter(|name| !(strict && NEWER_THAN_20_10.contains(name)));
    let holds = |name: &str| capabilities::bit(name).is_some_and(|bit| granted & bit != 0);
    let with_capability = WITH_CAPABILITY
        .iter()
        .filter(|(capability, _)| holds(capability) && !(strict && NEWER_CAPABILITIES.contains(capability)))
        .flat_map(|(_, calls)| calls.iter());
    let mut verdicts: BTreeMap<u32, Verdict> = allowed
        .chain(with_capability)
        .filter_map(|name| number(name))
        .map(|number| (number, Verdict::Allow))
        .collect();
    let mut set = |name: &str, verdict| {
        if let Some(number) = number(name) {
            verdicts.insert(number, verdict);
        }
    };
    if !holds("SYS_ADMIN") {
        set("clone", Verdict::WithoutFlags(NAMESPACE_FLAGS));
        // A C library falls back from clone3 to clone where the kernel says that it has none; EPERM would end it.
        set("clone3", Verdict::Answer(ENOSYS));
    }
    set("socket", Verdict::ExceptFor(REFUSED_FAMILIES));
    set("personality", Verdict::OnlyFor(PERSONALITIES));
    verdicts
}
