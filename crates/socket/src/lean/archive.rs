//! Files of a child, in and out as archives: looked at in its own mounts, by a thread that enters them.

mod compressed;
mod pack;
mod unpack;

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use serde_json::json;
use skep_grant::Refusal;
use tokio::sync::oneshot;

pub(super) use self::pack::get;
pub(super) use self::unpack::{Put, put};

use super::child::LeanChild;
use super::run::broke_off;
use crate::answer::{Answer, nothing};

const STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");
/// How many pieces of an archive wait.
const WAITING: usize = 8;

/// What `inode` and name take of the kernel's memory for each file of a file system in memory.
const FILE: u64 = 1 << 10;

/// Does something among a child's files, without holding up anybody.
pub(super) async fn inside<T: Send + 'static>(
    mounts: &Arc<OwnedFd>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let done = apart(mounts, work).map_err(unlooked)?;
    done.await.map_err(|_| broke_off())?.map_err(unlooked)
}

fn unlooked(error: io::Error) -> Refusal {
    super::create::failed(&format!("its files can't be looked at: {error}"))
}

/// The same in a thread of its own, which may wait for a client: the runtime's are everybody's.
fn apart<T: Send + 'static>(
    mounts: &Arc<OwnedFd>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<io::Result<T>>> {
    let (mounts, (sender, receiver)) = (mounts.clone(), oneshot::channel());
    let named = std::thread::Builder::new().name("skep-files".to_owned());
    named.spawn(move || drop(sender.send(skep_sys::in_files(mounts.as_fd(), work))))?;
    Ok(receiver)
}

/// The bytes that a child's files take.
pub(super) async fn used(mounts: &Arc<OwnedFd>) -> u64 {
    let mounts = mounts.clone();
    let measured = tokio::task::spawn_blocking(move || skep_sys::in_mounts(mounts.as_fd(), taken));
    measured.await.ok().and_then(Result::ok).unwrap_or(0)
}

/// The memory that the root's files take.
fn taken() -> u64 {
    rustix::fs::statvfs("/").map_or(0, |found| {
        let bytes = found.f_blocks.saturating_sub(found.f_bfree);
        let files = found.f_files.saturating_sub(found.f_ffree);
        bytes
            .saturating_mul(found.f_frsize)
            .saturating_add(files.saturating_mul(FILE))
    })
}

fn missing(path: &str, child: &LeanChild) -> Refusal {
    Refusal::not_found(format!(
        "Could not find the file {path} in container {}",
        child.id
    ))
}

/// Go's bits for the kind of a file (io/fs.FileMode).
fn mode(metadata: &Metadata) -> u32 {
    let kind = metadata.file_type();
    let bit = |is: bool, bit: u32| if is { 1 << bit } else { 0 };
    let device = kind.is_block_device() || kind.is_char_device();
    metadata.mode() & 0o777
        | bit(kind.is_dir(), 31)
        | bit(kind.is_symlink(), 27)
        | bit(device, 26)
        | bit(kind.is_fifo(), 25)
        | bit(kind.is_socket(), 24)
        | bit(metadata.mode() & 0o4000 != 0, 23)
        | bit(metadata.mode() & 0o2000 != 0, 22)
        | bit(kind.is_char_device(), 21)
        | bit(metadata.mode() & 0o1000 != 0, 20)
}

fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path.trim_start_matches('/'))
}

/// What is at a path, in the words of the API's header.
fn stat(path: &str) -> Option<String> {
    let place = absolute(path);
    let follow = path.ends_with('/') || path.ends_with("/.");
    let metadata = if follow {
        fs::metadata(&place)
    } else {
        fs::symlink_metadata(&place)
    }
    .ok()?;
    let target = if metadata.is_symlink() {
        fs::canonicalize(&place).ok()
    } else {
        None
    };
    let seconds = jiff::Timestamp::new(
        metadata.mtime(),
        i32::try_from(metadata.mtime_nsec()).unwrap_or(0),
    )
    .ok()?;
    let name = place
        .file_name()
        .map_or("/".to_owned(), |name| name.to_string_lossy().into_owned());
    let said = json!({
        "name": name, "size": metadata.size(), "mode": mode(&metadata), "mtime": seconds.to_string(),
        "linkTarget": target.map(|target| target.display().to_string()).unwrap_or_default(),
    });
    Some(base64::engine::general_purpose::STANDARD.encode(said.to_string()))
}

/// The path that a request names.
pub(super) fn named(path: Option<&str>) -> Result<&str, Refusal> {
    // As Docker spells it.
    let missing = || Refusal::malformed("bad parameter: pathcannot be empty");
    path.filter(|path| !path.is_empty()).ok_or_else(missing)
}

/// `HEAD /containers/ID/archive`.
pub(super) async fn head(child: &LeanChild, mounts: &Arc<OwnedFd>, path: &str) -> Result<Answer, Refusal> {
    let asked = path.to_owned();
    let found = inside(mounts, move || stat(&asked)).await?;
    let found = found.ok_or_else(|| missing(path, child))?;
    let mut answer = nothing(StatusCode::OK);
    answer
        .headers_mut()
        .insert(STAT, HeaderValue::from_str(&found).map_err(|_| broke_off())?);
    Ok(answer)
}
