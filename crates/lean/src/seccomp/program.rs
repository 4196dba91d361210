//! From verdicts to the kernel's instructions. When a process loads a program, the kernel walks through it once for
//! every call that there is; so calls are found by halving their ranges, not one after the other: a process starts
//! half a millisecond earlier.

mod clause;

use std::collections::BTreeMap;

use skep_spawner::Filter;

pub(super) use self::clause::{Comparison, Condition};

/// One of the kernel's ways to number calls.
pub(super) struct Architecture {
    /// What the kernel calls it.
    pub(super) audit: u32,
    /// By number.
    pub(super) verdicts: BTreeMap<u32, Verdict>,
    /// Of a call that is not among them.
    pub(super) otherwise: Verdict,
    /// From which numbers on, above all of those, something else holds.
    pub(super) beyond: Vec<(u32, Verdict)>,
}

/// What becomes of a call. Conditions are on its first argument, if nothing else is said.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What the program returns, as the kernel reads it.
    Return(u32),
    /// One thing where all conditions of any clause are true, and another where none is.
    Clauses {
        clauses: Vec<Vec<Condition>>,
        one: u32,
        none: u32,
    },
}

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_MORE: u16 = 0x25;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

/// How many instructions the kernel takes (BPF_MAXINSNS).
const LONGEST: usize = 4096;

const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// The two halves of the first argument, on machines that store the lower one first.
const ARGUMENT: u32 = 16;
const ARGUMENT_UPPER: u32 = 20;

pub(super) const KILL_PROCESS: u32 = 0x8000_0000;
pub(super) const KILL_THREAD: u32 = 0;
pub(super) const ERROR: u32 = 0x0005_0000;
const EPERM: u32 = ERROR | 1;
pub(super) const ALLOWED: u32 = 0x7fff_0000;

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

/// The program: for calls of each architecture its own part, and `others` for all others.
///
/// # Errors
/// Where a part is too long for the kernel's jumps.
pub(super) fn assemble(architectures: Vec<Architecture>, others: u32) -> Result<Vec<Filter>, String> {
    let mut program = vec![step(LOAD, ARCHITECTURE)];
    for architecture in architectures {
        let part = of_calls(&architecture)?;
        program.push(branch(IF_EQUAL, architecture.audit, 1, 0));
        program.push(step(JUMP, length(&part)?));
        program.extend(part);
    }
    program.push(step(RETURN, others));
    if program.len() > LONGEST {
        return Err(too_long());
    }
    Ok(program)
}

/// Every path through it ends with a verdict.
fn of_calls(architecture: &Architecture) -> Result<Vec<Filter>, String> {
    let mut part = vec![step(LOAD, NUMBER)];
    part.extend(halved(&ranges(architecture))?);
    Ok(part)
}

/// Where each verdict begins to hold, from zero on; it holds up to the next one's beginning.
fn ranges(architecture: &Architecture) -> Vec<(u32, Verdict)> {
    let (verdicts, otherwise) = (&architecture.verdicts, &architecture.otherwise);
    let mut ranges = vec![(0, otherwise.clone())];
    let mut begin = |number: u32, verdict: Verdict| match ranges.last_mut() {
        Some(last) if last.1 == verdict => {}
        Some(last) if last.0 == number => last.1 = verdict,
        _ => ranges.push((number, verdict)),
    };
    for (number, verdict) in verdicts {
        begin(*number, verdict.clone());
        if !verdicts.contains_key(&(number + 1)) {
            begin(number + 1, otherwise.clone());
        }
    }
    for (number, verdict) in &architecture.beyond {
        begin(*number, verdict.clone());
    }
    ranges
}

fn halved(ranges: &[(u32, Verdict)]) -> Result<Vec<Filter>, String> {
    if let [(_, verdict)] = ranges {
        return verdict.instructions();
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let below = halved(lower)?;
    let mut part = match u8::try_from(below.len()) {
        Ok(short) => vec![branch(IF_AT_LEAST, upper[0].0, short, 0)],
        Err(_) => vec![branch(IF_AT_LEAST, upper[0].0, 0, 1), step(JUMP, length(&below)?)],
    };
    part.extend(below);
    part.extend(halved(upper)?);
    Ok(part)
}

impl Verdict {
    fn instructions(&self) -> Result<Vec<Filter>, String> {
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
            Self::Answer(error) => vec![step(RETURN, ERROR | u32::from(*error))],
            Self::Allow => vec![allow],
            Self::WithoutFlags(flags) => {
                vec![
                    step(LOAD, ARGUMENT),
                    branch(IF_ANY_BIT, *flags, 1, 0),
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
            Self::Return(code) => vec![step(RETURN, *code)],
            Self::Clauses { clauses, one, none } => {
                let mut part = Vec::new();
                for clause in clauses {
                    part.extend(clause::instructions(clause, *one)?);
                }
                part.push(step(RETURN, *none));
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
pub(super) mod tests;
