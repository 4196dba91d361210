//! Docker's default seccomp profile as a program for the kernel.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use skep_spawner::Filter;
use syscalls::Sysno;

use crate::capabilities;
use crate::syscalls::{ALLOWED, NEWER_CAPABILITIES, NEWER_THAN_20_10, WITH_CAPABILITY};

/// The flags of clone(2) that make a namespace: refused without CAP_SYS_ADMIN.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
/// personality(2)'s arguments that change nothing of importance.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// The families of socket(2) that are refused: the kernel's crypto, whose history is one of holes, and the way to
/// the hypervisor past every network namespace.
const REFUSED_FAMILIES: [u64; 2] = [38, 40];
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// The program for an instance with these capabilities. `strict` leaves out what an engine of the 20.10 line leaves
/// out.
///
/// # Errors
/// A sentence for the operator, where the machine's architecture isn't one that this is made for.
pub(crate) fn default_profile(granted: u64, strict: bool) -> Result<Vec<Filter>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("the seccomp profile can't be made here: {error}");
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| wrong(&error))?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let number = |name: &str| name.parse::<Sysno>().ok().map(|number| i64::from(number.id()));
    // A call that this architecture doesn't have needs no rule.
    let allowed = ALLOWED
        .iter()
        .filter(|name| !(strict && NEWER_THAN_20_10.contains(name)));
    rules.extend(
        allowed
            .filter_map(|name| number(name))
            .map(|number| (number, Vec::new())),
    );
    let holds = |name: &str| capabilities::bit(name).is_some_and(|bit| granted & bit != 0);
    for (capability, calls) in WITH_CAPABILITY {
        let younger = strict && NEWER_CAPABILITIES.contains(capability);
        if holds(capability) && !younger {
            let calls = calls.iter().filter_map(|name| number(name));
            rules.extend(calls.map(|number| (number, Vec::new())));
        }
    }
    let makes_namespaces = holds("SYS_ADMIN");
    let rule = |argument, comparison, value| -> Result<SeccompRule, String> {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, comparison, value);
        let rule = condition.and_then(|condition| SeccompRule::new(vec![condition]));
        rule.map_err(|error| wrong(&error))
    };
    let masked = SeccompCmpOp::MaskedEq(NAMESPACE_FLAGS);
    let without_namespaces = rule(0, masked, 0)?;
    if !makes_namespaces {
        rules.extend(number("clone").map(|number| (number, vec![without_namespaces])));
    }
    let other = |family| SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family);
    let others: Result<Vec<_>, _> = REFUSED_FAMILIES.into_iter().map(other).collect();
    let ordinary = others.and_then(SeccompRule::new).map_err(|error| wrong(&error))?;
    rules.extend(number("socket").map(|number| (number, vec![ordinary])));
    let harmless: Result<Vec<_>, String> = PERSONALITIES
        .iter()
        .map(|value| rule(0, SeccompCmpOp::Eq, *value))
        .collect();
    let harmless = harmless?;
    rules.extend(number("personality").map(|number| (number, harmless)));
    let refuse = SeccompAction::Errno(EPERM);
    let mut program =
        compile(rules, refuse, SeccompAction::Allow, architecture).map_err(|error| wrong(&error))?;
    // A C library falls back from clone3 to clone where the kernel says that it has none; EPERM would end it.
    if let Some(clone3) = number("clone3")
        && !makes_namespaces
    {
        insert_errno(&mut program, clone3, ENOSYS)?;
    }
    let filter = |one: &seccompiler::sock_filter| Filter {
        code: one.code,
        jump_true: one.jt,
        jump_false: one.jf,
        k: one.k,
    };
    Ok(program.iter().map(filter).collect())
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    mismatch: SeccompAction,
    matched: SeccompAction,
    architecture: TargetArch,
) -> Result<BpfProgram, seccompiler::BackendError> {
    SeccompFilter::new(rules, mismatch, matched, architecture)?.try_into()
}

/// Puts "this call answers this error" right behind where the call's number is loaded. Every jump of the program is
/// forward and relative and none crosses that place, so that nothing else moves its meaning.
fn insert_errno(program: &mut BpfProgram, call: i64, error: u32) -> Result<(), String> {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const RETURN_ERRNO: u32 = 0x0005_0000;
    let loaded = program.iter().position(|one| one.code == LOAD_WORD && one.k == 0);
    let after = loaded.ok_or("the seccomp program doesn't look at the call's number")? + 1;
    let call = u32::try_from(call).map_err(|_| "a system call's number is below zero")?;
    let answer = seccompiler::sock_filter {
        code: RETURN,
        jt: 0,
        jf: 0,
        k: RETURN_ERRNO | error,
    };
    program.insert(after, answer);
    program.insert(
        after,
        seccompiler::sock_filter {
            code: JUMP_IF_EQUAL,
            jt: 0,
            jf: 1,
            k: call,
        },
    );
    Ok(())
}
