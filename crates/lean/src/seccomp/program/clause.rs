//! Conditions on a call's arguments, all of which have to be true.

use skep_spawner::Filter;

use super::{AND, IF_AT_LEAST, IF_EQUAL, IF_MORE, LOAD, RETURN, branch, short, step};

/// Where the arguments are, on machines that store the lower half first.
const ARGUMENTS: u32 = 16;

/// One condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Condition {
    /// Which argument, from zero on.
    pub(in super::super) argument: u32,
    pub(in super::super) comparison: Comparison,
    pub(in super::super) value: u64,
    /// Whether all 64 bits are looked at; a 32-bit program's arguments have no upper half.
    pub(in super::super) wide: bool,
}

/// What the argument is to be, beside the value; numbers have no sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Comparison {
    Differs,
    Less,
    AtMost,
    Equals,
    AtLeast,
    More,
    /// Equals it in these bits.
    EqualsMasked(u64),
}

/// Where an instruction goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Next,
    /// Behind the condition, which is true.
    True,
    /// Behind the clause.
    False,
}

struct Step {
    code: u16,
    k: u32,
    then: Way,
    otherwise: Way,
}

fn plain(code: u16, k: u32) -> Step {
    decide(code, k, Way::Next, Way::Next)
}

fn decide(code: u16, k: u32, then: Way, otherwise: Way) -> Step {
    Step {
        code,
        k,
        then,
        otherwise,
    }
}

/// The instructions that return this code where all conditions are true, and else go on behind them.
pub(super) fn instructions(conditions: &[Condition], code: u32) -> Result<Vec<Filter>, String> {
    let blocks: Vec<Vec<Step>> = conditions.iter().map(Condition::steps).collect();
    let length: usize = blocks.iter().map(Vec::len).sum::<usize>() + 1;
    let mut part = Vec::with_capacity(length);
    for block in blocks {
        let end = part.len() + block.len();
        for entry in block {
            let at = part.len() + 1;
            let distance = |way| match way {
                Way::Next => Ok(0),
                Way::True => short(end - at),
                Way::False => short(length - at),
            };
            part.push(branch(
                entry.code,
                entry.k,
                distance(entry.then)?,
                distance(entry.otherwise)?,
            ));
        }
    }
    part.push(step(RETURN, code));
    Ok(part)
}

impl Condition {
    fn steps(&self) -> Vec<Step> {
        use Way::{False, Next, True};
        let place = ARGUMENTS + 8 * self.argument;
        let (low, high) = (self.value as u32, (self.value >> 32) as u32);
        let mask = match self.comparison {
            Comparison::EqualsMasked(mask) => mask,
            _ => u64::MAX,
        };
        let load = |offset: u32, mask: u32| {
            let mut steps = vec![plain(LOAD, place + offset)];
            if mask != u32::MAX {
                steps.push(plain(AND, mask));
            }
            steps
        };
        let mut steps = Vec::new();
        if self.wide {
            steps.extend(load(4, (mask >> 32) as u32));
            // Where the upper halves are the same the lower ones decide.
            steps.extend(match self.comparison {
                Comparison::Equals | Comparison::EqualsMasked(_) => vec![decide(IF_EQUAL, high, Next, False)],
                Comparison::Differs => vec![decide(IF_EQUAL, high, Next, True)],
                Comparison::More | Comparison::AtLeast => {
                    vec![
                        decide(IF_MORE, high, True, Next),
                        decide(IF_EQUAL, high, Next, False),
                    ]
                }
                Comparison::Less | Comparison::AtMost => {
                    vec![
                        decide(IF_MORE, high, False, Next),
                        decide(IF_EQUAL, high, Next, True),
                    ]
                }
            });
        }
        steps.extend(load(0, mask as u32));
        steps.push(match self.comparison {
            Comparison::Equals | Comparison::EqualsMasked(_) => decide(IF_EQUAL, low, Next, False),
            Comparison::Differs => decide(IF_EQUAL, low, False, Next),
            Comparison::More => decide(IF_MORE, low, Next, False),
            Comparison::AtLeast => decide(IF_AT_LEAST, low, Next, False),
            Comparison::Less => decide(IF_AT_LEAST, low, False, Next),
            Comparison::AtMost => decide(IF_MORE, low, False, Next),
        });
        steps
    }
}
