//! The folders and files that the engine keeps in Skep's data directory.

use std::io;
use std::path::{Path, PathBuf};

use crate::pause;

/// Where they are, as absolute paths.
#[derive(Debug, Clone, Default)]
pub(crate) struct Folders {
    /// An empty folder over which roots are put together, out of the host's sight.
    pub(crate) staging: PathBuf,
    /// The sleeping program of sandboxes.
    pub(crate) pause: PathBuf,
    /// The top layers of images, one for each kind of image.
    pub(crate) base: PathBuf,
    /// The flattened layers of images.
    pub(crate) layers: PathBuf,
}

impl Folders {
    /// Makes them.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(crate) fn prepare(data: &Path) -> io::Result<Self> {
        let data = std::path::absolute(data)?;
        let staging = data.join("root");
        std::fs::create_dir_all(&staging)?;
        Ok(Self {
            staging,
            pause: pause::install(&data)?,
            base: data.join("front"),
            layers: data.join("layers"),
        })
    }
}
