//! Programs, run as the kernel runs them.

use proptest::prelude::*;

use super::*;

/// What the kernel would do with a call.
fn run(program: &[Filter], architecture: u32, number: u32, argument: u64) -> u32 {
    run_with(program, architecture, number, [argument, 0, 0, 0, 0, 0])
}

/// The same for a call with all its arguments.
pub(in super::super) fn run_with(
    program: &[Filter],
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
) -> u32 {
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
                    _ => {
                        let argument = arguments[(k as usize - 16) / 8];
                        if k % 8 == 0 {
                            argument as u32
                        } else {
                            (argument >> 32) as u32
                        }
                    }
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
            IF_MORE => loaded > k,
            AND => {
                loaded &= k;
                continue;
            }
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
        Some(Verdict::Return(code)) => return *code,
        Some(Verdict::Clauses { clauses, one, none }) => {
            let holds = clauses
                .iter()
                .any(|clause| clause.iter().all(|one| is_true(one, argument)));
            return if holds { *one } else { *none };
        }
        Some(Verdict::Allow) => true,
        Some(Verdict::WithoutFlags(flags)) => lower & flags == 0,
        Some(Verdict::ExceptFor(values)) => !values.contains(&lower),
        Some(Verdict::OnlyFor(values)) => values.iter().any(|value| u64::from(*value) == argument),
    };
    if allowed { ALLOWED } else { EPERM }
}

fn is_true(condition: &Condition, argument: u64) -> bool {
    let cut = |value: u64| {
        if condition.wide {
            value
        } else {
            u64::from(value as u32)
        }
    };
    let argument = if condition.argument == 0 { cut(argument) } else { 0 };
    let value = cut(condition.value);
    match condition.comparison {
        Comparison::Differs => argument != value,
        Comparison::Less => argument < value,
        Comparison::AtMost => argument <= value,
        Comparison::Equals => argument == value,
        Comparison::AtLeast => argument >= value,
        Comparison::More => argument > value,
        Comparison::EqualsMasked(mask) => argument & cut(mask) == value,
    }
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..6_u64,
        Just(u64::MAX),
        Just(1 << 32),
        Just(3 << 32 | 5),
        Just(u64::from(u32::MAX))
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let comparison = prop_oneof![
        Just(Comparison::Differs),
        Just(Comparison::Less),
        Just(Comparison::AtMost),
        Just(Comparison::Equals),
        Just(Comparison::AtLeast),
        Just(Comparison::More),
        value().prop_map(Comparison::EqualsMasked),
    ];
    let parts = (
        prop_oneof![4 => Just(0), 1 => 1..6_u32],
        comparison,
        value(),
        any::<bool>(),
    );
    parts.prop_map(|(argument, comparison, value, wide)| {
        let value = match comparison {
            Comparison::EqualsMasked(mask) => value & mask,
            _ => value,
        };
        Condition {
            argument,
            comparison,
            value,
            wide,
        }
    })
}

fn clauses() -> impl Strategy<Value = Verdict> {
    let clauses = prop::collection::vec(prop::collection::vec(condition(), 1..6), 1..8);
    clauses.prop_map(|clauses| Verdict::Clauses {
        clauses,
        one: ALLOWED,
        none: 0x0003_0000,
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => Just(Verdict::Allow),
        2 => Just(Verdict::Refuse),
        1 => Just(Verdict::Answer(38)),
        1 => Just(Verdict::WithoutFlags(0b110)),
        1 => Just(Verdict::ExceptFor(&[2, 5])),
        1 => Just(Verdict::OnlyFor(&[0, 3, u32::MAX])),
        1 => Just(Verdict::Return(0x8000_0000)),
        2 => clauses(),
    ]
}

fn verdicts() -> impl Strategy<Value = BTreeMap<u32, Verdict>> {
    prop::collection::btree_map(0..120_u32, verdict(), 0..80)
}

proptest! {
    #[test]
    fn a_program_says_what_its_verdicts_say(first in verdicts(), second in verdicts()) {
        let of = |audit, verdicts: &BTreeMap<u32, Verdict>| Architecture {
            audit,
            verdicts: verdicts.clone(),
            otherwise: Verdict::Refuse,
            beyond: vec![(500, Verdict::Answer(38))],
        };
        let program = assemble(vec![of(7, &first), of(9, &second)], KILL_PROCESS).unwrap();
        let arguments = [0, 1, 2, 3, 4, 5, 8, u64::from(u32::MAX), u64::MAX, 1 << 32, 3 << 32 | 5];
        for (audit, verdicts) in [(7, &first), (9, &second)] {
            for number in (0..130).chain([499]) {
                for argument in arguments {
                    prop_assert_eq!(
                        run(&program, audit, number, argument),
                        expected(verdicts.get(&number), argument),
                        "call {} with {}", number, argument
                    );
                }
            }
        }
        prop_assert_eq!(run(&program, 7, 500, 0), ERROR | 38);
        prop_assert_eq!(run(&program, 9, u32::MAX, 0), ERROR | 38);
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
