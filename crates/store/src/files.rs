//! The data directory: its lock, and making sure that what is in it is really there after a power cut.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::error::StoreError;

/// Syncs a directory, so that the names in it survive a power cut.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    let opened = File::open(directory).map_err(StoreError::file("open", directory))?;
    opened.sync_all().map_err(StoreError::file("sync", directory))
}

/// Makes a directory that only its owner may look into, with those above it; durable when this returns.
pub(crate) fn make_directory(directory: &Path) -> Result<(), StoreError> {
    if directory.is_dir() {
        return Ok(());
    }
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_directory(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(directory)
        .map_err(StoreError::file("create the directory", directory))?;
    sync_directory(parent.unwrap_or(Path::new(".")))
}

/// The data directory's lock (flock(2)), held while this lives; the kernel releases it when the process ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join("lock");
        let opened = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = opened.map_err(StoreError::file("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let process = file
                    .read_to_string(&mut text)
                    .ok()
                    .and_then(|_| text.trim().parse().ok());
                return Err(StoreError::Locked {
                    directory: directory.to_owned(),
                    process,
                });
            }
            Err(TryLockError::Error(source)) => return Err(StoreError::file("lock", path)(source)),
        }
        // The number is only for the other's error message, so that it need not be synced; on a full disk the
        // lock holds without it.
        let _ = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()));
        Ok(Self { _file: file })
    }
}
