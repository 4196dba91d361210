//! Large bodies as files: each in one of its own, synced before anything names it.

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::AsyncWriteExt;

use crate::body::{Body, Spill, SpilledFile, Spilling};
use crate::error::StoreError;
use crate::files::sync_directory;
use crate::key::{hexadecimal, random_bytes};

/// The folder of the files.
#[derive(Debug)]
pub(crate) struct Files(pub(crate) Arc<Path>);

impl Spill for Files {
    fn begin(&self) -> BoxFuture<'_, Result<Box<dyn Spilling>, StoreError>> {
        async move {
            let path = self.0.join(hexadecimal(&random_bytes()));
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
            let file = created.map_err(StoreError::file("create", &path))?;
            let directory = self.0.clone();
            let written: Box<dyn Spilling> = Box::new(OneFile {
                directory,
                file,
                spilled,
            });
            Ok(written)
        }
        .boxed()
    }
}

#[derive(Debug)]
struct OneFile {
    directory: Arc<Path>,
    file: tokio::fs::File,
    spilled: SpilledFile,
}

impl Spilling for OneFile {
    fn write<'a>(&'a mut self, piece: &'a [u8]) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.spilled.length += piece.len() as u64;
            let written = self.file.write_all(piece).await;
            written.map_err(StoreError::file("write", &self.spilled.path))
        }
        .boxed()
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<Body, StoreError>> {
        async move {
            let path = self.spilled.path.clone();
            self.file
                .flush()
                .await
                .map_err(StoreError::file("write", &path))?;
            self.file
                .sync_all()
                .await
                .map_err(StoreError::file("sync", &path))?;
            let directory = self.directory.clone();
            let synced = tokio::task::spawn_blocking(move || sync_directory(&directory)).await;
            synced.unwrap_or(Err(StoreError::Closed))?;
            Ok(Body::of_file(self.spilled))
        }
        .boxed()
    }
}
