//! Profiles, compiled and asked.

use serde_json::{Value, json};

use super::super::program::tests::run_with;
use super::*;

const WIDE: u32 = 0xc000_003e;
const NARROW: u32 = 0x4000_0003;
const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const READ: u32 = 0;
const SOCKET: u32 = 41;
const PERSONALITY: u32 = 135;

fn here() -> Circumstances {
    Circumstances {
        capabilities: vec!["CAP_CHOWN".to_owned()],
        kernel: (6, 1),
        old_engine: false,
        is_guarded: true,
    }
}

fn program(profile: &Value) -> Vec<Filter> {
    compile(&profile.to_string(), &here()).unwrap()
}

fn ask(profile: &Value, number: u32, first: u64) -> u32 {
    run_with(&program(profile), WIDE, number, [first, 0, 0, 0, 0, 0])
}

fn reason(profile: &Value) -> String {
    compile(&profile.to_string(), &here()).unwrap_err()
}

#[test]
fn rules_hold_for_those_whom_they_include_and_do_not_exclude() {
    let cases = [
        (json!({}), true),
        (json!({"includes": {"caps": ["CAP_CHOWN"]}}), true),
        (
            json!({"includes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}}),
            false,
        ),
        (
            json!({"includes": {"arches": ["amd64", "x32"], "minKernel": "5.12"}}),
            true,
        ),
        (json!({"includes": {"arches": ["arm64"]}}), false),
        (json!({"includes": {"minKernel": "6.2"}}), false),
        (
            json!({"excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"]}}),
            false,
        ),
        (
            json!({"excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390"], "minKernel": "7.0"}}),
            true,
        ),
        (json!({"excludes": {"minKernel": "6.1"}}), false),
        (
            json!({"excludes": null, "includes": {}, "comment": "why", "args": null}),
            true,
        ),
    ];
    for (filters, holds) in cases {
        let mut rule = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
        rule.as_object_mut()
            .unwrap()
            .extend(filters.as_object().unwrap().clone());
        let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]});
        assert_eq!(ask(&profile, READ, 0) == ALLOW, holds, "{profile}");
    }
}

#[test]
fn every_action_is_the_kernels_own() {
    let cases = [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, 0x8000_0000),
        ("SCMP_ACT_TRAP", None, 0x0003_0000),
        ("SCMP_ACT_ERRNO", None, EPERM),
        ("SCMP_ACT_ERRNO", Some(13), 0x0005_000d),
        ("SCMP_ACT_LOG", None, 0x7ffc_0000),
    ];
    for (action, errno, code) in cases {
        let rule = json!({"name": "read", "action": action, "errnoRet": errno});
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        assert_eq!(
            (ask(&profile, READ, 0), ask(&profile, 1, 0)),
            (code, ALLOW),
            "{action}"
        );
    }
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 2});
    assert_eq!(ask(&profile, READ, 0), 0x0005_0002);
}

#[test]
fn conditions_are_all_true_or_each_a_rule_where_they_share_an_argument() {
    let equals = |index: u32, value: u64| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    let profile = |args: Value| {
        json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{"names": ["personality", "socket"], "action": "SCMP_ACT_ALLOW", "args": args}],
        })
    };
    let both = program(&profile(json!([equals(0, 1), equals(2, 3)])));
    assert_eq!(run_with(&both, WIDE, SOCKET, [1, 9, 3, 0, 0, 0]), ALLOW);
    assert_eq!(run_with(&both, WIDE, SOCKET, [1, 9, 4, 0, 0, 0]), EPERM);
    let either = program(&profile(json!([equals(0, 1), equals(0, 8)])));
    for (argument, code) in [(1, ALLOW), (8, ALLOW), (9, EPERM), (1 << 32 | 1, EPERM)] {
        assert_eq!(
            run_with(&either, WIDE, PERSONALITY, [argument, 0, 0, 0, 0, 0]),
            code
        );
    }
    let masked = json!([{"index": 0, "value": 6, "valueTwo": 5, "op": "SCMP_CMP_MASKED_EQ"}]);
    assert_eq!(
        (
            ask(&profile(masked.clone()), SOCKET, 13),
            ask(&profile(masked), SOCKET, 2)
        ),
        (ALLOW, EPERM)
    );
}

