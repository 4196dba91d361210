//! Losing the engine and finding it again, through a socket of the test's own before the real one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker as Client};
use skep_discovery::Connection;
use skep_testing::Docker;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::common::{IMAGE, Watch};

/// Passes bytes between a client and the engine, until it is told not to.
struct Relay {
    path: PathBuf,
    _directory: tempfile::TempDir,
    open: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Relay {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (open, gate) = watch::channel(true);
        let task = tokio::spawn(relay(listener, gate));
        Self {
            path,
            _directory: directory,
            open,
            task,
        }
    }

    /// Breaks every connection and accepts none.
    fn cut(&self) {
        self.open.send_replace(false);
    }

    fn mend(&self) {
        self.open.send_replace(true);
    }

    async fn client(&self) -> Client {
        let path = self.path.to_str().unwrap();
        let client = Client::connect_with_unix(path, 60, API_DEFAULT_VERSION).unwrap();
        client.negotiate_version().await.unwrap()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(listener: UnixListener, mut gate: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (mut client, _) = accepted.unwrap();
                if *gate.borrow() {
                    connections.spawn(async move {
                        let mut engine = UnixStream::connect(Path::new("/var/run/docker.sock")).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
                    });
                }
            }
            changed = gate.changed() => {
                if changed.is_err() {
                    return;
                }
                if !*gate.borrow_and_update() {
                    connections.shutdown().await;
                }
            }
        }
    }
}

async fn until(discovery: &skep_discovery::Discovery, wanted: impl Fn(&Connection) -> bool) -> Connection {
    let mut connection = discovery.connection();
    let found = tokio::time::timeout(Duration::from_secs(20), connection.wait_for(|now| wanted(now)));
    found.await.expect("in time").unwrap().clone()
}

async fn watch(relay: &Relay, docker: &Docker) -> Watch {
    let day = Duration::from_secs(86_400);
    Watch::through(
        relay.client().await,
        docker.namespace(),
        day,
        Arc::new(|_| Vec::new()),
    )
    .await
}

#[tokio::test]
async fn the_catalogue_serves_on_while_the_engine_is_gone_and_catches_up_afterwards() {
    let docker = Docker::new("lost");
    let relay = Relay::start();
    let removed = docker.create(&["--label", "skep.function=removed", IMAGE, "true"]);
    docker.create(&["--label", "skep.function=stays", IMAGE, "true"]);
    let changed = docker.create(&["--label", "skep.function=changed", "-m", "64m", IMAGE, "true"]);
    let mut watched = watch(&relay, &docker).await;
    assert_eq!(watched.now().functions().count(), 3);

    relay.cut();
    let lost = until(&watched.discovery, |now| !now.connected).await;
    assert!(lost.problem.is_some() && lost.listed);
    assert_eq!(
        watched.now().functions().count(),
        3,
        "what was known goes on being served"
    );
    docker.remove(&removed);
    docker.run(&["update", "-m", "96m", "--memory-swap", "192m", &changed]);
    docker.create(&["--label", "skep.function=added", IMAGE, "true"]);

    relay.mend();
    until(&watched.discovery, |now| now.connected).await;
    watched
        .until(|now| {
            now.function("removed").is_none()
                && now.function("added").is_some()
                && now.function("stays").is_some()
                && now
                    .function("changed")
                    .is_some_and(|f| f.template.memory == Some(96 << 20))
        })
        .await;
}

#[tokio::test]
async fn a_prune_while_the_connection_was_lost_is_still_seen_as_one() {
    let docker = Docker::new("lostprune");
    let relay = Relay::start();
    let pruned = docker.create(&["--label", "skep.function=pruned", IMAGE, "true"]);
    let mut watched = watch(&relay, &docker).await;
    relay.cut();
    until(&watched.discovery, |now| !now.connected).await;
    docker.prune();
    relay.mend();
    watched
        .until(|now| {
            now.function("pruned")
                .is_some_and(|f| *f.template.id.0 != *pruned)
        })
        .await;
}

#[tokio::test]
async fn a_watch_that_begins_without_an_engine_waits_for_it() {
    let docker = Docker::new("later");
    docker.create(&["--label", "skep.function=f", IMAGE, "true"]);
    let relay = Relay::start();
    let client = relay.client().await;
    relay.cut();
    let config = skep_discovery::Config {
        namespace: docker.namespace().parse().unwrap(),
        ..Default::default()
    };
    let discovery = skep_discovery::Discovery::start(client, config, Arc::new(|_| Vec::new()));
    until(&discovery, |now| now.problem.is_some() && !now.listed).await;
    relay.mend();
    discovery.listed().await;
    assert!(discovery.catalogue().borrow().function("f").is_some());
}
