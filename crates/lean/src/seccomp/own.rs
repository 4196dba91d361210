//! A template's own seccomp profile: what Docker and its runtime would make of it, or the reason why that can't be
//! said exactly.

mod profile;
mod rules;

use std::collections::BTreeMap;

use skep_spawner::Filter;

use self::profile::{Action, Profile, Selection};
use self::rules::Rules;
use super::program::{self, Architecture, Verdict};
use super::{ENOSYS, Numbers, architectures};

pub(crate) use self::profile::Circumstances;

/// Where the numbers of the x32 ABI begin.
const X32: u32 = 0x4000_0000;
/// The names by which profiles call the architectures that [`architectures`] lists on x86_64.
const NAMES: [&str; 2] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"];
const NAME_OF_X32: &str = "SCMP_ARCH_X32";

/// Compiles a profile as `docker inspect` shows it.
///
/// # Errors
/// A sentence for the operator.
pub(crate) fn compile(text: &str, circumstances: &Circumstances) -> Result<Vec<Filter>, String> {
    let failed =
        |reason: String| format!("the lean engine does not load the template's seccomp profile: {reason}");
    let profile = Profile::parse(text).map_err(failed)?;
    let selection = profile.select(circumstances).map_err(failed)?;
    let machine = architectures().filter(|known| known.len() == NAMES.len());
    let machine = machine.ok_or_else(|| failed("profiles are only compiled on x86_64".to_owned()))?;
    let mut parts = Vec::new();
    for (index, (audit, numbers)) in machine.into_iter().enumerate() {
        // The machine's own is always there, whether it is named or not.
        let named = selection.architectures.iter().any(|name| name == NAMES[index]);
        if named || index == 0 {
            let part = part(&selection, audit, numbers, index == 0).map_err(failed)?;
            parts.push(part);
        }
    }
    program::assemble(parts, program::KILL_THREAD).map_err(failed)
}

/// What becomes of the calls of one architecture, the machine's own or another.
fn part(selection: &Selection, audit: u32, numbers: Numbers, own: bool) -> Result<Architecture, String> {
    let rules = Rules::of(selection, numbers, own)?;
    let last = rules.last;
    let mut verdicts = BTreeMap::new();
    for (number, rules) in rules.by_number {
        verdicts.insert(number, rules.verdict(selection.default, own)?);
    }
    // A C library asks the kernel for what is new, and falls back where it isn't there: so the runtime answers for
    // the calls that are newer than the profile; since runc 1.1.15 for the machine's own where the profile names none.
    let guesses = selection.is_guarded && !selection.default.is_permissive();
    let mut beyond = Vec::new();
    if let Some(last) = last.filter(|_| guesses && selection.default != Action::Errno(ENOSYS)) {
        beyond.push((last + 1, Verdict::Answer(ENOSYS)));
    }
    if own {
        let x32 = if selection.architectures.iter().any(|name| name == NAME_OF_X32) {
            Some(Verdict::Refuse)
        } else {
            beyond.is_empty().then_some(Verdict::Return(program::KILL_THREAD))
        };
        beyond.extend(x32.map(|verdict| (X32, verdict)));
    }
    Ok(Architecture {
        audit,
        verdicts,
        otherwise: Verdict::Return(selection.default.code()),
        beyond,
    })
}

#[cfg(test)]
mod tests;