#[test]
fn calls_that_are_newer_than_a_profile_are_answered_as_missing() {
    let rules = json!([{"names": ["read", "clone3"], "action": "SCMP_ACT_ALLOW"}]);
    for architectures in [json!(["SCMP_ARCH_X86_64"]), json!([])] {
        let profile =
            json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": architectures, "syscalls": rules});
        assert_eq!(
            [434, 435, 436, X32].map(|call| ask(&profile, call, 0)),
            [EPERM, ALLOW, 0x0005_0026, 0x0005_0026],
            "{architectures}"
        );
    }
}

#[test]
fn programs_of_other_architectures_are_ended_and_32_bit_ones_have_rules_where_they_are_named() {
    let profile = |names: Value| {
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": names,
            "syscalls": [{"name": "socket", "action": "SCMP_ACT_ERRNO"}],
        })
    };
    let narrow = program(&profile(json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])));
    // By itself, and through socketcall.
    assert_eq!(run_with(&narrow, NARROW, 359, [0; 6]), EPERM);
    assert_eq!(run_with(&narrow, NARROW, 102, [1, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(run_with(&narrow, NARROW, 102, [2, 0, 0, 0, 0, 0]), ALLOW);
    let alone = program(&profile(json!(["SCMP_ARCH_X86_64"])));
    assert_eq!(run_with(&alone, NARROW, 1, [0; 6]), 0);
}

#[test]
fn what_can_not_be_done_exactly_is_refused_with_a_sentence() {
    let with = |name: &str, value: Value| {
        let mut profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []});
        profile[name] = value;
        reason(&profile)
    };
    let rule = |rule: Value| with("syscalls", json!([rule]));
    let cases = [
        (
            rule(json!({"name": "read", "action": "SCMP_ACT_NOTIFY"})),
            "SCMP_ACT_NOTIFY",
        ),
        (
            rule(json!({"name": "read", "action": "SCMP_ACT_TRACE"})),
            "SCMP_ACT_TRACE",
        ),
        (with("defaultAction", json!("ALLOW")), "the action ALLOW"),
        (
            with("flags", json!(["SECCOMP_FILTER_FLAG_LOG"])),
            "SECCOMP_FILTER_FLAG_LOG",
        ),
        (with("listenerPath", json!("/run/x")), "nobody listens"),
        (with("architectures", json!(["SCMP_ARCH_ARM"])), "SCMP_ARCH_ARM"),
        (with("surprise", json!(1)), "unknown field `surprise`"),
        (
            rule(json!({"name": "brandnew", "action": "SCMP_ACT_ERRNO"})),
            "brandnew is not known",
        ),
        (
            rule(json!({"name": "read", "names": ["write"], "action": "SCMP_ACT_ERRNO"})),
            "name and names",
        ),
        (
            rule(json!({"name": "read", "action": "SCMP_ACT_ERRNO", "errnoRet": 70_000})),
            "70000 is no error",
        ),
        (
            rule(
                json!({"name": "read", "action": "SCMP_ACT_LOG", "args": [{"index": 6, "op": "SCMP_CMP_EQ"}]}),
            ),
            "no argument 6",
        ),
        (
            rule(json!({"name": "read", "action": "SCMP_ACT_LOG", "args": [{"index": 0, "op": "SCMP_CMP"}]})),
            "comparison SCMP_CMP ",
        ),
        (
            with(
                "syscalls",
                json!([
                    {"name": "read", "action": "SCMP_ACT_LOG"},
                    {"name": "read", "action": "SCMP_ACT_ERRNO"},
                ]),
            ),
            "two things of read",
        ),
    ];
    for (reason, expected) in cases {
        assert!(
            reason.starts_with("the lean engine does not load") && reason.contains(expected),
            "{reason}"
        );
    }
    assert!(compile("{", &here()).unwrap_err().contains("can't be read"));
}
