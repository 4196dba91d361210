//! The program is run here instruction by instruction and compared with the rules themselves.

use super::*;

/// Runs a program as the kernel would, on what it asks about.
fn run(program: &[u64], node: u32, access: u32, major: u32, minor: u32) -> u32 {
    let context = [access << 16 | node, major, minor];
    let mut registers = [0_u32; 6];
    let mut place = 0;
    loop {
        let one = program[place];
        let (to, from) = ((one >> 8 & 15) as usize, (one >> 12 & 15) as usize);
        let (offset, operand) = ((one >> 16) as i16, (one >> 32) as u32);
        place += 1;
        let mut jump_unless = |same: bool| place += if same { 0 } else { offset as usize };
        match one as u8 {
            LOAD_WORD => registers[to] = context[offset as usize / 4],
            MOVE => registers[to] = registers[from],
            SET => registers[to] = operand,
            AND => registers[to] &= operand,
            SHIFT_RIGHT => registers[to] >>= operand,
            JUMP_UNLESS => jump_unless(registers[to] == operand),
            JUMP_UNLESS_SAME => jump_unless(registers[to] == registers[from]),
            EXIT => return registers[0],
            other => panic!("no such instruction: {other:#x}"),
        }
    }
}

fn allowed(rules: &[DeviceRule], node: u32, access: u32, major: u32, minor: u32) -> bool {
    rules.iter().any(|rule| {
        let right_node = match rule.node {
            Node::Any => true,
            Node::Block => node == 1,
            Node::Character => node == 2,
        };
        let right = |wanted: Option<u32>, is| wanted.is_none_or(|wanted| wanted == is);
        right_node && right(rule.major, major) && right(rule.minor, minor) && access & !rule.access.0 == 0
    })
}

#[test]
fn the_program_answers_as_the_rules_say() {
    let parse = |text| DeviceRule::parse(text).expect("a rule");
    let mut more = usual(true);
    more.extend(["b 8:* r", "c 42:7 wm", "c *:9 rw"].map(parse));
    let mut everything = usual(false);
    everything.extend(["a *:* rwm", "b 8:0 r"].map(parse));
    for rules in [usual(false), usual(true), more, everything, Vec::new()] {
        let program = program(&rules);
        for node in [1, 2] {
            for access in 1..8 {
                for major in [0, 1, 5, 8, 10, 42, 136, 300] {
                    for minor in [0, 1, 3, 5, 7, 9, 200, 70_000] {
                        let answer = run(&program, node, access, major, minor) == 1;
                        let expected = allowed(&rules, node, access, major, minor);
                        assert_eq!(answer, expected, "{node} {access} {major}:{minor} {rules:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn rules_are_read_and_written_as_the_kernel_writes_them() {
    for text in ["c 1:3 rwm", "b *:* m", "c 136:* rw", "a *:* rwm", "b 8:0 r"] {
        assert_eq!(
            DeviceRule::parse(text).map(|rule| rule.to_string()).as_deref(),
            Some(text)
        );
    }
    for text in [
        "",
        "c 1:3",
        "c 1:3 rwx",
        "d 1:3 r",
        "c 1 rwm",
        "a 1:3 r",
        "c 1:3 rwm more",
        "c -1:3 r",
    ] {
        assert_eq!(DeviceRule::parse(text), None, "{text}");
    }
}
