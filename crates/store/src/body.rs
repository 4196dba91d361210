//! Bodies of stored requests and responses: in memory while small, in a file of their own beyond that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use crate::error::StoreError;
use crate::files::sync_directory;
use crate::key::{hexadecimal, random_bytes};

/// A body up to this size stays in memory and in its row; a larger one is a file.
pub const SPILL_AT: usize = 64 * 1024;

/// A whole body, ready to be stored or read from the store. Cloning is cheap and copies nothing.
#[derive(Debug, Clone)]
pub struct Body(Content);

#[derive(Debug, Clone)]
enum Content {
    Memory(Bytes),
    File(Arc<SpilledFile>),
}

/// A file under `bodies/`. One that no committed row names is removed with its last handle.
#[derive(Debug)]
pub(crate) struct SpilledFile {
    path: PathBuf,
    length: u64,
    /// Whether a committed row owns the file, so that it outlives this handle.
    owned: std::sync::atomic::AtomicBool,
}

impl Drop for SpilledFile {
    fn drop(&mut self) {
        if !self.owned.load(std::sync::atomic::Ordering::Acquire) {
            // A file that can't be removed now is found at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl SpilledFile {
    pub(crate) fn name(&self) -> &str {
        self.path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
    }
}

impl From<Bytes> for Body {
    /// A body that is in memory already. Meant for small ones: [`BodyWriter`] spills, this does not.
    fn from(bytes: Bytes) -> Self {
        Self(Content::Memory(bytes))
    }
}

impl Body {
    /// A body without a byte.
    pub fn empty() -> Self {
        Self(Content::Memory(Bytes::new()))
    }

    pub(crate) fn stored_file(path: PathBuf, length: u64) -> Self {
        Self(Content::File(Arc::new(SpilledFile {
            path,
            length,
            owned: true.into(),
        })))
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        match &self.0 {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File(file) => file.length,
        }
    }

    /// What stands in the row.
    pub(crate) fn memory(&self) -> Option<&Bytes> {
        match &self.0 {
            Content::Memory(bytes) => Some(bytes),
            Content::File(_) => None,
        }
    }

    pub(crate) fn file(&self) -> Option<&SpilledFile> {
        match &self.0 {
            Content::Memory(_) => None,
            Content::File(file) => Some(file),
        }
    }

    /// Says that a committed row names the file, so that it stays when this handle is dropped.
    pub(crate) fn keep(&self) {
        if let Content::File(file) = &self.0 {
            file.owned.store(true, std::sync::atomic::Ordering::Release);
        }
    }

    /// Opens it for reading from the start. May be called any number of times.
    ///
    /// # Errors
    /// Where the file can't be opened, be it that retention removed it since.
    pub async fn reader(&self) -> Result<BodyReader, StoreError> {
        Ok(BodyReader(match &self.0 {
            Content::Memory(bytes) => Source::Memory(bytes.clone()),
            Content::File(file) => {
                let opened = tokio::fs::File::open(&file.path).await;
                Source::File(opened.map_err(StoreError::file("open", &file.path))?)
            }
        }))
    }

    /// The whole of it in memory: for what is known to be small, and for tests.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub async fn read_all(&self) -> Result<Vec<u8>, StoreError> {
        let mut all = Vec::new();
        let mut reader = self.reader().await?;
        let path = self.file().map(|file| file.path.clone()).unwrap_or_default();
        reader
            .read_to_end(&mut all)
            .await
            .map_err(StoreError::file("read", path))?;
        Ok(all)
    }
}

/// Reads a [`Body`].
#[derive(Debug)]
pub struct BodyReader(Source);

#[derive(Debug)]
enum Source {
    Memory(Bytes),
    File(tokio::fs::File),
}

impl AsyncRead for BodyReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Source::Memory(bytes) => {
                let part = bytes.split_to(bytes.len().min(buffer.remaining()));
                buffer.put_slice(&part);
                Poll::Ready(Ok(()))
            }
            Source::File(file) => Pin::new(file).poll_read(context, buffer),
        }
    }
}

/// Takes a body in as it arrives. Dropped before [`BodyWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct BodyWriter {
    directory: Arc<Path>,
    limit: u64,
    length: u64,
    memory: BytesMut,
    file: Option<(tokio::fs::File, SpilledFile)>,
}

impl BodyWriter {
    pub(crate) fn new(directory: Arc<Path>, limit: u64) -> Self {
        Self {
            directory,
            limit,
            length: 0,
            memory: BytesMut::new(),
            file: None,
        }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// `BodyTooLarge` as soon as the limit is passed; `File` where the disk refuses.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.length += piece.len() as u64;
        if self.length > self.limit {
            return Err(StoreError::BodyTooLarge { limit: self.limit });
        }
        if self.file.is_none() && self.memory.len() + piece.len() <= SPILL_AT {
            self.memory.extend_from_slice(piece);
            return Ok(());
        }
        if self.file.is_none() {
            self.spill().await?;
        }
        let (file, spilled) = self.file.as_mut().expect("it was spilled just now");
        file.write_all(piece)
            .await
            .map_err(StoreError::file("write", &spilled.path))
    }

    async fn spill(&mut self) -> Result<(), StoreError> {
        let path = self.directory.join(hexadecimal(&random_bytes()));
        let spilled = SpilledFile {
            path: path.clone(),
            length: 0,
            owned: false.into(),
        };
        let created = tokio::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .await;
        let mut file = created.map_err(StoreError::file("create", &path))?;
        file.write_all(&self.memory)
            .await
            .map_err(StoreError::file("write", &path))?;
        self.memory = BytesMut::new();
        self.file = Some((file, spilled));
        Ok(())
    }

    /// The body, complete and on the disk where it is a file (the file and its directory are synced).
    ///
    /// # Errors
    /// `File` where the disk refuses.
    pub async fn finish(mut self) -> Result<Body, StoreError> {
        let Some((mut file, mut spilled)) = self.file.take() else {
            return Ok(Body(Content::Memory(self.memory.freeze())));
        };
        file.flush()
            .await
            .map_err(StoreError::file("write", &spilled.path))?;
        file.sync_all()
            .await
            .map_err(StoreError::file("sync", &spilled.path))?;
        let directory = self.directory.clone();
        let synced = tokio::task::spawn_blocking(move || sync_directory(&directory)).await;
        synced.unwrap_or(Err(StoreError::Closed))?;
        spilled.length = self.length;
        Ok(Body(Content::File(Arc::new(spilled))))
    }
}
