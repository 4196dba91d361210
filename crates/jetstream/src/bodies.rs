//! Large bodies: objects in NATS's object store, so that none is on the disk of one gateway alone.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::jetstream::Context;
use async_nats::jetstream::object_store::{InfoErrorKind, ObjectStore, PutError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use futures::FutureExt;
use futures::future::BoxFuture;
use skep_store::{Body, Elsewhere, Spill, Spilling, StoreError};
use tokio::io::{AsyncRead, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;

use crate::error::{cannot, said};
use crate::message::Large;
use crate::queue::Inner;

/// How much of a body is on its way between its writer and the object store.
const WINDOW: usize = 128 * 1024;
const WRITE: &str = "write a large body";
const READ: &str = "read a large body";
const REMOVE: &str = "remove a large body";

/// An object that nothing names.
#[derive(Debug)]
pub(crate) struct Garbage {
    bucket: Arc<Bucket>,
    object: String,
}

/// One object store. Clones are the same.
#[derive(Clone)]
pub(crate) struct Bucket {
    context: Context,
    name: String,
    thrown: mpsc::UnboundedSender<Garbage>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.name).finish()
    }
}

impl Bucket {
    pub(crate) fn new(context: Context, name: String, thrown: mpsc::UnboundedSender<Garbage>) -> Self {
        Self {
            context,
            name,
            thrown,
        }
    }

    pub(crate) async fn store(&self) -> Result<ObjectStore, StoreError> {
        let store = self.context.get_object_store(&self.name).await;
        store.map_err(cannot("reach the object store"))
    }

    /// The name of the stream that the object store is in.
    pub(crate) fn stream(&self) -> String {
        format!("OBJ_{}", self.name)
    }

    /// The subject of an object's pieces.
    pub(crate) fn pieces(&self, nuid: &str) -> String {
        format!("$O.{}.C.{nuid}", self.name)
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
            bucket: Arc::new(self.clone()),
            object: object.to_owned(),
        });
    }

    /// Removes an object, and what is known of it: the object store itself would keep a note of each for ever.
    pub(crate) async fn remove(&self, object: &str) -> Result<(), StoreError> {
        let info = match self.store().await?.info(object).await {
            Ok(info) => info,
            Err(error) if matches!(error.kind(), InfoErrorKind::NotFound) => return Ok(()),
            Err(error) => return Err(cannot(REMOVE)(error)),
        };
        let stream = self.context.get_stream_no_info(self.stream()).await;
        let stream = stream.map_err(cannot(REMOVE))?;
        let known = format!("$O.{}.M.{}", self.name, URL_SAFE.encode(object));
        for subject in [self.pieces(&info.nuid), known] {
            stream.purge().filter(subject).await.map_err(cannot(REMOVE))?;
        }
        Ok(())
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
            let object = self.bucket.store().await?.get(&self.large.name).await;
            let object: Pin<Box<dyn AsyncRead + Send>> = Box::pin(object.map_err(cannot(READ))?);
            Ok(object)
        }
        .boxed()
    }
}

impl Spill for Bucket {
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Spilling>, StoreError>> {
        async move {
            let store = self.store().await?;
            let name = uuid::Uuid::now_v7().simple().to_string();
            let (pipe, mut from) = duplex(WINDOW);
            let object = name.clone();
            let put = async move { store.put(object.as_str(), &mut from).await.map(drop) };
            let upload: Box<dyn Spilling> = Box::new(Upload {
                bucket: self.clone(),
                large: Large { name, length: 0 },
                pipe,
                put: put.boxed(),
            });
            Ok(upload)
        }
        .boxed()
    }
}

/// An object on its way. Of one that is given up some pieces may stay, which a sweep finds.
struct Upload {
    bucket: Bucket,
    large: Large,
    pipe: DuplexStream,
    put: BoxFuture<'static, Result<(), PutError>>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upload").field(&self.large).finish()
    }
}

impl Spilling for Upload {
    fn write<'a>(&'a mut self, piece: &'a [u8]) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.large.length += piece.len() as u64;
            tokio::select! {
                written = self.pipe.write_all(piece) => written.map_err(cannot(WRITE)),
                put = &mut self.put => Err(match put {
                    Ok(()) => said(WRITE, "it ended before its time"),
                    Err(error) => cannot(WRITE)(error),
                }),
            }
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Body, StoreError>> {
        async move {
            drop(self.pipe);
            self.put.await.map_err(cannot(WRITE))?;
            Ok(self.bucket.body(self.large, false))
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
                tracing::warn!(
                    object,
                    error = error.with_sources(),
                    "a body that is no longer needed stays for now"
                );
            }
        }
    }
}
