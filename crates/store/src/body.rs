//! Bodies of stored requests and responses: in memory while small; beyond that in a file of their own, or wherever
//! the queue keeps what is large.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::error::StoreError;

/// A body up to this size stays in memory and in its row; a larger one is a file.
pub const SPILL_AT: usize = 64 * 1024;

/// A whole body, ready to be stored or read from the store. Cloning is cheap and copies nothing.
#[derive(Debug, Clone)]
pub struct Body(Content);

#[derive(Debug, Clone)]
enum Content {
    Memory(Bytes),
    File(Arc<SpilledFile>),
    Elsewhere(Arc<dyn Elsewhere>),
}

/// A large body that is in no file of this process.
pub trait Elsewhere: fmt::Debug + Send + Sync {
    /// Its name, where it is.
    fn name(&self) -> &str;

    /// Its length in bytes.
    fn length(&self) -> u64;

    /// Says that something durable names it. One that nothing names goes with its last handle.
    fn keep(&self);

    /// Reads it from the start; may be called any number of times.
    fn open(&self) -> BoxFuture<'_, Result<Pin<Box<dyn AsyncRead + Send>>, StoreError>>;
}

/// Where a body goes that is too large for memory.
pub trait Spill: fmt::Debug + Send + Sync {
    /// Begins one.
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Spilling>, StoreError>>;
}

/// A large body on its way. Dropped before its end, it leaves nothing behind.
pub trait Spilling: fmt::Debug + Send {
    /// Takes the next piece.
    fn write<'a>(&'a mut self, piece: &'a [u8]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// The whole of it, safe.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Body, StoreError>>;
}

/// A file under `bodies/`. One that no committed row names is removed with its last handle.
#[derive(Debug)]
pub(crate) struct SpilledFile {
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
    /// Whether a committed row owns the file, so that it outlives this handle.
    pub(crate) owned: std::sync::atomic::AtomicBool,
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

    /// A body that is kept in no file of this process.
    pub fn elsewhere(body: Arc<dyn Elsewhere>) -> Self {
        Self(Content::Elsewhere(body))
    }

    pub(crate) fn stored_file(path: PathBuf, length: u64) -> Self {
        Self::of_file(SpilledFile {
            path,
            length,
            owned: true.into(),
        })
    }

    pub(crate) fn of_file(file: SpilledFile) -> Self {
        Self(Content::File(Arc::new(file)))
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        match &self.0 {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File(file) => file.length,
            Content::Elsewhere(body) => body.length(),
        }
    }

    /// The whole of it, where it is small enough for memory.
    pub fn memory(&self) -> Option<&Bytes> {
        match &self.0 {
            Content::Memory(bytes) => Some(bytes),
            Content::File(_) | Content::Elsewhere(_) => None,
        }
    }

    /// Its name where it is kept in no file of this process.
    pub fn name_elsewhere(&self) -> Option<&str> {
        match &self.0 {
            Content::Elsewhere(body) => Some(body.name()),
            Content::Memory(_) | Content::File(_) => None,
        }
    }

    pub(crate) fn file(&self) -> Option<&SpilledFile> {
        match &self.0 {
            Content::File(file) => Some(file),
            Content::Memory(_) | Content::Elsewhere(_) => None,
        }
    }

    /// Says that something durable names it, so that it stays when this handle is dropped.
    pub fn keep(&self) {
        match &self.0 {
            Content::Memory(_) => {}
            Content::File(file) => file.owned.store(true, std::sync::atomic::Ordering::Release),
            Content::Elsewhere(body) => body.keep(),
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
            Content::Elsewhere(body) => Source::Elsewhere(body.open().await?),
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
pub struct BodyReader(Source);

enum Source {
    Memory(Bytes),
    File(tokio::fs::File),
    Elsewhere(Pin<Box<dyn AsyncRead + Send>>),
}

impl fmt::Debug for BodyReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyReader").finish_non_exhaustive()
    }
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
            Source::Elsewhere(reader) => reader.as_mut().poll_read(context, buffer),
        }
    }
}

/// Takes a body in as it arrives. Dropped before [`BodyWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct BodyWriter {
    spill: Arc<dyn Spill>,
    limit: u64,
    length: u64,
    memory: BytesMut,
    spilling: Option<Box<dyn Spilling>>,
}

impl BodyWriter {
    /// Takes at most `limit` bytes; what is too large for memory goes there.
    pub fn new(spill: Arc<dyn Spill>, limit: u64) -> Self {
        Self {
            spill,
            limit,
            length: 0,
            memory: BytesMut::new(),
            spilling: None,
        }
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// `BodyTooLarge` as soon as the limit is passed; `File` or `Queue` where it can't be written.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.length += piece.len() as u64;
        if self.length > self.limit {
            return Err(StoreError::BodyTooLarge { limit: self.limit });
        }
        if let Some(spilling) = &mut self.spilling {
            return spilling.write(piece).await;
        }
        if self.memory.len() + piece.len() <= SPILL_AT {
            self.memory.extend_from_slice(piece);
            return Ok(());
        }
        let mut spilling = self.spill.begin().await?;
        spilling.write(&std::mem::take(&mut self.memory)).await?;
        self.spilling.insert(spilling).write(piece).await
    }

    /// The body, complete, and safe where it was too large for memory (a file and its directory are synced).
    ///
    /// # Errors
    /// `File` or `Queue` where it can't be written.
    pub async fn finish(self) -> Result<Body, StoreError> {
        match self.spilling {
            Some(spilling) => spilling.finish().await,
            None => Ok(Body(Content::Memory(self.memory.freeze()))),
        }
    }
}
