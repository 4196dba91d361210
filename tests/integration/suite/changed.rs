//! A parked template that is changed where it stands (`docker cp`, `docker update`): instances get what `docker start` of
//! it would give.

use std::process::Command;

use http::StatusCode;
use skep_tests::{DEBIAN, Skep, eventually};

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker")
        .args(arguments)
        .output()
        .expect("docker runs");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What every instance says of what was copied; `new` is the folder that the image lacks.
const LOOK: &str = "cat /etc/copied /place/tree/deep 2>/dev/null; stat -c '%u %a' /place/tree/run; \
                    stat -c '%F' /place/data; cat /place/data/inside 2>/dev/null; exit 0";

#[tokio::test]
async fn files_copied_into_a_template_are_in_every_instance_as_docker_start_would_have_them() {
    let skep = Skep::start("copied").await;
    let files = tempfile::tempdir().unwrap();
    let (file, tree) = (files.path().join("file"), files.path().join("tree"));
    std::fs::write(&file, "one\n").unwrap();
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("deep"), "deep\n").unwrap();
    std::fs::write(tree.join("run"), "").unwrap();
    let run = std::os::unix::fs::PermissionsExt::from_mode(0o750);
    std::fs::set_permissions(tree.join("run"), run).unwrap();
    let flags = ["-w", "/place", "-v", "/place/data"];
    for engine in ["docker", "auto"] {
        let label = format!("engine={engine}");
        let id = skep
            .deploy(
                engine,
                &["handler=exec", &label],
                &flags,
                &[DEBIAN, "sh", "-c", LOOK],
            )
            .await;
        let path = format!("/{engine}");
        assert!(!skep.public.get(&path).await.text().contains("one"));
        docker(&["cp", file.to_str().unwrap(), &format!("{id}:/etc/copied")]);
        docker(&["cp", "-a", tree.to_str().unwrap(), &format!("{id}:/place/tree")]);
        let wanted = "one\ndeep\n0 750\ndirectory\n";
        eventually("instances to have the files", async || {
            let answer = skep.public.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            (answer.text() == wanted).then_some(())
        })
        .await;
        // Whatever instances do with their copies the template's own stay as they are.
        assert_eq!(skep.public.get(&path).await.text(), wanted);
        // And it is what Docker itself gives.
        let own = docker(&["start", "-a", &id]);
        assert_eq!(format!("{own}\n"), wanted);
        docker(&["rm", "-v", &id]);
    }
    skep.finish().await;
}

/// `/var/run` is a link to `/run` in most images, and so what the engine makes is listed elsewhere than it was asked for.
#[tokio::test]
async fn what_the_engine_makes_behind_a_link_of_the_image_was_copied_by_nobody() {
    let skep = Skep::start("copied-links").await;
    let flags = [
        "--network",
        "none",
        "-w",
        "/var/run/made/here",
        "-v",
        "/var/lock/deep/data",
    ];
    let look = "pwd -P; cd /var/lock/deep/data && pwd -P; cat /run/copied 2>/dev/null; exit 0";
    let id = skep
        .deploy("links", &["handler=exec"], &flags, &[DEBIAN, "sh", "-c", look])
        .await;
    let shown =
        async || skep.control.get("/v1/functions/links").await.json()["function"]["fallback"].to_string();
    let before = shown().await;
    assert!(!before.contains("docker cp"), "{before}");
    let made = "/run/made/here\n/run/lock/deep/data\n";
    assert_eq!(skep.public.get("/links").await.text(), made);
    // What somebody did put behind the link is carried over, as ever.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "copied\n").unwrap();
    docker(&[
        "cp",
        file.path().to_str().unwrap(),
        &format!("{id}:/var/run/copied"),
    ]);
    eventually("instances to have the file", async || {
        let answer = skep.public.get("/links").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        (answer.text() == format!("{made}copied\n")).then_some(())
    })
    .await;
    skep.finish().await;
}

#[tokio::test]
async fn a_second_copy_is_a_new_revision_and_reaches_the_next_request() {
    let skep = Skep::start("copied-again").await;
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("file");
    let id = skep
        .deploy("f", &["handler=exec"], &[], &[DEBIAN, "cat", "/etc/copied"])
        .await;
    for text in ["one\n", "two\n"] {
        std::fs::write(&file, text).unwrap();
        docker(&["cp", file.to_str().unwrap(), &format!("{id}:/etc/copied")]);
        eventually("the file as it was copied last", async || {
            (skep.public.get("/f").await.text() == text).then_some(())
        })
        .await;
    }
    skep.finish().await;
}

#[tokio::test]
async fn docker_update_of_a_template_holds_for_the_next_instance() {
    let skep = Skep::start("updated").await;
    // The limit in either version of cgroups.
    let look =
        "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; exit 0";
    for engine in ["docker", "lean"] {
        let label = format!("engine={engine}");
        let flags = ["-m", "64m"];
        let id = skep
            .deploy(
                engine,
                &["handler=exec", &label],
                &flags,
                &[DEBIAN, "sh", "-c", look],
            )
            .await;
        let path = format!("/{engine}");
        assert_eq!(skep.public.get(&path).await.text(), "67108864\n");
        docker(&["update", "-m", "128m", "--memory-swap", "256m", &id]);
        eventually("the new limit", async || {
            (skep.public.get(&path).await.text() == "134217728\n").then_some(())
        })
        .await;
    }
    skep.finish().await;
}
