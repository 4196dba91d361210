//! From verdicts to the kernel's instructions. When a process loads a program, the kernel walks through it once for
//! every call that there is; so calls are found by halving their ranges, not one after the other: a process starts
//! half a millisecond earlier.

use std::collections::BTreeMap;

use skep_spawner::Filter;

/// One of the kernel's ways to number calls.
pub(super) struct Architecture {
    /// What the kernel calls it.
    pub(super) audit: u32,
    /// By number. A call that is not among them is refused.
    pub(super) verdicts: BTreeMap<u32, Verdict>,
}

/// What becomes of a call. Conditions are on its first argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// EPERM.
    Refuse,
    /// Another error.
    Answer(u16),
    /// Allowed.
    Allow,
    /// Allowed where none of these bits is set.
    WithoutFlags(u32),
    /// Allowed unless the argument, as 32 bits, is one of these.
    ExceptFor(&'static [u32]),
    /// Allowed where the argument is one of these.
    OnlyFor(&'static [u32]),
}

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The two halves of the first argument, on machines that store the lower one first.
const ARGUMENT: u32 = 16;
const ARGUMENT_UPPER: u32 = 20;

const KILL_PROCESS: u32 = 0x8000_0000;
const ERROR: u32 = 0x0005_0000;
const EPERM: u32 = ERROR | 1;
const ALLOWED: u32 = 0x7fff_0000;

fn step(code: u16, k: u32) -> Filter {
    branch(code, k, 0, 0)
}

fn branch(code: u16, k: u32, jump_true: u8, jump_false: u8) -> Filter {
    Filter {
        code,
        jump_true,
        jump_false,
        k,
    }
}

/// The program: for calls of each architecture its own part, and the end for all others.
///
/// # Errors
/// Where a part is too long for the kernel's jumps.
pub(super) fn assemble(architectures: Vec<Architecture>) -> Result<Vec<Filter>, String> {
    let mut program = vec![step(LOAD, ARCHITECTURE)];
    for Architecture { audit, verdicts } in architectures {
        let part = of_calls(&verdicts)?;
        program.push(branch(IF_EQUAL, audit, 1, 0));
        program.push(step(JUMP, length(&part)?));
        program.extend(part);
    }
    program.push(step(RETURN, KILL_PROCESS));
    Ok(program)
}

/// Every path through it ends with a verdict.
fn of_calls(verdicts: &BTreeMap<u32, Verdict>) -> Result<Vec<Filter>, String> {
    let mut part = vec![step(LOAD, NUMBER)];
    part.extend(halved(&ranges(verdicts))?);
    Ok(part)
}

/// Where each verdict begins to hold, from zero on; it holds up to the next one's beginning.
fn ranges(verdicts: &BTreeMap<u32, Verdict>) -> Vec<(u32, Verdict)> {
    let mut ranges = vec![(0, Verdict::Refuse)];
    let mut begin = |number: u32, verdict: Verdict| match ranges.last_mut() {
        Some(last) if last.1 == verdict => {}
        Some(last) if last.0 == number => last.1 = verdict,
        _ => ranges.push((number, verdict)),
    };
    for (number, verdict) in verdicts {
        begin(*number, *verdict);
        if !verdicts.contains_key(&(number + 1)) {
            begin(number + 1, Verdict::Refuse);
        }
    }
    ranges
}

fn halved(ranges: &[(u32, Verdict)]) -> Result<Vec<Filter>, String> {
    if let [(_, verdict)] = ranges {
        return verdict.instructions();
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let below = halved(lower)?;
    let mut part = vec![branch(IF_AT_LEAST, upper[0].0, short(below.len())?, 0)];
    part.extend(below);
    part.extend(halved(upper)?);
    Ok(part)
}

impl Verdict {
    fn instructions(self) -> Result<Vec<Filter>, String> {
        let (allow, refuse) = (step(RETURN, ALLOWED), step(RETURN, EPERM));
        // Behind a list of comparisons: what holds where none was true, and what holds where one was.
        let listed = |values: &[u32], none: Filter, one: Filter| -> Result<Vec<Filter>, String> {
            let compare =
                |(index, value): (usize, &u32)| Ok(branch(IF_EQUAL, *value, short(values.len() - index)?, 0));
            let mut part = vec![step(LOAD, ARGUMENT)];
            part.extend(
                values
                    .iter()
                    .enumerate()
                    .map(compare)
                    .collect::<Result<Vec<_>, String>>()?,
            );
            part.extend([none, one]);
            Ok(part)
        };
        Ok(match self {
            Self::Refuse => vec![refuse],
            Self::Answer(error) => vec![step(RETURN, ERROR | u32::from(error))],
            Self::Allow => vec![allow],
            Self::WithoutFlags(flags) => {
                vec![
                    step(LOAD, ARGUMENT),
                    branch(IF_ANY_BIT, flags, 1, 0),
                    allow,
                    refuse,
                ]
            }
            Self::ExceptFor(values) => listed(values, allow, refuse)?,
            Self::OnlyFor(values) => {
                let mut part = vec![step(LOAD, ARGUMENT_UPPER), branch(IF_EQUAL, 0, 1, 0), refuse];
                part.extend(listed(values, refuse, allow)?);
                part
            }
        })
    }
}

fn short(length: usize) -> Result<u8, String> {
    u8::try_from(length).map_err(|_| too_long())
}

fn length(part: &[Filter]) -> Result<u32, String> {
    u32::try_from(part.len()).map_err(|_| too_long())
}

fn too_long() -> String {
    "the seccomp program is too long".to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the kernel would do with a call.
    fn run(program: &[Filter], architecture: u32, number: u32, argument: u64) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let Filter {
                code,
                jump_true,
                jump_false,
                k,
            } = program[at];
            at += 1;
            let holds = match code {
                LOAD => {
                    loaded = match k {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        ARGUMENT => argument as u32,
                        ARGUMENT_UPPER => (argument >> 32) as u32,
                        _ => panic!("nothing else is looked at: {k}"),
                    };
                    continue;
                }
                JUMP => {
                    at += k as usize;
                    continue;
                }
                RETURN => return k,
                IF_EQUAL => loaded == k,
                IF_AT_LEAST => loaded >= k,
                IF_ANY_BIT => loaded & k != 0,
                _ => panic!("no such instruction: {code}"),
            };
            at += usize::from(if holds { jump_true } else { jump_false });
        }
    }

    fn expected(verdict: Option<&Verdict>, argument: u64) -> u32 {
        let lower = argument as u32;
        let allowed = match verdict {
            None | Some(Verdict::Refuse) => false,
            Some(Verdict::Answer(error)) => return ERROR | u32::from(*error),
            Some(Verdict::Allow) => true,
            Some(Verdict::WithoutFlags(flags)) => lower & flags == 0,
            Some(Verdict::ExceptFor(values)) => !values.contains(&lower),
            Some(Verdict::OnlyFor(values)) => values.iter().any(|value| u64::from(*value) == argument),
        };
        if allowed { ALLOWED } else { EPERM }
    }

    fn verdict() -> impl Strategy<Value = Verdict> {
        prop_oneof![
            5 => Just(Verdict::Allow),
            2 => Just(Verdict::Refuse),
            1 => Just(Verdict::Answer(38)),
            1 => Just(Verdict::WithoutFlags(0b110)),
            1 => Just(Verdict::ExceptFor(&[2, 5])),
            1 => Just(Verdict::OnlyFor(&[0, 3, u32::MAX])),
        ]
    }

    fn verdicts() -> impl Strategy<Value = BTreeMap<u32, Verdict>> {
        prop::collection::btree_map(0..120_u32, verdict(), 0..80)
    }

    proptest! {
        #[test]
        fn a_program_says_what_its_verdicts_say(first in verdicts(), second in verdicts()) {
            let of = |audit, verdicts: &BTreeMap<u32, Verdict>| Architecture { audit, verdicts: verdicts.clone() };
            let program = assemble(vec![of(7, &first), of(9, &second)]).unwrap();
            let arguments = [0, 1, 2, 3, 4, 5, 8, u64::from(u32::MAX), u64::MAX, 1 << 32, 3 << 32 | 5];
            for (audit, verdicts) in [(7, &first), (9, &second)] {
                for number in (0..130).chain([0x4000_0000, u32::MAX]) {
                    for argument in arguments {
                        prop_assert_eq!(
                            run(&program, audit, number, argument),
                            expected(verdicts.get(&number), argument),
                            "call {} with {}", number, argument
                        );
                    }
                }
            }
            prop_assert_eq!(run(&program, 8, 0, 0), KILL_PROCESS);
        }
    }

    #[test]
    fn every_profile_fits_the_kernels_jumps_and_is_short() {
        for granted in [0, u64::MAX, 0x0000_0000_a804_25fb] {
            for strict in [false, true] {
                let program = crate::seccomp::default_profile(granted, strict).unwrap();
                assert!(program.len() < 700, "{} instructions", program.len());
            }
        }
    }
}
