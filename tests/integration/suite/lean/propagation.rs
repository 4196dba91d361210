//! Binds that go on with the host's mounts: as under Docker, mount by mount.

use std::path::{Path, PathBuf};
use std::process::Command;

use http::StatusCode;
use skep_tests::{DEBIAN, Skep, eventually};

use super::parity::both;

/// A file system of the test's own that lets others follow it, with another one mounted in it; gone at its end.
struct Shared {
    folder: tempfile::TempDir,
}

impl Shared {
    fn new() -> Self {
        let shared = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        mount(&["-t", "tmpfs", "skep-test"], &shared.top());
        mount(&["--make-shared"], &shared.top());
        shared.add("below");
        shared
    }

    fn top(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Mounts another one in it.
    fn add(&self, name: &str) {
        let folder = self.top().join(name);
        std::fs::create_dir(&folder).expect("a folder");
        mount(&["-t", "tmpfs", "skep-test"], &folder);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let ended = Command::new("umount").arg("-Rl").arg(self.folder.path()).status();
        assert!(ended.is_ok_and(|ended| ended.success()) || std::thread::panicking());
    }
}

fn mount(words: &[&str], target: &Path) {
    let made = Command::new("mount").args(words).arg(target).status();
    assert!(made.expect("mount").success(), "{words:?}");
}

/// The mounts below `/m`, with whom each follows and who follows it: the kernel numbers them alike for everybody.
const SEEN: &str = r#"awk '$5 ~ "^/m" {s = ""; for (i = 7; $i != "-"; i++) s = s " " $i; print $5, $6 s}' /proc/self/mountinfo | sort"#;

#[tokio::test]
async fn a_bind_follows_the_host_and_is_followed_as_under_docker() {
    let skep = Skep::start("lean-propagation").await;
    let shared = Shared::new();
    let source = shared.top().display().to_string();
    let volume = format!("{}-named", skep.docker.namespace());
    let namespace = format!("skep.namespace={}", skep.docker.namespace());
    skep.docker
        .run(&["volume", "create", "--label", &namespace, &volume]);
    let words = ["rprivate", "private", "rslave", "slave", "rshared", "shared"];
    let mut cases: Vec<Vec<String>> = words
        .iter()
        .map(|word| vec![format!("-v={source}:/m:{word}")])
        .collect();
    // Read-only, by the longer way; one that Docker gives a volume; and what others do when one is shared.
    cases.push(vec![format!(
        "--mount=type=bind,source={source},target=/m,readonly,bind-propagation=rslave"
    )]);
    cases.push(vec![format!("-v={volume}:/m")]);
    let among = [
        "m1:rshared",
        "m2:slave",
        "m3:private",
        "m4:rprivate",
        "m5:ro,rslave",
    ];
    let mut among: Vec<String> = among.iter().map(|one| format!("-v={source}:/{one}")).collect();
    among.push(format!("-v={volume}:/m6"));
    cases.push(among);
    let mut found = String::new();
    for case in cases {
        let flags = ["--network=none".to_owned()];
        let flags: Vec<&str> = flags.iter().chain(&case).map(String::as_str).collect();
        let [docker, lean] = both(&skep, &flags, &[DEBIAN, "sh", "-c", SEEN]).await;
        assert!(docker.contains("/m"), "{docker}");
        if docker != lean {
            found.push_str(&format!("{flags:?}\ndocker:\n{docker}lean:\n{lean}"));
        }
    }
    assert!(found.is_empty(), "\n{found}");
    skep.finish().await;
}

#[tokio::test]
async fn what_the_host_mounts_later_is_seen_where_that_was_asked_for_and_can_be_given() {
    let skep = Skep::start("lean-later").await;
    let shared = Shared::new();
    let source = shared.top().display().to_string();
    let script = "until grep -q ' /m/later ' /proc/self/mountinfo; do sleep 0.05; done; echo seen";
    let bind = format!("{source}:/m:rslave");
    let labels = ["handler=exec", "engine=lean"];
    let flags = ["--network", "none", "-v", &bind];
    skep.deploy("follows", &labels, &flags, &[DEBIAN, "sh", "-c", script])
        .await;
    let public = skep.public;
    let answer = tokio::spawn(async move { public.get("/follows").await });
    eventually("the instance", async || {
        let list = skep.control.get("/v1/instances").await;
        list.text().contains("\"follows\"").then_some(())
    })
    .await;
    shared.add("later");
    assert_eq!(answer.await.expect("it ends").text(), "seen\n");
    // A mount that is nobody's to follow: Docker starts nothing then, and neither does lean.
    let alone = tempfile::tempdir().expect("a folder");
    mount(&["-t", "tmpfs", "skep-test"], alone.path());
    mount(&["--make-private"], alone.path());
    for word in ["slave", "rshared"] {
        let bind = format!("{}:/m:{word}", alone.path().display());
        let flags = ["--network", "none", "-v", &bind];
        for engine in ["engine=docker", "engine=lean"] {
            let labels = ["handler=exec", engine];
            let template = skep.deploy("alone", &labels, &flags, &[DEBIAN, "true"]).await;
            let answer = skep.public.get("/alone").await;
            assert_eq!(
                answer.status,
                StatusCode::BAD_GATEWAY,
                "{engine} {word}: {answer:?}"
            );
            assert_eq!(answer.problem(), "start-failed", "{engine} {word}");
            skep.docker.remove(&template);
        }
    }
    let ended = Command::new("umount").arg(alone.path()).status();
    assert!(ended.expect("umount").success());
    skep.finish().await;
}
