//! `GET /containers/ID/changes`: what a child's files are beside those of a root that was just made from its image.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use serde_json::{Value, json};
use skep_grant::Refusal;

use super::child::LeanChild;
use super::create::identifier;
use super::{archive, run};
use crate::answer::{Answer, json as answer_json};
use crate::shared::Shared;

/// The kinds of a change, as the API numbers them.
const CHANGED: u8 = 0;
const ADDED: u8 = 1;
const DELETED: u8 = 2;
/// How many changes are told, and how many names are read in one folder: a child may make as many as it likes.
const MOST: usize = 100_000;
/// Files that Docker, and lean, put over the image's.
const PUT_OVER: [&str; 4] = ["etc/hostname", "etc/hosts", "etc/resolv.conf", "run/docker.sock"];

/// Answers with them, in Docker's order.
pub(super) async fn changes(
    shared: &Arc<Shared>,
    child: &LeanChild,
    mounts: &Arc<OwnedFd>,
) -> Result<Answer, Refusal> {
    let broken = |error: io::Error| super::create::failed(&format!("its files can't be compared: {error}"));
    let fresh = Arc::new(run::fresh_root(shared, child, identifier()?).await?);
    let before = archive::inside(&fresh, root).await?.map_err(broken)?;
    let compared = archive::inside(mounts, move || {
        let now = root()?;
        let device = rustix::fs::fstat(&now)?.st_dev;
        let found = Vec::new();
        let mut comparison = Comparison {
            now,
            before,
            device,
            found,
        };
        comparison.folder(Path::new(""), true)?;
        Ok(comparison.found)
    });
    let found = compared.await?.map_err(broken)?;
    let shown: Vec<Value> = found
        .into_iter()
        .map(|(path, kind)| json!({ "Path": format!("/{}", path.display()), "Kind": kind }))
        .collect();
    let value = if shown.is_empty() {
        Value::Null
    } else {
        shown.into()
    };
    Ok(answer_json(StatusCode::OK, &value))
}

fn root() -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/", flags, Mode::empty())?)
}

fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// What is in a folder below a root.
fn listing(root: &OwnedFd, path: &Path) -> io::Result<BTreeMap<OsString, Stat>> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(root, path, flags, Mode::empty())?;
    let mut listed = BTreeMap::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        // What is gone since it was listed is gone.
        if name != "."
            && name != ".."
            && let Ok(stat) = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)
        {
            listed.insert(name.to_owned(), stat);
        }
        bounded(listed.len())?;
    }
    Ok(listed)
}

fn bounded(count: usize) -> io::Result<()> {
    if count > MOST {
        return Err(io::Error::other(format!("there are more than {MOST} of them")));
    }
    Ok(())
}

struct Comparison {
    now: OwnedFd,
    before: OwnedFd,
    /// The root's own: what stands on another is mounted there.
    device: u64,
    found: Vec<(PathBuf, u8)>,
}

impl Comparison {
    /// Compares what is in a folder with what was in it, where it was there. No folder is open while those below it
    /// are looked at, however deep they are.
    fn folder(&mut self, path: &Path, was_there: bool) -> io::Result<()> {
        let mut was = BTreeMap::new();
        if was_there {
            was = listing(&self.before, path)?;
        }
        let is = listing(&self.now, path)?;
        let mut names: Vec<&OsString> = is.keys().chain(was.keys()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            bounded(self.found.len())?;
            let place = path.join(name);
            if PUT_OVER.iter().any(|own| place == Path::new(own)) {
                continue;
            }
            match (is.get(name), was.get(name)) {
                (None, _) => self.found.push((place, DELETED)),
                (Some(is), _) if is_folder(is) && is.st_dev != self.device => {}
                (Some(is), None) => {
                    self.found.push((place.clone(), ADDED));
                    if is_folder(is) {
                        self.folder(&place, false)?;
                    }
                }
                (Some(is), Some(was)) => self.both(place, is, was)?,
            }
        }
        Ok(())
    }

    fn both(&mut self, place: PathBuf, is: &Stat, was: &Stat) -> io::Result<()> {
        let rights = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
        let written = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        let (mut changed, first) = (rights(is) != rights(was), self.found.len());
        if is_folder(is) && is_folder(was) {
            // Not by its time, which mounts change as well: where Docker compares, it does not either.
            self.folder(&place, true)?;
            changed |= self.found.len() > first;
        } else {
            changed |= written(is) != written(was);
        }
        if changed {
            self.found.insert(first, (place, CHANGED));
        }
        Ok(())
    }
}
