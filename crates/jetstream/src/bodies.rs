//! Large bodies: objects in NATS's object store, so that none is on the disk of one gateway alone.
//!
//! They are written and read piece by piece, each of which is tried again where another server takes over; the client's
//! own way to read asks one server from the beginning to the end.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::object_store::ObjectStore;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};
use skep_store::{Body, Elsewhere, Spill, Spilling, StoreError};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use crate::error::{cannot, said};
use crate::message::Large;
use crate::queue::Inner;
use crate::streams::Streams;

/// How much of a body is one message.
const PIECE: usize = 128 * 1024;
const WRITE: &str = "write a large body";
const READ: &str = "read a large body";
const REMOVE: &str = "remove a large body";

/// An object that nothing names.
#[derive(Debug)]
pub(crate) struct Garbage {
    bucket: Bucket,
    object: String,
}

/// One object store. Clones are the same.
#[derive(Clone)]
pub(crate) struct Bucket {
    streams: Arc<Streams>,
    name: String,
    thrown: mpsc::UnboundedSender<Garbage>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.name).finish()
    }
}

impl Bucket {
    pub(crate) fn new(streams: Arc<Streams>, name: String, thrown: mpsc::UnboundedSender<Garbage>) -> Self {
        Self {
            streams,
            name,
            thrown,
        }
    }

    pub(crate) async fn store(&self) -> Result<ObjectStore, StoreError> {
        let store = self.streams.context.get_object_store(&self.name).await;
        store.map_err(cannot("reach the object store"))
    }

    /// The name of the stream that the object store is in.
    pub(crate) fn stream(&self) -> String {
        format!("OBJ_{}", self.name)
    }

    /// The subject of an object's pieces. They could have another name than the object, for those that change.
    pub(crate) fn pieces(&self, object: &str) -> String {
        format!("$O.{}.C.{object}", self.name)
    }

    /// The subject of what is known of an object.
    fn known(&self, object: &str) -> String {
        format!("$O.{}.M.{}", self.name, URL_SAFE.encode(object))
    }

    /// A body that something durable names.
    pub(crate) fn stored(&self, large: &Large) -> Body {
        self.body(large.clone(), true)
    }

    fn body(&self, large: Large, kept: bool) -> Body {
        Body::elsewhere(Arc::new(Object {
            bucket: self.clone(),
            large,
            kept: kept.into(),
        }))
    }

    /// Has an object removed, soon.
    pub(crate) fn throw(&self, object: &str) {
        // Where nobody listens any more, another gateway's sweep finds it.
        let _ = self.thrown.send(Garbage {
            bucket: self.clone(),
            object: object.to_owned(),
        });
    }

    /// Removes an object, and what is known of it: the object store itself would keep a note of each for ever.
    pub(crate) async fn remove(&self, object: &str) -> Result<(), StoreError> {
        let stream = self.streams.context.get_stream_no_info(self.stream()).await;
        let stream = stream.map_err(cannot(REMOVE))?;
        for subject in [self.known(object), self.pieces(object)] {
            stream.purge().filter(subject).await.map_err(cannot(REMOVE))?;
        }
        Ok(())
    }

    /// The pieces of an object from this place in the stream on.
    async fn piece(&self, object: &str, from: u64) -> Result<(Bytes, u64), StoreError> {
        let found = self
            .streams
            .read(READ, self.stream(), &self.pieces(object), Some(from))
            .await?;
        let found = found.ok_or_else(|| said(READ, "it is not there any longer"))?;
        Ok((found.payload, found.sequence + 1))
    }
}

#[derive(Debug)]
struct Object {
    bucket: Bucket,
    large: Large,
    kept: AtomicBool,
}

impl Drop for Object {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Acquire) {
            self.bucket.throw(&self.large.name);
        }
    }
}

impl Elsewhere for Object {
    fn name(&self) -> &str {
        &self.large.name
    }

    fn length(&self) -> u64 {
        self.large.length
    }

    fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    fn open(&self) -> BoxFuture<'_, Result<Pin<Box<dyn AsyncRead + Send>>, StoreError>> {
        async move {
            let (bucket, object, length) = (self.bucket.clone(), self.large.name.clone(), self.large.length);
            // That it is there is known before anything is answered.
            let (first, next) = bucket.piece(&object, 1).await?;
            let left = length.saturating_sub(first.len() as u64);
            let rest = stream::try_unfold((next, left), move |(next, left)| {
                let (bucket, object) = (bucket.clone(), object.clone());
                async move {
                    if left == 0 {
                        return Ok(None);
                    }
                    let (piece, next) = bucket.piece(&object, next).await?;
                    let left = left.saturating_sub(piece.len() as u64);
                    Ok(Some((piece, (next, left))))
                }
            });
            let all = stream::once(async move { Ok(first) }).chain(rest);
            let all = all.map(|piece: Result<Bytes, StoreError>| {
                piece.map_err(|error| std::io::Error::other(error.with_sources()))
            });
            let reader: Pin<Box<dyn AsyncRead + Send>> = Box::pin(StreamReader::new(all.boxed()));
            Ok(reader)
        }
        .boxed()
    }
}

impl Spill for Bucket {
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Spilling>, StoreError>> {
        let upload: Box<dyn Spilling> = Box::new(Upload {
            bucket: self.clone(),
            large: Large {
                name: uuid::Uuid::now_v7().simple().to_string(),
                length: 0,
            },
            pieces: 0,
            buffer: BytesMut::new(),
            hash: Sha256::new(),
            complete: false,
        });
        std::future::ready(Ok(upload)).boxed()
    }
}

/// An object on its way.
struct Upload {
    bucket: Bucket,
    large: Large,
    pieces: u64,
    buffer: BytesMut,
    hash: Sha256,
    complete: bool,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upload").field(&self.large).finish()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.complete {
            self.bucket.throw(&self.large.name);
        }
    }
}

impl Upload {
    async fn send(&mut self, piece: Bytes) -> Result<(), StoreError> {
        self.hash.update(&piece);
        self.large.length += piece.len() as u64;
        self.pieces += 1;
        let name = format!("{}.{}", self.large.name, self.pieces);
        let subject = self.bucket.pieces(&self.large.name);
        let message = PublishMessage::build().payload(piece);
        let sent = self.bucket.streams.write(WRITE, &name, subject, message);
        sent.await.map(drop)
    }

    /// What the object store's own tools want to know of it.
    fn known(&self) -> Bytes {
        let digest = URL_SAFE.encode(self.hash.clone().finalize());
        let known = json!({
            "name": self.large.name,
            "bucket": self.bucket.name,
            "nuid": self.large.name,
            "size": self.large.length,
            "chunks": self.pieces,
            "mtime": Timestamp::now(),
            "digest": format!("SHA-256={digest}"),
            "options": { "max_chunk_size": PIECE },
        });
        known.to_string().into()
    }
}

impl Spilling for Upload {
    fn write<'a>(&'a mut self, piece: &'a [u8]) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.buffer.extend_from_slice(piece);
            while self.buffer.len() >= PIECE {
                let piece = self.buffer.split_to(PIECE).freeze();
                self.send(piece).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<Body, StoreError>> {
        async move {
            let rest = self.buffer.split().freeze();
            if !rest.is_empty() {
                self.send(rest).await?;
            }
            let message = PublishMessage::build().payload(self.known());
            let (name, subject) = (self.large.name.clone(), self.bucket.known(&self.large.name));
            self.bucket.streams.write(WRITE, &name, subject, message).await?;
            self.complete = true;
            Ok(self.bucket.body(self.large.clone(), false))
        }
        .boxed()
    }
}

impl Inner {
    /// Removes what nothing names any longer.
    pub(crate) async fn throw_away(&self, garbage: Option<mpsc::UnboundedReceiver<Garbage>>) {
        let Some(mut garbage) = garbage else {
            return;
        };
        while let Some(Garbage { bucket, object }) = garbage.recv().await {
            if let Err(error) = bucket.remove(&object).await {
                // A sweep tries again.
                let error = error.with_sources();
                tracing::warn!(object, error, "a body that is no longer needed stays for now");
            }
        }
    }
}
