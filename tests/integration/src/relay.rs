//! A socket before the engine's own, which a test can break and stall without touching the engine that all share.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Open,
    /// Connections are accepted, and nothing passes.
    Stalled,
    /// Connections are broken.
    Cut,
}

/// Passes bytes between Skep and the engine, until it is told otherwise.
#[derive(Debug)]
pub struct Relay {
    path: PathBuf,
    _directory: tempfile::TempDir,
    course: watch::Sender<Course>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Opens the socket.
    ///
    /// # Panics
    /// When it can't be made.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let (course, watched) = watch::channel(Course::Open);
        let task = tokio::spawn(accept(listener, watched));
        Self {
            path,
            _directory: directory,
            course,
            task,
        }
    }

    /// What `--docker-host` takes.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// The engine goes away: every connection breaks.
    pub fn cut(&self) {
        self.course.send_replace(Course::Cut);
    }

    /// The engine hangs: connections are accepted and nothing is answered.
    pub fn stall(&self) {
        self.course.send_replace(Course::Stalled);
    }

    /// The engine is there again.
    pub fn mend(&self) {
        self.course.send_replace(Course::Open);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: UnixListener, mut course: watch::Receiver<Course>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return };
                let now = *course.borrow();
                if now != Course::Cut {
                    connections.spawn(connect(client, course.clone()));
                }
            }
            changed = course.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = *course.borrow_and_update();
                if now == Course::Cut {
                    connections.shutdown().await;
                }
            }
        }
    }
}

async fn connect(client: UnixStream, course: watch::Receiver<Course>) {
    let Ok(engine) = UnixStream::connect(Path::new("/var/run/docker.sock")).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_engine, to_engine) = engine.into_split();
    tokio::join!(
        pass(from_client, to_engine, course.clone()),
        pass(from_engine, to_client, course)
    );
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut course: watch::Receiver<Course>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if course.wait_for(|now| *now == Course::Open).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
