//! A child that is a function's: all of its template, and no more than its starter's grant.

use std::process::Command;

use skep_tests::{DEBIAN, Skep, eventually};

use super::{run, shell};

#[tokio::test]
async fn a_functions_container_has_the_files_that_were_copied_into_its_template() {
    let skep = Skep::start("socket-copied").await;
    let command = [DEBIAN, "cat", "/etc/copied"];
    let template = skep.deploy("task", &["handler=exec"], &[], &command).await;
    shell(&skep, "sh", &["spawn=task"], &[]).await;
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("file");
    std::fs::write(&file, "copied\n").unwrap();
    let copying = Command::new("docker")
        .arg("cp")
        .args([&file.display().to_string(), &format!("{template}:/etc/copied")])
        .output()
        .unwrap();
    assert!(copying.status.success(), "{copying:?}");
    eventually("the function to have the file", async || {
        (skep.public.get("/task").await.text() == "copied\n").then_some(())
    })
    .await;
    let script =
        "docker run --rm task; docker run --rm task sh -c 'echo changed > /etc/copied; cat /etc/copied'
                  docker run --rm task";
    assert_eq!(run(&skep, "sh", script).await, "copied\nchanged\ncopied\n");
    skep.finish().await;
}

#[tokio::test]
async fn a_template_that_needs_more_than_its_starter_is_granted_is_refused() {
    let skep = Skep::start("socket-larger").await;
    for (name, limit) in [("memory", ["-m", "200m"]), ("cpus", ["--cpus", "2"])] {
        let command = [DEBIAN, "true"];
        skep.deploy(name, &["handler=exec"], &limit, &command).await;
    }
    let labels = ["spawn=memory,cpus", "spawn.memory=100m", "spawn.cpus=1"];
    shell(&skep, "sh", &labels, &[]).await;
    for name in ["memory", "cpus"] {
        let said = run(&skep, "sh", &format!("docker run --rm {name}; echo code $?")).await;
        let grant = format!("skep.spawn.{name} grants");
        assert!(said.contains(&grant) && said.contains("code 125"), "{said}");
    }
    assert!(skep.docker.containers("skep.child-of").is_empty());
    skep.finish().await;
}
