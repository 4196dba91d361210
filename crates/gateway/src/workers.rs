//! Threads on which connections are served, each on one of them from its first byte to its last.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A runtime for each thread, with a reactor of its own.
///
/// A request on its way to a running instance is four small system calls; waking another thread for a part of it
/// costs as much as one of them. Here a connection, what it asks for, and its connections to instances stay on one
/// thread. What takes long and is seldom (launching, removing, the store) has the runtime of the process.
///
/// Clones share the threads, which end with the last of them. Without any (the default), connections are served on
/// the runtime that accepts them.
#[derive(Debug, Clone, Default)]
pub struct Workers(Arc<[Worker]>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    /// Its thread returns with this.
    _stop: DropGuard,
}

impl Workers {
    /// So many threads.
    ///
    /// # Errors
    /// What the system has against one more thread or reactor.
    pub fn start(count: usize) -> io::Result<Self> {
        (0..count)
            .map(Worker::start)
            .collect::<io::Result<Vec<_>>>()
            .map(|all| Self(all.into()))
    }

    /// A place on the thread that has the fewest connections; `None` where there are no threads.
    pub(crate) fn place(&self) -> Option<Place> {
        let load = |worker: &&Worker| worker.connections.load(Ordering::Relaxed);
        let worker = self.0.iter().min_by_key(load)?;
        worker.connections.fetch_add(1, Ordering::Relaxed);
        Some(Place {
            runtime: worker.runtime.clone(),
            connections: worker.connections.clone(),
        })
    }
}

impl Worker {
    fn start(index: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        std::thread::Builder::new()
            .name(format!("skep-gateway-{index}"))
            .spawn(move || runtime.block_on(stopped.cancelled()))?;
        Ok(Self {
            runtime: handle,
            connections: Arc::default(),
            _stop: stop.drop_guard(),
        })
    }
}

/// One connection's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_where_the_fewest_are() {
        let workers = Workers::start(2).unwrap();
        let [one, two] = [(); 2].map(|()| workers.place().unwrap());
        assert_ne!(one.runtime.id(), two.runtime.id());
        let left = two.runtime.id();
        drop(two);
        assert_eq!(workers.place().unwrap().runtime.id(), left);
        assert!(Workers::default().place().is_none());
    }

    #[test]
    fn the_threads_end_with_the_last_handle_and_what_runs_on_them_is_dropped() {
        let workers = Workers::start(1).unwrap();
        let place = workers.place().unwrap();
        let (held, ended) = std::sync::mpsc::channel::<()>();
        place.runtime.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(workers);
        assert!(ended.recv().is_err());
    }
}
