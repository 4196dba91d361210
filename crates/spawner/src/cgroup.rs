//! An instance's cgroups: made and set before its process starts, removed after its end.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::spec::Tree;

/// The cgroups of one instance, one folder for each hierarchy.
#[derive(Debug)]
pub(crate) struct Cgroups {
    folders: Vec<PathBuf>,
    unified: bool,
    /// Where the kernel counts what it ended for want of memory.
    memory_events: Option<PathBuf>,
}

impl Cgroups {
    /// Makes them, with their limits set. What was made is removed again if that fails.
    pub(crate) fn create(tree: &Tree, name: &str) -> Result<Self, (String, io::Error)> {
        let mut made = Self {
            folders: Vec::with_capacity(tree.directories.len()),
            unified: tree.unified,
            memory_events: None,
        };
        for directory in &tree.directories {
            let folder = Path::new(&directory.parent).join(name);
            if let Err(error) = fs::create_dir(&folder) {
                made.remove();
                return Err((format!("make the cgroup {}", folder.display()), error));
            }
            if tree.unified {
                made.memory_events = Some(folder.join("memory.events"));
            } else if directory.name.split(',').any(|controller| controller == "memory") {
                made.memory_events = Some(folder.join("memory.oom_control"));
            }
            made.folders.push(folder);
        }
        for (directory, index) in tree.directories.iter().zip(0..) {
            for (file, text) in &directory.settings {
                let path = made.folders[index].join(file);
                if let Err(error) = write(&path, text) {
                    made.remove();
                    return Err((format!("write {text} to {}", path.display()), error));
                }
            }
        }
        Ok(made)
    }

    /// Those of a process that has none of its own.
    pub(crate) fn none() -> Self {
        Self {
            folders: Vec::new(),
            unified: false,
            memory_events: None,
        }
    }

    /// Whether they are those of this name.
    pub(crate) fn are_of(&self, name: &str) -> bool {
        self.folders.iter().any(|folder| folder.ends_with(name))
    }

    /// The folder to be born in, where the kernel can do that (v2).
    pub(crate) fn birthplace(&self) -> io::Result<Option<File>> {
        match (self.unified, self.folders.first()) {
            (true, Some(folder)) => File::open(folder).map(Some),
            _ => Ok(None),
        }
    }

    /// Moves a process in, hierarchy by hierarchy (v1).
    pub(crate) fn enter(&self, process: u32) -> Result<(), (String, io::Error)> {
        if self.unified {
            return Ok(());
        }
        let text = process.to_string();
        self.folders.iter().try_for_each(|folder| {
            let path = folder.join("cgroup.procs");
            write(&path, &text).map_err(|error| (format!("enter {}", folder.display()), error))
        })
    }

    /// Whether the kernel ended a process in there for want of memory.
    pub(crate) fn out_of_memory(&self) -> bool {
        let Some(file) = &self.memory_events else {
            return false;
        };
        let text = fs::read_to_string(file).unwrap_or_default();
        let killed = |line: &str| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0");
        text.lines().any(killed)
    }

    /// Lets frozen processes run: on v1 a frozen one does not even take a signal that kills it.
    pub(crate) fn thaw(&self) {
        let (file, thawed) = if self.unified {
            ("cgroup.freeze", "0")
        } else {
            ("freezer.state", "THAWED")
        };
        for folder in &self.folders {
            let path = folder.join(file);
            if path.exists() {
                // Gone in the meantime is as good.
                let _gone = write(&path, thawed);
            }
        }
    }

    /// Removes them; true when none is left. The kernel lets go of a cgroup a little after its last process, so
    /// that a second try may be needed.
    pub(crate) fn remove(&mut self) -> bool {
        self.folders.retain(|folder| match fs::remove_dir(folder) {
            Ok(()) => false,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        });
        self.folders.is_empty()
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(text.as_bytes())
}
