//! A profile's rules, gathered call by call as libseccomp does it.

use std::collections::BTreeMap;

use super::super::Numbers;
use super::super::program::{Comparison, Condition, Verdict};
use super::profile::{Action, Argument, Rule, Selection};

/// How many arguments a call has at most.
const ARGUMENTS: u32 = 6;

/// The calls that 32-bit programs may also make through one call, `socketcall`, by the first argument that means each
/// (linux/net.h).
const SOCKET_CALLS: [(&str, u64); 20] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// The same for `ipc` (linux/ipc.h).
const IPC_CALLS: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// The rules of one architecture.
pub(super) struct Rules<'a> {
    pub(super) by_number: BTreeMap<u32, OfCall<'a>>,
    /// The highest number that any rule names, one that says the default too.
    pub(super) last: Option<u32>,
}

/// The rules of one call.
#[derive(Default)]
pub(super) struct OfCall<'a> {
    name: &'a str,
    whatever: Vec<Action>,
    conditional: Vec<(Action, Vec<Argument>)>,
}

impl<'a> Rules<'a> {
    pub(super) fn of(selection: &'a Selection, numbers: Numbers, own: bool) -> Result<Self, String> {
        let mut rules = Self {
            by_number: BTreeMap::new(),
            last: None,
        };
        for rule in &selection.rules {
            let number = numbers(&rule.name);
            if number.is_none() && own && !rule.action.is_permissive() && super::super::is_unknown(&rule.name)
            {
                // To leave it out would allow what is to be refused.
                return Err(format!("the system call {} is not known here", rule.name));
            }
            rules.last = rules.last.max(number);
            if rule.action == selection.default {
                continue;
            }
            if let Some(number) = number {
                rules.add(number, rule);
            }
            if !own {
                rules.add_through(numbers, rule)?;
            }
        }
        Ok(rules)
    }

    fn add(&mut self, number: u32, rule: &'a Rule) {
        let call = self.by_number.entry(number).or_default();
        call.name = &rule.name;
        if rule.arguments.is_empty() {
            call.whatever.push(rule.action);
        } else {
            call.conditional.push((rule.action, rule.arguments.clone()));
        }
    }

    /// The other way that 32-bit programs have to the same call.
    fn add_through(&mut self, numbers: Numbers, rule: &'a Rule) -> Result<(), String> {
        for (door, calls) in [("socketcall", &SOCKET_CALLS[..]), ("ipc", &IPC_CALLS)] {
            let meant = calls.iter().find(|(name, _)| *name == rule.name);
            let (Some((_, meant)), Some(number)) = (meant, numbers(door)) else {
                continue;
            };
            let call = self.by_number.entry(number).or_default();
            call.name = door;
            if !rule.arguments.is_empty() {
                // Which libseccomp can't do either, unless the door stands open or shut for all.
                call.conditional.push((rule.action, Vec::new()));
                continue;
            }
            let first = Argument {
                index: 0,
                value: *meant,
                value_two: 0,
                op: "SCMP_CMP_EQ".to_owned(),
            };
            call.conditional.push((rule.action, vec![first]));
        }
        Ok(())
    }
}

impl OfCall<'_> {
    /// A rule without conditions holds whatever others say; of several with conditions one has to be true.
    pub(super) fn verdict(self, default: Action, wide: bool) -> Result<Verdict, String> {
        let name = self.name;
        if let Some(action) = self.whatever.first() {
            if self.whatever.iter().any(|other| other != action) {
                return Err(format!("it says two things of {name}"));
            }
            return Ok(Verdict::Return(action.code()));
        }
        let action = self.conditional.first().map_or(default, |(action, _)| *action);
        let mut clauses = Vec::new();
        for (other, arguments) in &self.conditional {
            if *other != action {
                return Err(format!("what it says of {name} hangs on the order of its rules"));
            }
            if arguments.is_empty() {
                return Err(format!(
                    "it has conditions for calls that 32-bit programs make through {name}"
                ));
            }
            let conditions = arguments.iter().map(|argument| condition(argument, wide));
            let conditions = conditions.collect::<Result<Vec<_>, String>>()?;
            let mut indices: Vec<u32> = arguments.iter().map(|argument| argument.index).collect();
            indices.sort_unstable();
            indices.dedup();
            // Several conditions on one argument are taken by the runtime as one rule each.
            if indices.len() == arguments.len() {
                clauses.push(conditions);
            } else {
                clauses.extend(conditions.into_iter().map(|condition| vec![condition]));
            }
        }
        Ok(Verdict::Clauses {
            clauses,
            one: action.code(),
            none: default.code(),
        })
    }
}

fn condition(argument: &Argument, wide: bool) -> Result<Condition, String> {
    let comparison = match argument.op.as_str() {
        "SCMP_CMP_NE" => Comparison::Differs,
        "SCMP_CMP_LT" => Comparison::Less,
        "SCMP_CMP_LE" => Comparison::AtMost,
        "SCMP_CMP_EQ" => Comparison::Equals,
        "SCMP_CMP_GE" => Comparison::AtLeast,
        "SCMP_CMP_GT" => Comparison::More,
        "SCMP_CMP_MASKED_EQ" => Comparison::EqualsMasked(argument.value),
        other => return Err(format!("the comparison {other} is not known here")),
    };
    if argument.index >= ARGUMENTS {
        return Err(format!("a call has no argument {}", argument.index));
    }
    let value = match comparison {
        Comparison::EqualsMasked(mask) => argument.value_two & mask,
        _ => argument.value,
    };
    Ok(Condition {
        argument: argument.index,
        comparison,
        value,
        wide,
    })
}
