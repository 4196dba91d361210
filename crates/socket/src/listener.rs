//! Sockets: made, listened on, closed and removed.

use std::collections::HashSet;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::calls::{self, Place};
use crate::holder::Holder;
use crate::shared::Shared;
use crate::totals;

/// Connections to one socket at once: eight children with a log, a wait and an attachment each, and room.
const CONNECTIONS: usize = 128;
/// How long a client may take to send a request's header.
const HEADER_PATIENCE: Duration = Duration::from_secs(300);
/// What is said on one connection too many.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Content-Length: 62\r\nConnection: close\r\n\r\n{\"message\":\"this socket has too many connections; close some\"}\n";
/// The longest path that a socket can be bound to as it is (`sun_path`, unix(7)).
const LONGEST_PATH: usize = 100;

/// A socket's own folder, by its id.
pub(crate) fn folder(shared: &Shared, id: &str) -> PathBuf {
    shared.directory.join(id)
}

/// The socket's path.
pub(crate) fn path(shared: &Shared, id: &str) -> PathBuf {
    folder(shared, id).join("docker.sock")
}

/// The socket's path as the engine's host sees it, where it does.
pub(crate) fn host_path(shared: &Shared, id: &str) -> Option<PathBuf> {
    let host = shared.host_directory.as_ref()?;
    Some(host.join(id).join("docker.sock"))
}

/// Makes a socket and answers on it until it is closed.
pub(crate) fn open(shared: &Arc<Shared>, id: &str, holder: Arc<Holder>) -> io::Result<()> {
    let folder = folder(shared, id);
    std::fs::create_dir_all(&folder)?;
    // A child has the folder itself, and runs as whatever user its image names.
    std::fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
    let path = folder.join("docker.sock");
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = bind(&folder, &path)?;
    // Whatever user the image runs as. On the host the folder above keeps everybody else out.
    std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    let closed = shared.stop.child_token();
    shared
        .open()
        .insert(id.to_owned(), (Arc::clone(&holder), closed.clone()));
    shared
        .tasks
        .spawn(accept(Arc::clone(shared), listener, holder, closed));
    Ok(())
}

/// Binds also where the path is longer than a socket's address may be.
fn bind(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    if path.as_os_str().len() <= LONGEST_PATH {
        return UnixListener::bind(path);
    }
    use std::os::fd::AsRawFd;
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, rustix::fs::Mode::empty())?;
    UnixListener::bind(format!("/proc/self/fd/{}/docker.sock", folder.as_raw_fd()))
}

/// Closes a socket, ends its connections and removes it.
pub(crate) fn close(shared: &Shared, id: &str) {
    let closed = shared.open().remove(id);
    if let Some((holder, closed)) = closed {
        closed.cancel();
        let roots = holder.counted_roots();
        // A root may be another socket's too: an instance's, and those of its children.
        let in_use: HashSet<String> = shared
            .open()
            .values()
            .flat_map(|(other, _)| other.counted_roots())
            .collect();
        for root in roots.difference(&in_use) {
            shared.children().forget_root(root);
            totals::forget(shared, root);
        }
    }
    remove(&folder(shared, id));
}

/// Removes a socket's folder.
pub(crate) fn remove(folder: &Path) {
    if let Err(error) = std::fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "a socket could not be removed");
    }
}

async fn accept(shared: Arc<Shared>, listener: UnixListener, holder: Arc<Holder>, closed: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = closed.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let mut stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a function's socket could not accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            // Into the socket's own buffer, so that nobody waits for a client that doesn't read.
            drop(stream.try_write(TOO_MANY));
            drop(stream.shutdown().await);
            continue;
        };
        let (shared, holder, closed) = (Arc::clone(&shared), Arc::clone(&holder), closed.clone());
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = closed.cancelled() => {}
                () = serve(shared, holder, stream, closed.clone(), Arc::new(place)) => {}
            }
        });
    }
}

async fn serve(
    shared: Arc<Shared>,
    holder: Arc<Holder>,
    stream: UnixStream,
    closed: CancellationToken,
    place: Place,
) {
    let answer = service_fn(move |request| {
        let (shared, holder, closed) = (Arc::clone(&shared), Arc::clone(&holder), closed.clone());
        let place = Arc::clone(&place);
        async move {
            let answer = calls::answer(shared, holder, closed, place, request).await;
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a function's connection ended");
    }
}
