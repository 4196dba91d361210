//! An engine that goes away, hangs or restarts; a disk that is full.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use skep_tests::{Relay, Skep, Start, eventually, full, probe_image};

async fn ready(skep: &Skep, wanted: bool) {
    eventually("readiness to change", async || {
        let status = skep.control.get("/readyz").await.status;
        ((status == StatusCode::OK) == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_the_engine_callers_get_an_early_answer_and_with_it_everything_goes_on() {
    let relay = Relay::start();
    let skep = Skep::with("fault-cut", &["--docker-host", &relay.host()]).await;
    let probe = probe_image();
    let labels = ["handler=exec", "engine=docker"];
    skep.deploy("e", &labels, &[], &[&probe, "echo", "hello"]).await;
    skep.deploy("warm", &["recycle=idle"], &[], &[&probe, "http"])
        .await;
    assert_eq!(skep.public.get("/e").await.status, StatusCode::OK);
    assert_eq!(skep.public.get("/warm").await.status, StatusCode::OK);

    relay.cut();
    ready(&skep, false).await;
    let answer = skep.public.get("/e").await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "engine-unavailable")
    );
    let location = skep.public.post_async("/e", "").await;

    relay.mend();
    ready(&skep, true).await;
    assert_eq!(skep.public.get("/e").await.text(), "hello\n");
    assert_eq!(skep.public.get("/warm").await.status, StatusCode::OK);
    let outcome = skep.outcome(&location).await;
    assert_eq!(
        outcome["status"], "succeeded",
        "accepted work waits for the engine: {outcome}"
    );
    // What was running when the engine went is found and removed.
    skep.finish().await;
}

#[tokio::test]
async fn a_stalled_engine_is_noticed_and_forgotten_when_it_goes_on() {
    let relay = Relay::start();
    let skep = Skep::with("fault-stall", &["--docker-host", &relay.host()]).await;
    let probe = probe_image();
    skep.deploy(
        "e",
        &["handler=exec", "timeout=3s"],
        &[],
        &[&probe, "echo", "hello"],
    )
    .await;
    relay.stall();
    let begun = Instant::now();
    let answer = skep.public.get("/e").await;
    assert_eq!(
        (answer.status, answer.problem().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "engine-unavailable")
    );
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    ready(&skep, false).await;
    relay.mend();
    ready(&skep, true).await;
    eventually("an answer", async || {
        (skep.public.get("/e").await.status == StatusCode::OK).then_some(())
    })
    .await;
    // What the engine made of calls that nobody waited for any more.
    skep.nothing_made().await;
    skep.finish().await;
}

/// A small file system in memory, unmounted with the value.
struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    fn new(size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(directory.path());
        let status = mount.status().unwrap();
        assert!(
            status.success(),
            "a tmpfs can't be mounted; the tests run as root"
        );
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .args(["-l"])
            .arg(self.directory.path())
            .status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_would_have_to_be_kept_and_serves_everything_else() {
    let disk = SmallDisk::new("16m");
    let data: PathBuf = disk.path().join("data");
    let skep = Skep::from(
        "fault-disk",
        Start {
            flags: Vec::new(),
            data: Some(data),
        },
    )
    .await;
    skep.deploy("cat", &["handler=exec"], &[], &[&probe_image(), "cat"])
        .await;
    let kept = skep.public.post_async("/cat", "kept").await;
    assert_eq!(skep.outcome(&kept).await["status"], "succeeded");

    let filling = disk.path().join("filling");
    let mut status = None;
    let mut file = std::fs::File::create(&filling).unwrap();
    while status.is_none() {
        status = std::io::Write::write_all(&mut file, &[0; 4096]).err();
    }
    let request = Request::post("/cat")
        .header("prefer", "respond-async")
        .body(full(vec![1; 500_000]))
        .unwrap();
    let refused = skep.public.send(request).await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "storage-unavailable")
    );
    assert_eq!(
        skep.public.post("/cat", "at once").await.text(),
        "at once",
        "what needs no disk is served"
    );
    assert_eq!(skep.public.get(&format!("{kept}/result")).await.text(), "kept");

    drop(file);
    std::fs::remove_file(&filling).unwrap();
    let location = eventually("room again", async || {
        let request = Request::post("/cat")
            .header("prefer", "respond-async")
            .body(full("again"))
            .unwrap();
        let answer = skep.public.send(request).await;
        (answer.status == StatusCode::ACCEPTED).then(|| answer.header("location").to_owned())
    })
    .await;
    assert_eq!(skep.outcome(&location).await["status"], "succeeded");
    skep.finish().await;
}
