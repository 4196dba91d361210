//! Secrets and configs: files of the host, mounted read-only.

use super::fields::{Context, Fields};
use super::words::LARGEST_FILE;
use crate::problem::Problem;
use crate::project::{FileMount, FileObject};
use crate::yaml::{Entry, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Where and how one kind is mounted.
pub(super) struct Kind {
    pub(super) key: &'static str,
    pub(super) directory: &'static str,
}

pub(super) const SECRETS: Kind = Kind {
    key: "secrets",
    directory: "/run/secrets/",
};
pub(super) const CONFIGS: Kind = Kind {
    key: "configs",
    directory: "/",
};

/// A top-level entry.
pub(super) fn object(context: &Context<'_>, entry: &Entry, path: &str) -> Option<FileObject> {
    let fields = Fields::open(context, &entry.node, path)?;
    let file = fields.text("file");
    fields.refused(
        &["environment", "content"],
        "only files can be mounted",
        "write the value into a file, and name it under file",
    );
    fields.refused(
        &["external"],
        "secrets and configs that the engine keeps exist on a Swarm only",
        "name a file of this host under file",
    );
    fields.noted(
        &["name", "labels", "driver", "driver_opts", "template_driver"],
        "Swarm only: here it is a file",
    );
    let refused_already = ["environment", "content", "external"]
        .iter()
        .any(|key| entry.node.get(key).is_some());
    fields.finish();
    match file {
        Some(file) => Some(FileObject {
            file: context.path(&file),
        }),
        None => {
            if !refused_already {
                context.refuse(
                    Problem::new("file is missing")
                        .at(&entry.position, path)
                        .hint("name a file of this host under file"),
                );
            }
            None
        }
    }
}

impl Fields<'_> {
    /// A service's own list of them.
    pub(super) fn files(
        &self,
        kind: &Kind,
        key: &'static str,
        known: &BTreeMap<String, Option<FileObject>>,
    ) -> Vec<FileMount> {
        let mut mounts = Vec::new();
        for (node, path) in self.items(key) {
            let (source, target) = match &node.value {
                Value::Scalar(name) => (Some(name.clone()), None),
                _ => {
                    let Some(fields) = Fields::open(self.context, node, &path) else {
                        continue;
                    };
                    let named = (fields.text("source"), fields.text("target"));
                    fields.noted(
                        &["uid", "gid", "mode"],
                        "the file is bind-mounted: its owner and mode on the host hold",
                    );
                    fields.finish();
                    named
                }
            };
            let Some(source) = source else {
                self.context.refuse_at(&node.position, &path, "source is missing");
                continue;
            };
            let object = match known.get(&source) {
                Some(Some(object)) => object,
                // Its own entry is wrong, and said so.
                Some(None) => continue,
                None => {
                    self.context.refuse(
                        Problem::new(format!("{source} is not among the file's {}", kind.key))
                            .at(&node.position, path)
                            .hint(format!("add it under {} at the top level", kind.key)),
                    );
                    continue;
                }
            };
            let target = match target {
                Some(target) if target.starts_with('/') => target,
                Some(target) => format!("{}{target}", kind.directory),
                None => format!("{}{source}", kind.directory),
            };
            match digest(&object.file) {
                Ok(digest) => mounts.push(FileMount {
                    source: object.file.clone(),
                    target,
                    digest,
                }),
                Err(error) => self.context.refuse(
                    Problem::new(format!("cannot read {}: {error}", object.file.display()))
                        .at(&node.position, path)
                        .hint("the file must exist on this host before the deploy"),
                ),
            }
        }
        mounts
    }
}

fn digest(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind};
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is not a file"));
    }
    if metadata.len() > LARGEST_FILE {
        return Err(Error::new(
            ErrorKind::FileTooLarge,
            format!("it is larger than {} MiB", LARGEST_FILE >> 20),
        ));
    }
    let mut content = Vec::new();
    std::fs::File::open(path)?
        .take(LARGEST_FILE)
        .read_to_end(&mut content)?;
    Ok(Sha256::digest(&content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
