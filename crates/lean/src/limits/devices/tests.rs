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

/// A cgroup of version 2 that goes with the test.
struct Cgroup(std::path::PathBuf);

impl Cgroup {
    fn make() -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("the list of mounts");
        let mount = mounts
            .lines()
            .find(|line| line.contains(" - cgroup2 "))
            .and_then(|line| line.split(' ').nth(4))
            .expect("cgroup v2 is mounted somewhere");
        let folder = std::path::Path::new(mount).join(format!("skep-test-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a cgroup");
        Self(folder)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _with_the_next_boot = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn the_kernel_takes_the_program_and_does_what_it_says() {
    use std::os::fd::AsFd;
    let cgroup = Cgroup::make();
    let below = cgroup.0.join("below");
    std::fs::create_dir(&below).expect("a cgroup below");
    let null_alone = [DeviceRule::parse("c 1:3 rw").expect("a rule")];
    let load =
        |rules: &[DeviceRule]| skep_sys::load_device_program(&program(rules)).expect("the kernel takes it");
    let guard = std::fs::File::open(&cgroup.0).expect("the cgroup");
    skep_sys::attach_device_program(guard.as_fd(), load(&null_alone).as_fd()).expect("it is attached");
    for rules in [
        usual(false),
        usual(true),
        vec![DeviceRule::parse("a *:* rwm").expect("a rule")],
    ] {
        drop(load(&rules));
    }
    let script = "echo $$ > $0/cgroup.procs; true < /dev/null && echo null; true < /dev/zero || echo no zero; \
                  mknod $1 c 1 3 || echo no node";
    let node = std::env::temp_dir().join(format!("skep-test-node-{}", std::process::id()));
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .args([&below, &node])
        .output()
        .expect("a shell");
    std::fs::remove_dir(&below).expect("nobody is in it any more");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "null\nno zero\nno node\n",
        "{output:?}"
    );
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
