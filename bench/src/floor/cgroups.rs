//! The floor's cgroups: with version 1 those for CPU, memory and processes, with version 2 the one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const MOUNT: &str = "/sys/fs/cgroup";
/// 128 MiB, as text for the kernel.
const MEMORY: &str = "134217728";

pub(super) struct Cgroups {
    folders: Vec<PathBuf>,
    unified: bool,
}

impl Cgroups {
    pub(super) fn create() -> io::Result<Self> {
        let unified = Path::new(MOUNT).join("cgroup.procs").exists();
        let name = format!("skep-floor-{}", std::process::id());
        let (hierarchies, limit): (&[&str], _) = if unified {
            (&[""], "memory.max")
        } else {
            (&["cpu", "memory", "pids"], "memory.limit_in_bytes")
        };
        let mut folders = Vec::with_capacity(hierarchies.len());
        for hierarchy in hierarchies {
            let folder = Path::new(MOUNT).join(hierarchy).join(&name);
            fs::create_dir(&folder)?;
            if *hierarchy != "cpu" && *hierarchy != "pids" {
                fs::write(folder.join(limit), MEMORY)?;
            }
            folders.push(folder);
        }
        Ok(Self { folders, unified })
    }

    /// The folder to be born in, where the kernel can do that.
    pub(super) fn birthplace(&self) -> io::Result<Option<File>> {
        match (self.unified, self.folders.first()) {
            (true, Some(folder)) => File::open(folder).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn enter(&self, process: u32) -> io::Result<()> {
        if self.unified {
            return Ok(());
        }
        let text = process.to_string();
        self.folders
            .iter()
            .try_for_each(|folder| fs::write(folder.join("cgroup.procs"), &text))
    }

    pub(super) fn remove(self) -> io::Result<()> {
        self.folders.iter().try_for_each(fs::remove_dir)
    }
}
