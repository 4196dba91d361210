//! Which devices an instance may use: as lines for cgroup v1, as a program for the kernel for v2.
//!
//! Everything is forbidden but what a rule allows in full: a program that asks to read and write is let through only
//! by a rule that allows both.

use std::fmt;

/// Docker's own rules: making any node, and using null, zero, full, random, urandom, tty, console and terminals.
const USUAL: [(Node, Option<u32>, Option<u32>, Access); 11] = [
    (Node::Character, None, None, Access::MAKE),
    (Node::Block, None, None, Access::MAKE),
    (Node::Character, Some(1), Some(3), Access::ALL),
    (Node::Character, Some(1), Some(5), Access::ALL),
    (Node::Character, Some(1), Some(7), Access::ALL),
    (Node::Character, Some(1), Some(8), Access::ALL),
    (Node::Character, Some(1), Some(9), Access::ALL),
    (Node::Character, Some(5), Some(0), Access::ALL),
    (Node::Character, Some(5), Some(1), Access::ALL),
    (Node::Character, Some(5), Some(2), Access::ALL),
    (Node::Character, Some(136), None, Access::ALL),
];

/// What most of Docker's runtimes allow besides, although nobody asked.
const TUN: DeviceRule = DeviceRule {
    node: Node::Character,
    major: Some(10),
    minor: Some(200),
    access: Access::ALL,
};

/// Which kind of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Any,
    Block,
    Character,
}

/// What is done with it, as bpf(2) numbers it: 1 makes a node, 2 reads, 4 writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access(u32);

impl Access {
    const MAKE: Self = Self(1);
    const ALL: Self = Self(7);

    fn parse(text: &str) -> Option<Self> {
        let bit = |letter| match letter {
            'm' => Some(1),
            'r' => Some(2),
            'w' => Some(4),
            _ => None,
        };
        let bits = text
            .chars()
            .try_fold(0, |bits, letter| Some(bits | bit(letter)?))?;
        (bits != 0).then_some(Self(bits))
    }
}

/// One allowance. Without a number it is for every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceRule {
    pub(crate) node: Node,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    pub(crate) access: Access,
}

impl DeviceRule {
    /// Reads `c 1:3 rwm`, as `--device-cgroup-rule` and cgroup v1 write it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (node, numbers, access) = (parts.next()?, parts.next()?, parts.next()?);
        let number = |text: &str| match text {
            "*" => Some(None),
            digits => digits.parse().ok().map(Some),
        };
        let (major, minor) = numbers.split_once(':')?;
        let rule = Self {
            node: match node {
                "a" => Node::Any,
                "b" => Node::Block,
                "c" => Node::Character,
                _ => return None,
            },
            major: number(major)?,
            minor: number(minor)?,
            access: Access::parse(access)?,
        };
        // Version 1 takes any line that begins with `a` for everything at all.
        let everything = rule.major.is_none() && rule.minor.is_none() && rule.access == Access::ALL;
        let clear = rule.node != Node::Any || everything;
        (parts.next().is_none() && clear).then_some(rule)
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = match self.node {
            Node::Any => 'a',
            Node::Block => 'b',
            Node::Character => 'c',
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        write!(f, "{node} {}:{} ", number(self.major), number(self.minor))?;
        let letters = [('r', 2), ('w', 4), ('m', 1)];
        letters
            .iter()
            .filter(|(_, bit)| self.access.0 & bit != 0)
            .try_for_each(|(letter, _)| write!(f, "{letter}"))
    }
}

/// What Docker lets every container use.
pub(super) fn usual(with_tun: bool) -> Vec<DeviceRule> {
    let rule = |(node, major, minor, access)| DeviceRule {
        node,
        major,
        minor,
        access,
    };
    let own = USUAL.into_iter().map(rule);
    own.chain(with_tun.then_some(TUN)).collect()
}

/// The registers of the program: the answer and its argument, then what the kernel asks about.
const ANSWER: u8 = 0;
const SCRATCH: u8 = 1;
const NODE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// One instruction (linux/bpf.h): operation, registers, jump, operand.
fn instruction(operation: u8, to: u8, from: u8, offset: i16, operand: u32) -> u64 {
    let registers = u64::from(from) << 4 | u64::from(to);
    u64::from(operation) | registers << 8 | u64::from(offset as u16) << 16 | u64::from(operand) << 32
}

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xbc;
const SET: u8 = 0xb7;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_UNLESS: u8 = 0x56;
const JUMP_UNLESS_SAME: u8 = 0x5e;
const EXIT: u8 = 0x95;

/// A program that answers 1 where a rule allows what is asked, else 0.
pub(super) fn program(rules: &[DeviceRule]) -> Vec<u64> {
    let load = |to, offset| instruction(LOAD_WORD, to, SCRATCH, offset, 0);
    // The first word of its argument holds the access above the kind of node (struct bpf_cgroup_dev_ctx).
    let mut program = vec![
        load(NODE, 0),
        load(MAJOR, 4),
        load(MINOR, 8),
        instruction(MOVE, ACCESS, NODE, 0, 0),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(AND, NODE, 0, 0, 0xffff),
    ];
    for rule in rules {
        let tests = tests(rule);
        let unconditional = tests.is_empty();
        program.extend(tests);
        program.extend(answer(1));
        if unconditional {
            // The kernel refuses a program with a part that is never reached.
            return program;
        }
    }
    program.extend(answer(0));
    program
}

fn answer(value: u32) -> [u64; 2] {
    [
        instruction(SET, ANSWER, 0, 0, value),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

/// What must hold for a rule; each that does not jumps past the rule's answer.
fn tests(rule: &DeviceRule) -> Vec<u64> {
    let kind = match rule.node {
        Node::Any => None,
        Node::Block => Some(1),
        Node::Character => Some(2),
    };
    let mut tests = Vec::new();
    let equal = |register, value| (JUMP_UNLESS, register, 0, value);
    tests.extend(kind.map(|kind| equal(NODE, kind)));
    if rule.access != Access::ALL {
        tests.push((MOVE, SCRATCH, ACCESS, 0));
        tests.push((AND, SCRATCH, 0, rule.access.0));
        tests.push((JUMP_UNLESS_SAME, SCRATCH, ACCESS, 0));
    }
    tests.extend(rule.major.map(|major| equal(MAJOR, major)));
    tests.extend(rule.minor.map(|minor| equal(MINOR, minor)));
    let count = tests.len();
    let place = |(index, (operation, to, from, operand)): (usize, (u8, u8, u8, u32))| {
        let jumps = matches!(operation, JUMP_UNLESS | JUMP_UNLESS_SAME);
        // Past the tests that follow, and past the two instructions of the answer.
        let offset = if jumps { (count - index - 1 + 2) as i16 } else { 0 };
        instruction(operation, to, from, offset, operand)
    };
    tests.into_iter().enumerate().map(place).collect()
}

#[cfg(test)]
mod tests;
