//! A template's own seccomp profile (`--security-opt seccomp=FILE`) under the lean engine: the same calls are refused
//! as under Docker, with the same errors.

use std::path::PathBuf;

use serde_json::{Value, json};
use skep_tests::{DEBIAN, Engine, Skep, probe_image};
use syscalls::Sysno;

use super::parity::both;

/// Writes a profile where the docker command reads it.
fn profile(folder: &tempfile::TempDir, profile: &Value) -> (String, PathBuf) {
    let file = folder.path().join("profile.json");
    std::fs::write(&file, profile.to_string()).expect("a file");
    (format!("seccomp={}", file.display()), file)
}

/// A profile that allows all that there was some years ago, but for what a container needs least.
fn allowing(architectures: Value) -> Value {
    let without = [
        "unshare", "keyctl", "add_key", "bpf", "swapon", "mount", "chroot", "acct",
    ];
    let names: Vec<&str> = Sysno::iter()
        .filter(|call| call.id() <= Sysno::clone3.id())
        .map(|call| call.name())
        .filter(|name| !without.contains(name))
        .collect();
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": architectures,
        "syscalls": [
            {"names": names, "action": "SCMP_ACT_ALLOW"},
            {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
            {"names": ["acct"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_CHROOT"]}},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
        ],
    })
}

/// A runc before 1.1.15 guesses which calls are newer than the profile only where that names the architecture.
fn is_older(docker: &str, lean: &str) -> bool {
    docker.replace("EPERM", "ENOSYS") == lean
}

#[tokio::test]
async fn the_calls_that_a_profile_does_not_allow_are_refused_as_under_docker() {
    let skep = Skep::start("seccomp-allow").await;
    let folder = tempfile::tempdir().expect("a directory");
    for architectures in [json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]), json!([])] {
        let (option, _file) = profile(&folder, &allowing(architectures.clone()));
        let flags = ["--network", "none", "--security-opt", &option];
        let [docker, lean] = both(&skep, &flags, &[&probe_image(), "calls"]).await;
        let differing: Vec<_> = docker
            .lines()
            .zip(lean.lines())
            .filter(|(docker, lean)| {
                docker != lean && !(is_older(docker, lean) && architectures == json!([]))
            })
            .collect();
        assert!(docker.lines().count() > 100, "{docker}");
        assert_eq!(differing, [], "{architectures}");
    }
    skep.finish().await;
}

#[tokio::test]
async fn conditions_on_arguments_and_errors_are_as_under_docker() {
    let skep = Skep::start("seccomp-args").await;
    let folder = tempfile::tempdir().expect("a directory");
    let on = |index: u32, op: &str, value: u64, two: u64| json!({"index": index, "value": value, "valueTwo": two, "op": op});
    let rule = |name: &str, error: u32, args: Value| json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": error, "args": args});
    let rules = json!([
        rule("getpriority", 71, json!([on(0, "SCMP_CMP_EQ", 1, 0), on(1, "SCMP_CMP_GT", 5, 0)])),
        rule("getsid", 72, json!([on(0, "SCMP_CMP_GE", 1 << 32, 0)])),
        rule("getpgid", 73, json!([on(0, "SCMP_CMP_LT", 10, 0), on(0, "SCMP_CMP_EQ", 70_000, 0)])),
        rule("dup", 74, json!([on(0, "SCMP_CMP_MASKED_EQ", 0xf0, 0x30)])),
        rule("umask", 75, json!([on(0, "SCMP_CMP_NE", 0o22, 0)])),
        rule("alarm", 76, json!([on(0, "SCMP_CMP_LE", 0, 0)])),
        rule("sync", 77, json!([])),
        {"name": "acct", "action": "SCMP_ACT_KILL_PROCESS"},
        {"name": "getpgrp", "action": "SCMP_ACT_TRAP"},
        {"name": "getcwd", "action": "SCMP_ACT_LOG"},
    ]);
    let (option, _file) = profile(
        &folder,
        &json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}),
    );
    // The numbers of the calls on x86_64, and their arguments.
    let calls = "140,1,5 140,1,6 140,0,6 124,0 124,4294967295 124,4294967296 124,-1 121,9 121,69999 121,70000 121,4294967297 \
                 32,48 32,49 32,63 32,64 32,304 95,18 95,19 37,0 37,1 162 163 111 79,0,0 1000";
    let script = format!(
        "for call in {calls}; do perl -e '@a = map {{ $_ + 0 }} split /,/, $ARGV[0]; $! = 0; \
         $r = syscall(shift @a, @a); print \"@ARGV: $r \", $! + 0, \"\\n\"' $call; echo $?; done 2>&1"
    );
    let flags = ["--network", "none", "--security-opt", &option];
    let [docker, lean] = both(&skep, &flags, &[DEBIAN, "sh", "-c", &script]).await;
    assert_eq!(lean, docker);
    assert!(
        lean.contains("140,1,6: -1 71\n") && lean.contains("140,1,5: ") && lean.contains("159\n"),
        "{lean}"
    );
    skep.finish().await;
}

async fn reasons(skep: &Skep, name: &str) -> (String, String) {
    let shown = skep.control.get(&format!("/v1/functions/{name}")).await.json();
    let function = &shown["function"];
    (function["engine"].to_string(), function["fallback"].to_string())
}

#[tokio::test]
async fn a_profile_that_can_not_be_had_exactly_runs_on_docker_and_says_why() {
    let skep = Skep::start("seccomp-why").await;
    let folder = tempfile::tempdir().expect("a directory");
    let rules = json!([{"names": ["reboot"], "action": "SCMP_ACT_TRACE"}]);
    let (option, _file) = profile(
        &folder,
        &json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}),
    );
    let flags = ["--network", "none", "--security-opt", &option];
    skep.deploy("trace", &["handler=exec"], &flags, &[DEBIAN, "echo", "traced"])
        .await;
    let (engine, why) = reasons(&skep, "trace").await;
    assert!(
        engine == "\"docker\"" && why.contains("SCMP_ACT_TRACE"),
        "{engine} {why}"
    );
    skep.finish().await;
}

#[tokio::test]
async fn an_engine_with_a_default_profile_of_its_own_keeps_its_functions() {
    let folder = tempfile::tempdir().expect("a directory");
    let (_option, file) = profile(&folder, &allowing(json!([])));
    let probe = probe_image();
    let engine = Engine::with(&[&probe], &["--seccomp-profile", &file.display().to_string()]);
    let skep = Skep::with("seccomp-own", &["--docker-host", &engine.host()]).await;
    let own = format!("skep.namespace={}", skep.docker.namespace());
    let labels = [
        "--label",
        &own,
        "--label",
        "skep.function=hello",
        "--label",
        "skep.handler=exec",
    ];
    let id = engine.run(
        &[
            &["create", "--network", "none"],
            &labels[..],
            &[&probe, "echo", "hello"],
        ]
        .concat(),
    );
    skep.in_force("hello", &id).await;
    let (engine, why) = reasons(&skep, "hello").await;
    assert!(
        engine == "\"docker\"" && why.contains("name=seccomp,profile="),
        "{engine} {why}"
    );
    assert_eq!(skep.public.get("/hello").await.text(), "hello\n");
    skep.finish().await;
}
