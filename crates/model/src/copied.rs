//! What was put into a parked container's file system after it was created.

use std::fs::File;
use std::sync::Arc;

/// Archives to be unpacked into every instance, one behind the other in a file that has no name.
#[derive(Debug)]
pub struct Copied {
    /// A digest of all of it.
    pub digest: String,
    /// The archives.
    pub parts: Vec<CopiedPart>,
    /// What holds them.
    pub file: Arc<File>,
}

/// One archive (tar).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopiedPart {
    /// The folder of the container in which it is unpacked.
    pub folder: String,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its bytes.
    pub length: u64,
}

impl PartialEq for Copied {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Copied {}
