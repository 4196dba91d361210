//! What is known of a child again after a crash: a folder with what it is, a line for each thing that happened to it,
//! and its log.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

const CHILD: &str = "child.json";
const HAPPENED: &str = "happened";

/// Writes a child down for the first time.
pub(super) fn begin(folder: &Path, facts: &Value) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(CHILD), facts.to_string())
}

/// Writes what a child is down anew, whole or not at all.
pub(super) fn change(folder: &Path, facts: &Value) -> io::Result<()> {
    let new = folder.join("child.new");
    fs::write(&new, facts.to_string())?;
    fs::rename(new, folder.join(CHILD))
}

/// Adds a line.
pub(super) fn happened(folder: &Path, state: &Value) -> io::Result<()> {
    let mut file = File::options()
        .append(true)
        .create(true)
        .open(folder.join(HAPPENED))?;
    file.write_all(format!("{state}\n").as_bytes())
}

/// Removes all that is known.
pub(super) fn forget(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(folder = %folder.display(), %error, "what was kept of a child could not be removed");
    }
}

/// What an earlier Skep wrote down: the folder, what each child is, and the last that happened to it.
pub(super) fn read(directory: &Path) -> Vec<(PathBuf, Value, Value)> {
    let folders = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for folder in folders.map(|entry| entry.path()) {
        let facts = fs::read(folder.join(CHILD)).ok();
        let Some(facts) = facts.and_then(|bytes| serde_json::from_slice(&bytes).ok()) else {
            // It was never answered: nobody knows of it.
            forget(&folder);
            continue;
        };
        let lines = fs::read_to_string(folder.join(HAPPENED)).unwrap_or_default();
        let last = lines
            .lines()
            .rev()
            .find_map(|line| serde_json::from_str(line).ok());
        found.push((folder, facts, last.unwrap_or(Value::Null)));
    }
    found
}
