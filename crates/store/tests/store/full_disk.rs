//! A disk that is full for a while: nothing is half accepted, reading goes on, and accepting when there is space.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use skep_model::{EndingKind, InvocationId, ProblemCode, Status};
use skep_store::{Config, Store};

use crate::support::{accept, claim_one, ended, new_invocation, response};

/// A small file system of its own, unmounted when dropped. Mounting needs root.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m,mode=0700", "skep-test"])
            .arg(directory.path())
            .status()
            .unwrap();
        assert!(
            mounted.success(),
            "this test mounts a small tmpfs, which needs root"
        );
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Uses up every byte that is left.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "can't unmount {}",
            self.path().display()
        );
    }
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_half_accepted_and_work_goes_on_when_there_is_space() {
    let disk = SmallDisk::mount();
    let store = Store::open(Config::in_directory(disk.path().join("data"))).unwrap();
    let (known, key) = accept(&store, "hello", "before").await;
    let mut accepted = vec![known];
    let filler = disk.fill();

    // A page of the log may still have room: small ones are accepted until that is used up.
    let refused = loop {
        let (new, _) = new_invocation("hello", Bytes::from(vec![b'x'; 3_000]).into());
        let id = new.record.id;
        match store.accept(new).await {
            Ok(()) => accepted.push(id),
            Err(error) => break error,
        }
    };
    assert_eq!(
        refused.problem().code,
        ProblemCode::StorageUnavailable,
        "{}",
        refused.with_sources()
    );
    assert_eq!(store.queued("hello"), accepted.len() as u64);

    // Ends can't be stored either, and may be tried again.
    let error = match store.claim("hello", 1).await {
        Err(error) => error,
        Ok(claimed) => {
            let large = response(Bytes::from(vec![b'x'; 60_000]).into());
            store
                .finish(
                    ended(claimed[0].record.clone(), EndingKind::Completed),
                    Some(large),
                )
                .await
                .unwrap_err()
        }
    };
    assert_eq!(error.problem().code, ProblemCode::StorageUnavailable);

    let mut body = store.request_body();
    let mut spilled = body.write(&[0; 70_000]).await;
    if spilled.is_ok() {
        spilled = body.finish().await.map(|_| ());
    }
    assert_eq!(
        spilled.unwrap_err().problem().code,
        ProblemCode::StorageUnavailable
    );
    assert!(
        store.look(known, &key).await.unwrap().is_some(),
        "reading goes on"
    );

    std::fs::remove_file(filler).unwrap();
    accepted.push(accept(&store, "hello", "after").await.0);
    store.close().await;

    let store = Store::open(Config::in_directory(disk.path().join("data"))).unwrap();
    assert_eq!(
        std::fs::read_dir(disk.path().join("data/bodies"))
            .unwrap()
            .count(),
        0
    );
    let claimed = store.claim("hello", 10_000).await.unwrap();
    let claimed: Vec<InvocationId> = claimed.into_iter().map(|accepted| accepted.record.id).collect();
    assert_eq!(
        claimed, accepted,
        "what was told to be accepted is there, and nothing else"
    );
    store.close().await;
}

#[tokio::test]
async fn an_end_that_did_not_fit_is_stored_when_there_is_space() {
    let disk = SmallDisk::mount();
    let store = Store::open(Config::in_directory(disk.path().join("data"))).unwrap();
    let (id, key) = accept(&store, "hello", "").await;
    let claimed = claim_one(&store, "hello").await;
    let end = ended(claimed.record, EndingKind::Completed);
    let stored = response(Bytes::from(vec![b'x'; 60_000]).into());
    let filler = disk.fill();
    store.finish(end.clone(), Some(stored.clone())).await.unwrap_err();
    assert_eq!(
        store.look(id, &key).await.unwrap().unwrap().status,
        Status::Running
    );
    std::fs::remove_file(filler).unwrap();
    store.finish(end, Some(stored)).await.unwrap();
    let (record, stored) = store.result(id, &key).await.unwrap().unwrap();
    assert_eq!(
        (record.status, stored.unwrap().body.length()),
        (Status::Succeeded, 60_000)
    );
    store.close().await;
}
